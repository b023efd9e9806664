package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"pagevault/blobstore"
)

const memberRedundancyLong = `Show how a running server keeps the sealed files of its logs, or change it. 3 is three copies, or as many as there are members
if those are fewer; rs:K+M is K shards of data and M more on as many members, any M of which may be lost.

A change holds at once for what is sealed from then on, and across restarts. What is sealed already is converted in the
background.`

func newMemberRedundancy() *cobra.Command {
	var f memberFlags
	cmd := &cobra.Command{
		Use:   "redundancy [POLICY]",
		Short: "Show or change how many copies or shards are kept",
		Long:  memberRedundancyLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q: want one policy at most", args[1])
			}
			if len(args) == 1 {
				if _, err := blobstore.ParseRedundancy(args[0]); err != nil {
					return &usageError{err}
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			method, path, query := http.MethodGet, "members", url.Values(nil)
			show := f.showRedundancy
			if len(args) == 1 {
				method, path, query, show = http.MethodPost, "redundancy", url.Values{"policy": args}, f.showNewRedundancy
			}
			answer, err := f.ask(method, path, query, 0)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), answer)
		},
	}
	f.register(cmd)
	return cmd
}

// showRedundancy prints how accounts are kept, from their health.
func (f *memberFlags) showRedundancy(w io.Writer, answer []byte) error {
	if f.json {
		_, err := w.Write(answer)
		return err
	}
	var list struct{ Accounts []blobstore.Health }
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("%s: this is not the answer of a pagevault: %w", f.admin, err)
	}
	_, err := io.WriteString(w, byAccount(list.Accounts, func(h *blobstore.Health) string {
		text := fmt.Sprintf("redundancy %s; %s are copies and %s shards, on all members together", h.Redundancy, shownBytes(h.CopyBytes), shownBytes(h.ShardBytes))
		if h.UnderReplicated > 0 {
			text += fmt.Sprintf("; %s lack a copy or a shard", shownBytes(h.UnderReplicated))
		}
		return text
	}))
	return err
}

// showNewRedundancy prints the answer to a change.
func (f *memberFlags) showNewRedundancy(w io.Writer, answer []byte) error {
	if f.json {
		_, err := w.Write(answer)
		return err
	}
	var c struct {
		Redundancy string
		Accounts   []string
	}
	if err := json.Unmarshal(answer, &c); err != nil {
		return fmt.Errorf("%s: this is not the answer of a pagevault: %w", f.admin, err)
	}
	_, err := fmt.Fprintf(w, "redundancy is %s from now on: %s\nwhat is sealed already is converted in the background; this shows how far it is: %s\n"+
		"a server that is started with --redundancy has to be given --redundancy %s from now on\n",
		c.Redundancy, strings.Join(c.Accounts, ", "), f.command("member redundancy"), c.Redundancy)
	return err
}
