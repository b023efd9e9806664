package main

import (
	"fmt"
	"strconv"
	"strings"

	"pagevault/blobstore"
)

// vaultLimits are those of the preset "vault": one decimal terabyte, of which 850 GB may be data.
var vaultLimits = blobstore.Limits{TotalBytes: 1e12, DataBytes: 850e9, MetadataBytes: 150e9}

const limitsWanted = "want [ACCOUNT=]TOTAL/DATA/METADATA, such as 1GiB/850MiB/150MiB, or [ACCOUNT=]vault[/N]"

// setLimits gives accounts the limits that the flags name: those without an account hold for every account that has none
// of its own.
func setLimits(accounts []blobstore.AccountOptions, flags []string) error {
	named := map[string]blobstore.Limits{}
	for _, text := range flags {
		account, rest, ok := strings.Cut(text, "=")
		if !ok {
			account, rest = "", text
		} else if !has(accounts, account) {
			return fmt.Errorf("%q: there is no account %q", text, account)
		}
		if _, twice := named[account]; twice {
			return fmt.Errorf("%q: given twice for the same accounts", text)
		}
		limits, err := parseLimits(rest)
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		named[account] = limits
	}
	for i := range accounts {
		limits, own := named[accounts[i].Name]
		if !own {
			limits = named[""]
		}
		accounts[i].Limits = limits
	}
	return nil
}

// commonLimits returns those of flags that setLimits has taken, for accounts that they do not name.
func commonLimits(flags []string) (common blobstore.Limits) {
	for _, text := range flags {
		if !strings.Contains(text, "=") {
			common, _ = parseLimits(text) // it has been read before
		}
	}
	return common
}

func has(accounts []blobstore.AccountOptions, name string) bool {
	for _, a := range accounts {
		if a.Name == name {
			return true
		}
	}
	return false
}

// parseLimits reads TOTAL/DATA/METADATA, or vault, or vault/N for an Nth part of it.
func parseLimits(text string) (blobstore.Limits, error) {
	parts := strings.Split(text, "/")
	if parts[0] == "vault" && len(parts) <= 2 {
		n := int64(1)
		if len(parts) == 2 {
			var err error
			if n, err = strconv.ParseInt(parts[1], 10, 64); err != nil || n < 1 || n > 1e6 {
				return blobstore.Limits{}, fmt.Errorf("%q is not a number from 1 to 1000000", parts[1])
			}
		}
		l := vaultLimits
		return blobstore.Limits{TotalBytes: l.TotalBytes / n, DataBytes: l.DataBytes / n, MetadataBytes: l.MetadataBytes / n}, nil
	}
	if len(parts) != 3 {
		return blobstore.Limits{}, fmt.Errorf("%s", limitsWanted)
	}
	var sizes [3]int64
	for i, part := range parts {
		var err error
		if sizes[i], err = parseSize(part); err != nil {
			return blobstore.Limits{}, err
		}
	}
	l := blobstore.Limits{TotalBytes: sizes[0], DataBytes: sizes[1], MetadataBytes: sizes[2]}
	if l.TotalBytes < l.DataBytes || l.TotalBytes-l.DataBytes < l.MetadataBytes {
		return blobstore.Limits{}, fmt.Errorf("%s and %s are more than %s together", parts[1], parts[2], parts[0])
	}
	return l, nil
}
