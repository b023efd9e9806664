package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pagevault/blobstore"
	"pagevault/internal/clock"
)

func newMember() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Look at the members of a running server's logs, and change them",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q (pagevault member --help lists them)", "member "+args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newMemberList(), newMemberReplace(), newMemberRetire(), newMemberRedundancy())
	return cmd
}

// oneMember refuses anything but the number of a member.
func oneMember(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("want the number of one member (pagevault member list shows them)")
	}
	if n, err := strconv.Atoi(args[0]); err != nil || n < 1 || n > maxMembers {
		return usagef("%q is not the number of a member, from 1 to %d (pagevault member list shows them)", args[0], maxMembers)
	}
	return nil
}

// memberFlags are what all commands about members have.
type memberFlags struct {
	admin   string
	account string
	json    bool
}

func (f *memberFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.admin, "admin", defaultAdmin, "address or URL of the server's admin listener")
	flags.StringVar(&f.account, "account", "", "only this account; otherwise all that there are")
	flags.BoolVar(&f.json, "json", false, "print the answer of the server as it is")
}

// command returns what to type to have the same server do something.
func (f *memberFlags) command(args string) string {
	if f.admin != defaultAdmin {
		args += " --admin " + f.admin
	}
	return "pagevault " + args
}

// ask sends a request and returns the whole answer.
func (f *memberFlags) ask(method, path string, query url.Values, timeout time.Duration) ([]byte, error) {
	if q := query.Encode(); q != "" {
		path += "?" + q
	}
	body, err := askAdmin(method, f.admin, path, f.account, timeout)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, answerMax))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.admin, err)
	}
	return answer, nil
}

const memberListLong = `Show the members of a running server's logs: the directories that hold what is stored.

current   holds all it should; a write is acknowledged when it is on all of these
filling   is current as far as writes go, and still gets copies or shards that are lacking: change no other disk yet
joining   is written to again, and still gets the older files; does not count
behind    is not written to; what it lacks is copied to it in the background as soon as its disk works
absent    its directory is not there, is empty or cannot be used
foreign   its directory holds another history of the store

behind by is what a member lacks of what it should hold, errors are failed reads and writes, damaged is how often wrong
bytes were found and repaired how many files were made whole again, all since the server was started. Below it stands what
holds for accounts: how many copies are kept, what lacks one, and when everything was last read and compared.`

func newMemberList() *cobra.Command {
	var f memberFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the members, their state and what they lack",
		Long:  memberListLong,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := f.ask(http.MethodGet, "members", nil, adminTimeout)
			if err != nil {
				return err
			}
			return f.show(cmd.OutOrStdout(), answer)
		},
	}
	f.register(cmd)
	return cmd
}

// show prints an answer with the health of accounts.
func (f *memberFlags) show(w io.Writer, answer []byte) error {
	if f.json {
		_, err := w.Write(answer)
		return err
	}
	var list struct{ Accounts []blobstore.Health }
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("%s: this is not the answer of a pagevault: %w", f.admin, err)
	}
	_, err := io.WriteString(w, describeMembers(list.Accounts, clock.System.Now()))
	return err
}

// describeMembers returns the table of all disks and, below it, what is to be said about single accounts.
func describeMembers(all []blobstore.Health, now time.Time) string {
	var table, out strings.Builder
	tab := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(tab, strings.Join(cells, "\t")) }
	row("member", "directory", "state", "since", "behind by", "errors", "damaged", "repaired", "free")
	for _, d := range disks(all) {
		t := d.totals(all)
		row(numbers(d.numbers), d.dir, d.state(len(all)), since(d.worst.Since, now), behindBy(&t), count(t.ReadErrors+t.WriteErrors),
			count(t.Damaged), count(t.Repaired), free(&d.worst))
	}
	tab.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(&out, strings.TrimRight(line, " \n"))
	}
	fmt.Fprint(&out, "\n", describeAccounts(all), describeScrubs(all))
	for _, d := range disks(all) {
		if d.worst.State != blobstore.MemberCurrent || d.filling > 0 {
			fmt.Fprintln(&out, d.what())
		}
	}
	return out.String()
}

// describeAccounts says what policy accounts have and what is wrong with them.
func describeAccounts(all []blobstore.Health) string {
	return byAccount(all, func(h *blobstore.Health) string {
		text := fmt.Sprintf("redundancy %s, writes need %s", h.Redundancy, plural(int64(h.MinReplicas), "member"))
		if h.UnderReplicated > 0 {
			text += fmt.Sprintf(", %s lack a copy or a shard", shownBytes(h.UnderReplicated))
		}
		switch {
		case h.Final:
			text += "; WRITES ARE REFUSED until the server is started again: " + h.Error
		case !h.Writable:
			text += "; WRITES ARE REFUSED until more members work: " + h.Error
		case h.Degraded:
			text += "; writes go on"
		}
		return text
	})
}

// describeScrubs says when accounts were last read and compared, and what of them cannot be healed.
func describeScrubs(all []blobstore.Health) string {
	return byAccount(all, func(h *blobstore.Health) string { return describeScrub(&h.Scrub) }) +
		byAccount(all, func(h *blobstore.Health) string { return describeUnhealable(h.Unhealable) })
}

// byAccount returns a line for each account, or one for those of which the same is to be said. "": nothing is.
func byAccount(all []blobstore.Health, say func(h *blobstore.Health) string) string {
	var order []string
	names := map[string][]string{}
	for i := range all {
		h := &all[i]
		text := say(h)
		if text == "" {
			continue
		}
		if names[text] == nil {
			order = append(order, text)
		}
		names[text] = append(names[text], h.Account)
	}
	var out strings.Builder
	for _, text := range order {
		who := "account " + names[text][0]
		if n := len(names[text]); n > 3 {
			who = fmt.Sprintf("%d accounts", n)
		} else if n > 1 {
			who = "accounts " + strings.Join(names[text], ", ")
		}
		fmt.Fprintf(&out, "%s: %s\n", who, text)
	}
	return out.String()
}

// totals sums what the accounts say of a disk.
func (d *disk) totals(all []blobstore.Health) (t blobstore.MemberHealth) {
	for i := range all {
		for _, m := range all[i].Members {
			if filepath.Dir(m.Dir) != d.dir {
				continue
			}
			t.ReadErrors += m.ReadErrors
			t.WriteErrors += m.WriteErrors
			t.Damaged += m.Damaged
			t.Repaired += m.Repaired
			if m.State != blobstore.MemberCurrent || m.Filling() {
				t.Have, t.Want = t.Have+m.Have, t.Want+m.Want
				t.State, t.Reason = m.State, m.Reason
			}
		}
	}
	return t
}

// state is the worst there is, with how many accounts are not current if others are.
func (d *disk) state(accounts int) string {
	if d.accounts == 0 && d.filling > 0 {
		if d.filling < accounts {
			return fmt.Sprintf("filling (%d of %d accounts)", d.filling, accounts)
		}
		return "filling"
	}
	if d.accounts == 0 || d.accounts == accounts {
		return string(d.worst.State)
	}
	return fmt.Sprintf("%s (%d of %d accounts)", d.worst.State, d.accounts, accounts)
}

func numbers(ns []int) string {
	ns = slices.SortedFunc(slices.Values(ns), cmp.Compare)
	texts := make([]string, len(ns))
	for i, n := range ns {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, "/")
}

// since returns how long ago something was, in the two largest units.
func since(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	d := max(0, now.Sub(*t)).Truncate(time.Second)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}

// behindBy says what a member lacks. What one that is out lacks nobody has counted.
func behindBy(t *blobstore.MemberHealth) string {
	switch {
	case t.State == "" || t.State == blobstore.MemberCurrent && !t.Filling():
		return "-"
	case t.Want == 0:
		return "?"
	}
	return fmt.Sprintf("%s of %s", shownBytes(max(0, t.Want-t.Have)), shownBytes(t.Want))
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func free(m *blobstore.MemberHealth) string {
	if m.Total == 0 {
		return "-"
	}
	return shownBytes(int64(m.Free)) + " of " + shownBytes(int64(m.Total))
}
