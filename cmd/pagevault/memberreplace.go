package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const memberReplaceLong = `Put a directory in the place of a member of a running server: an empty disk where one has failed, or another place. With a
NUMBER one higher than there are members, it becomes one more.

DIR is as given to serve --replica; without it the directory is the one that the member has. It must be empty or not be
there. With --wipe what is in it of the accounts goes first. Once it belongs to the log it is filled in the background,
while requests go on. What the member had elsewhere is left as it is.

It is refused while something of what the member holds could be had from nowhere else, or lacks a copy or a shard already, as
while another one is filled. Change the next disk when member list says current, and not filling. A disk that does not answer
can always be replaced.`

func newMemberReplace() *cobra.Command {
	var f memberFlags
	var dir string
	var wipe bool
	cmd := &cobra.Command{
		Use:   "replace NUMBER",
		Short: "Put a directory in the place of a member, or add a member",
		Long:  memberReplaceLong,
		Args:  oneMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"member": {args[0]}, "wipe": {strconv.FormatBool(wipe)}}
			if cmd.Flags().Changed("dir") {
				if dir == "" {
					return usagef("--dir is empty")
				}
				abs, err := filepath.Abs(dir)
				if err != nil {
					return err
				}
				query.Set("dir", abs)
			}
			answer, err := f.ask(http.MethodPost, "members/replace", query, 0)
			if err != nil {
				return err
			}
			return f.showChange(cmd.OutOrStdout(), answer)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the directory, as given to serve --replica; otherwise the one that the member has")
	cmd.Flags().BoolVar(&wipe, "wipe", false, "remove what is in the directory of the accounts first")
	return cmd
}

// memberChange is what the server says of a member that has another directory, or is gone; see server.memberChange.
type memberChange struct {
	Member    int
	From, Dir string
	Accounts  []string
	Replicas  []string
}

func (f *memberFlags) showChange(w io.Writer, answer []byte) error {
	if f.json {
		_, err := w.Write(answer)
		return err
	}
	var c memberChange
	if err := json.Unmarshal(answer, &c); err != nil {
		return fmt.Errorf("%s: this is not the answer of a pagevault: %w", f.admin, err)
	}
	_, err := io.WriteString(w, c.describe(f.command))
	return err
}

// describe says what was done, and what there is to do. command returns what to type.
func (c *memberChange) describe(command func(args string) string) string {
	var b strings.Builder
	of := "of account " + strings.Join(c.Accounts, "")
	if n := len(c.Accounts); n != 1 {
		of = "of " + plural(int64(n), "account")
	}
	switch {
	case c.Dir == "":
		fmt.Fprintf(&b, "member %d %s is gone: what it held is on the others, and %s is not written to any more\n", c.Member, of, c.From)
	case c.From == "":
		fmt.Fprintf(&b, "there is a new member %d %s: %s\n", c.Member, of, c.Dir)
	case c.From != c.Dir:
		fmt.Fprintf(&b, "member %d %s is %s now, and no longer %s\n", c.Member, of, c.Dir, c.From)
	default:
		fmt.Fprintf(&b, "member %d %s begins anew in %s\n", c.Member, of, c.Dir)
	}
	if c.Dir != "" {
		fmt.Fprintf(&b, "it is filled in the background; this shows how far it is: %s\n", command("member list"))
		fmt.Fprintf(&b, "the next disk may be changed when that says current, and nothing lacks a copy or a shard\n")
	}
	if c.From != c.Dir {
		fmt.Fprintf(&b, "from now on the server has to be started with:%s\n", replicaFlags(c.Replicas))
	}
	return b.String()
}

// replicaFlags returns the flags of serve that name the members' directories.
func replicaFlags(dirs []string) string {
	var b strings.Builder
	for _, dir := range dirs {
		if strings.ContainsAny(dir, " \t\n\"'\\$&;|<>()*?[]#~`!") {
			dir = "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
		}
		fmt.Fprint(&b, " --replica ", dir)
	}
	return b.String()
}
