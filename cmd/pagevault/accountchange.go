package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pagevault/server"
)

// oneName refuses anything but the name of one account.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("want the name of one account (pagevault account list shows them)")
	}
	return nil
}

// accountFlags are what all commands have that change accounts.
type accountFlags struct {
	admin string
	json  bool
}

func (f *accountFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.admin, "admin", defaultAdmin, "address or URL of the server's admin listener")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer of the server as it is")
}

// change has the server change an account and shows what it answers.
func (f *accountFlags) change(w io.Writer, what string, c *server.AccountChange, show func(w io.Writer, done *server.AccountChanged)) error {
	base, err := adminURL(f.admin)
	if err != nil {
		return err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, base.JoinPath("accounts", what).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := adminAnswer(new(http.Client), req) // without a timeout: it may have to wait for requests
	if err != nil {
		return err
	}
	defer answer.Close()
	text, err := io.ReadAll(io.LimitReader(answer, answerMax))
	if err != nil {
		return fmt.Errorf("%s: %w", f.admin, err)
	}
	if f.json {
		_, err := w.Write(text)
		return err
	}
	done := new(server.AccountChanged)
	if err := json.Unmarshal(text, done); err != nil {
		return fmt.Errorf("%s: this is not the answer of a pagevault: %w", f.admin, err)
	}
	show(w, done)
	return nil
}

// boundsFlags say what an account may hold and ask for.
type boundsFlags struct{ limits, rate string }

// set reads them into a change.
func (f *boundsFlags) set(c *server.AccountChange) error {
	switch f.limits {
	case "":
	case "none":
		c.Limits = new(server.AccountLimits)
	default:
		l, err := parseLimits(f.limits)
		if err != nil {
			return usagef("limits %q: %s", f.limits, strings.ReplaceAll(err.Error(), "[ACCOUNT=]", ""))
		}
		c.Limits = &server.AccountLimits{TotalBytes: l.TotalBytes, DataBytes: l.DataBytes, MetadataBytes: l.MetadataBytes}
	}
	switch f.rate {
	case "":
	case "none":
		c.Rate = new(server.Rate)
	default:
		r, err := parseRate(f.rate)
		if err != nil {
			return usagef("--rate %q: %s", f.rate, strings.ReplaceAll(err.Error(), "[ACCOUNT=]", ""))
		}
		c.Rate = &r
	}
	return nil
}

const rateUsage = "REQUESTS/BYTES that it may ask for in a second, such as 500/100MiB, 0 is no bound; or none"

const accountAddLong = `Add an account to a running server. It is there at once, and after every start to come.

Without --key it gets two keys of 64 random bytes, which are shown once and can be had from nowhere afterwards. A key on a
command line can be seen by others on the machine. Data that an account of that name has already in the directories of the
server is served again.`

func newAccountAdd() *cobra.Command {
	var f accountFlags
	var keys []string
	var bounds boundsFlags
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an account, and show its keys",
		Long:  accountAddLong,
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := &server.AccountChange{Name: args[0]}
			if !validAccountName(c.Name) {
				return usagef("%q is not an account name: want 1 to %d of a-z, 0-9 and -, not ending in -secondary", c.Name, accountNameMax)
			}
			var err error
			if c.Keys, err = decodeKeys("--key", keys); err != nil {
				return err
			}
			if err := bounds.set(c); err != nil {
				return err
			}
			return f.change(cmd.OutOrStdout(), "add", c, func(w io.Writer, done *server.AccountChanged) {
				fmt.Fprintf(w, "account %s is there from now on\n", done.Name)
				showKeys(w, done)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringArrayVar(&keys, "key", nil, "key in base64; may be given twice. Without it two are made")
	cmd.Flags().StringVar(&bounds.limits, "limits", "", "TOTAL/DATA/METADATA or vault[/N] that it may hold, or none; otherwise what serve --limits says of all accounts")
	cmd.Flags().StringVar(&bounds.rate, "rate", "", rateUsage+"; otherwise what serve --rate says of all accounts")
	return cmd
}

// decodeKeys reads keys in base64. Its errors do not repeat them.
func decodeKeys(flag string, texts []string) (keys [][]byte, err error) {
	for _, text := range texts {
		key, err := decodeKey(text)
		if err != nil {
			return nil, usagef("%s: %w", flag, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// showKeys shows the keys that the server has made, which is the only time.
func showKeys(w io.Writer, done *server.AccountChanged) {
	for i, key := range done.Made {
		fmt.Fprintf(w, "  key %d  %s\n", done.Key+i, base64.StdEncoding.EncodeToString(key))
	}
	if len(done.Made) > 0 {
		fmt.Fprintln(w, "nobody can be shown this again: keep it in a safe place")
	}
}

const accountRotateLong = `Put another key in the place of the first or the second of an account. The one that was there is refused from then on, and so is
every shared access signature that was made with it; the other key stays valid. An account with one key gets a second.

Without --new the key is 64 random bytes, which are shown once. An account that serve --account names has the keys it is
given there.`

func newAccountRotate() *cobra.Command {
	var f accountFlags
	var number int
	var text string
	cmd := &cobra.Command{
		Use:   "rotate NAME --key 1|2",
		Short: "Put another key in the place of one, and show it",
		Long:  accountRotateLong,
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := &server.AccountChange{Name: args[0], Key: number}
			if number != 1 && number != 2 {
				return usagef("--key: want 1 or 2")
			}
			if cmd.Flags().Changed("new") {
				var err error
				if c.Keys, err = decodeKeys("--new", []string{text}); err != nil {
					return err
				}
			}
			return f.change(cmd.OutOrStdout(), "rotate", c, func(w io.Writer, done *server.AccountChanged) {
				fmt.Fprintf(w, "key %d of account %s is another one from now on\n", done.Key, done.Name)
				showKeys(w, done)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&number, "key", 0, "which one, 1 or 2")
	cmd.Flags().StringVar(&text, "new", "", "the key, in base64. Without it one is made")
	return cmd
}

const accountLimitLong = `Change what an account may hold, TOTAL/DATA/METADATA or vault[/N] as with serve --limits, or none; or what it may ask for in a
second; or both. It holds at once and after every start to come. What the account holds already stays.`

func newAccountLimit() *cobra.Command {
	var f accountFlags
	var bounds boundsFlags
	cmd := &cobra.Command{
		Use:   "limit NAME [LIMITS]",
		Short: "Change what an account may hold, and ask for",
		Long:  accountLimitLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("want the name of an account, and its limits")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				bounds.limits = args[1]
			}
			if bounds.limits == "" && bounds.rate == "" {
				return usagef("want limits, --rate, or both")
			}
			c := &server.AccountChange{Name: args[0]}
			if err := bounds.set(c); err != nil {
				return err
			}
			return f.change(cmd.OutOrStdout(), "limit", c, func(w io.Writer, done *server.AccountChanged) {
				if l := done.Limits; c.Limits != nil && l != nil {
					fmt.Fprintf(w, "account %s may hold %s from now on\n", done.Name, shownLimits(l.DataBytes, l.MetadataBytes))
				}
				if c.Rate != nil && done.Rate != nil {
					fmt.Fprintf(w, "account %s may ask for %s from now on\n", done.Name, shownRate(*done.Rate))
				}
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&bounds.rate, "rate", "", rateUsage)
	return cmd
}

func shownLimits(data, metadata int64) string {
	if data == 0 {
		return "as much as there is room for"
	}
	return fmt.Sprintf("%s of data and %s of metadata", shownBytes(data), shownBytes(metadata))
}

func shownRate(r server.Rate) string {
	requests, bytes := "any number of requests", "any number of bytes"
	if r.Requests > 0 {
		requests = plural(r.Requests, "request")
	}
	if r.Bytes > 0 {
		bytes = shownBytes(r.Bytes)
	}
	return requests + " and " + bytes + " in a second"
}

const accountRemoveLong = `Remove an account from a running server, with everything it has on the disks. Nothing brings it back.

It is refused while the account has containers, unless --delete-data gives its name once more. Requests that are under way
are finished first, and new ones are told to come again; who stops the command until then has removed nothing. A crash in the
middle leaves an account that is gone: the next start removes what is left of it.`

func newAccountRemove() *cobra.Command {
	var f accountFlags
	var again string
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove an account and all it has",
		Long:  accountRemoveLong,
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := &server.AccountChange{Name: args[0], DeleteData: cmd.Flags().Changed("delete-data"), Again: again}
			if c.DeleteData && again != c.Name {
				return usagef("--delete-data: %q is not the name of the account, %q", again, c.Name)
			}
			return f.change(cmd.OutOrStdout(), "remove", c, func(w io.Writer, done *server.AccountChanged) {
				fmt.Fprintf(w, "account %s is gone, and nothing of it is left on the disks\n", done.Name)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&again, "delete-data", "", "the name of the account once more: also if it has containers")
	return cmd
}

const accountListLong = `List the accounts of a running server. source says what names an account: --account (flag), AZURITE_ACCOUNTS (environment), neither
(default), or the account add command (file): only the latter can be changed while the server runs.`

func newAccountList() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Long:  accountListLong,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			return withAccounts(w, f.admin, "", f.json, func(accounts []accountUsage) { listAccounts(w, accounts) })
		},
	}
	f.register(cmd)
	return cmd
}

func listAccounts(w io.Writer, accounts []accountUsage) {
	var table strings.Builder
	tab := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(tab, strings.Join(cells, "\t")) }
	row("account", "source", "keys", "containers", "data", "of", "metadata", "of", "requests/s", "bytes/s")
	for i := range accounts {
		u := &accounts[i]
		data, metadata, requests, rate := "-", "-", "-", "-"
		if l := u.Limits; l != nil {
			data, metadata = shownBytes(l.DataBytes), shownBytes(l.MetadataBytes)
		}
		if u.Rate.Requests > 0 {
			requests = strconv.FormatInt(u.Rate.Requests, 10)
		}
		if u.Rate.Bytes > 0 {
			rate = shownBytes(u.Rate.Bytes)
		}
		row(u.Name, u.Source, strconv.Itoa(u.Keys), strconv.FormatUint(u.Containers, 10), shownBytes(u.LiveBytes), data,
			shownBytes(u.MetadataBytes), metadata, requests, rate)
	}
	tab.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}
