package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"pagevault/blobstore"
	"pagevault/server"
)

// doorFlags bound what clients may take of the server.
type doorFlags struct {
	connections string
	rates       []string
	audit       string
}

func (f *doorFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.connections, "max-connections", "4096/2048", "TOTAL or TOTAL/FROM-ONE-ADDRESS: open connections; those that wait for a request make room for new ones")
	flags.StringArrayVar(&f.rates, "rate", nil, "[ACCOUNT=]REQUESTS/BYTES: what accounts may ask for in a second, such as 500/100MiB, 0 is no bound; may be repeated")
	flags.StringVar(&f.audit, "audit-log", "", "file that gets a line of JSON for each request; SIGHUP opens it again")
}

// set puts what the flags say into the options.
func (f *doorFlags) set(o *server.Options, accounts []blobstore.AccountOptions) (err error) {
	if o.MaxConns, o.MaxConnsPer, err = parseConnections(f.connections); err != nil {
		return usagef("--max-connections: %w", err)
	}
	if o.Rates, err = parseRates(f.rates, accounts); err != nil {
		return usagef("--rate: %w", err)
	}
	return nil
}

// connectionsMax bounds --max-connections: each takes about 50 KiB, and a descriptor.
const connectionsMax = 1 << 20

// parseConnections reads TOTAL, or TOTAL/FROM-ONE-ADDRESS, which is half of it if not given.
func parseConnections(text string) (total, per int, err error) {
	first, second, both := strings.Cut(text, "/")
	if total, err = strconv.Atoi(first); err != nil || total < 1 || total > connectionsMax {
		return 0, 0, fmt.Errorf("%q is not a number from 1 to %d", first, connectionsMax)
	}
	if !both {
		return total, max(total/2, 1), nil
	}
	if per, err = strconv.Atoi(second); err != nil || per < 1 || per > total {
		return 0, 0, fmt.Errorf("%q is not a number from 1 to %d", second, total)
	}
	return total, per, nil
}

// parseRates reads [ACCOUNT=]REQUESTS/BYTES. Those without an account hold for every account that has none of its own.
func parseRates(flags []string, accounts []blobstore.AccountOptions) (map[string]server.Rate, error) {
	rates := map[string]server.Rate{}
	for _, text := range flags {
		account, rest, ok := strings.Cut(text, "=")
		if !ok {
			account, rest = "", text
		} else if !has(accounts, account) {
			return nil, fmt.Errorf("%q: there is no account %q", text, account)
		}
		if _, twice := rates[account]; twice {
			return nil, fmt.Errorf("%q: given twice for the same accounts", text)
		}
		rate, err := parseRate(rest)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		rates[account] = rate
	}
	return rates, nil
}

func parseRate(text string) (r server.Rate, err error) {
	requests, bytes, ok := strings.Cut(text, "/")
	if !ok {
		return r, fmt.Errorf("want [ACCOUNT=]REQUESTS/BYTES, such as 500/100MiB")
	}
	if r.Requests, err = strconv.ParseInt(requests, 10, 64); err != nil || r.Requests < 0 || r.Requests > 1e9 {
		return r, fmt.Errorf("%q is not a number from 0 to 1000000000", requests)
	}
	if bytes == "0" {
		return r, nil
	}
	r.Bytes, err = parseSize(bytes)
	return r, err
}
