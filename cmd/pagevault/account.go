package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pagevault/server"
)

// defaultAdmin is where a server that was started without --admin can be asked.
const defaultAdmin = "http://127.0.0.1:10001"

// answerMax bounds what is read of an answer of the admin listener: some 600 bytes an account.
const answerMax = 16 << 20

func newAccount() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Look at the accounts of a running server, and change them",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q (pagevault account --help lists them)", "account "+args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newAccountList(), newAccountShow(), newAccountAdd(), newAccountRotate(), newAccountLimit(), newAccountRemove())
	return cmd
}

const accountShowLong = `Show what the accounts of a running server have and what they take on the disk of one member.

provisioned is the size of all blobs, written what was written of them and of their snapshots, unique what of that is
different content, data what stores it. Garbage is what was stored and is not shown by anything any more; it goes in the
background. Metadata is everything else on the disk.`

func newAccountShow() *cobra.Command {
	var admin string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show what accounts have and take",
		Long:  accountShowLong,
		Args:  upToOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return showAccounts(cmd.OutOrStdout(), admin, strings.Join(args, ""), asJSON)
		},
	}
	cmd.Flags().StringVar(&admin, "admin", defaultAdmin, "address or URL of the server's admin listener")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer of the server as it is")
	return cmd
}

// upToOneName refuses more than one argument.
func upToOneName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("unexpected argument %q: want one account at most", args[1])
	}
	return nil
}

// accountUsage is what the server says of an account; see server.accountUsage.
type accountUsage struct {
	Name             string
	Containers       uint64
	Blobs            uint64
	Snapshots        uint64
	ProvisionedBytes int64
	WrittenBytes     int64
	UniqueBytes      int64
	LiveBytes        int64
	StoredBytes      int64
	MetadataBytes    int64
	DedupRatio       float64
	CompressionRatio float64
	Keys             int
	Source           string
	Rate             server.Rate
	Limits           *struct{ TotalBytes, DataBytes, MetadataBytes int64 }
}

func showAccounts(w io.Writer, admin, name string, asJSON bool) error {
	return withAccounts(w, admin, name, asJSON, func(accounts []accountUsage) {
		for i := range accounts {
			if i > 0 {
				fmt.Fprintln(w)
			}
			accounts[i].print(w)
		}
	})
}

// withAccounts asks the server for one account, or all, and has the answer shown, or shows it as it is.
func withAccounts(w io.Writer, admin, name string, asJSON bool, show func(accounts []accountUsage)) error {
	body, err := askAdmin(http.MethodGet, admin, "accounts", name, adminTimeout)
	if err != nil {
		return err
	}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, answerMax))
	if err != nil {
		return fmt.Errorf("%s: %w", admin, err)
	}
	if asJSON {
		_, err := w.Write(answer)
		return err
	}
	var list struct{ Accounts []accountUsage }
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("%s: this is not the answer of a pagevault: %w", admin, err)
	}
	show(list.Accounts)
	return nil
}

// print writes a table of two or three columns.
func (u *accountUsage) print(w io.Writer) {
	fmt.Fprintf(w, "account %s\n", u.Name)
	var table strings.Builder
	tab := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row := func(name, value, remark string) {
		fmt.Fprintf(tab, "  %s\t%s\t%s\n", name, value, remark)
	}
	var total, data, metadata string
	if l := u.Limits; l != nil {
		total, data, metadata = share(u.LiveBytes+u.MetadataBytes, l.TotalBytes), share(u.LiveBytes, l.DataBytes), share(u.MetadataBytes, l.MetadataBytes)
	}
	row("containers", fmt.Sprint(u.Containers), "")
	row("blobs", fmt.Sprint(u.Blobs), fmt.Sprintf("and %d snapshots", u.Snapshots))
	row("provisioned", shownBytes(u.ProvisionedBytes), "")
	row("written", shownBytes(u.WrittenBytes), "")
	row("unique", shownBytes(u.UniqueBytes), ratioOf("dedup ratio %.2f", u.DedupRatio))
	row("data", shownBytes(u.LiveBytes), join(ratioOf("compression ratio %.2f", u.CompressionRatio), data))
	row("garbage", shownBytes(max(0, u.StoredBytes-u.LiveBytes)), "")
	row("metadata", shownBytes(u.MetadataBytes), metadata)
	row("together", shownBytes(u.LiveBytes+u.MetadataBytes), total)
	tab.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// share says how much of a limit is used.
func share(used, limit int64) string {
	return fmt.Sprintf("%.1f %% of %s", 100*float64(used)/float64(limit), shownBytes(limit))
}

func ratioOf(format string, ratio float64) string {
	if ratio == 0 {
		return ""
	}
	return fmt.Sprintf(format, ratio)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ", " + b
}

// shownBytes returns a number of bytes with the unit that reads best, with three digits at least.
func shownBytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n)/(1<<10), []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for v >= 1023.5 && len(units) > 1 {
		v, units = v/(1<<10), units[1:]
	}
	text := fmt.Sprintf("%.2f", v)
	if v >= 100 {
		text = fmt.Sprintf("%.0f", v)
	} else if v >= 10 {
		text = fmt.Sprintf("%.1f", v)
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, ".00"), ".0") + " " + units[0]
}

// askAdmin sends a request without a body to the admin listener of a server, about one account or, with name "", all. The
// answer must have come as a whole within timeout; 0 is none. The caller closes it.
func askAdmin(method, admin, path, name string, timeout time.Duration) (io.ReadCloser, error) {
	base, err := adminURL(admin)
	if err != nil {
		return nil, err
	}
	path, rest, _ := strings.Cut(path, "?")
	query, err := url.ParseQuery(rest)
	if err != nil {
		return nil, err
	}
	if name != "" {
		query.Set("account", name)
	}
	u := base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequest(method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: timeout}
	return adminAnswer(&client, req)
}

// adminURL returns where the admin listener is that --admin names: a URL, or the address alone, as serve takes it.
func adminURL(admin string) (*url.URL, error) {
	full := admin
	if _, _, err := net.SplitHostPort(admin); err == nil {
		full = "http://" + admin
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--admin: %q is not a URL such as %s", admin, defaultAdmin)
	}
	return u, nil
}

// adminAnswer sends a request to the admin listener of a server. The caller closes the body of its answer.
func adminAnswer(client *http.Client, req *http.Request) (io.ReadCloser, error) {
	at := req.URL.Scheme + "://" + req.URL.Host
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("no server answers at %s: %w (--admin names another one)", at, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return nil, fmt.Errorf("%s answers %s", at, oneLine(fmt.Errorf("%s: %s", resp.Status, text)))
}
