package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

const memberRetireLong = `Take a member out of the logs of a running server. What it alone holds is moved to the others first, which may take as long
as copying a disk does; the command ends when the member is gone. Stopping it gives up what is not done yet, and the member
stays; the same command goes on with it.

It is refused where too few members would be left.`

func newMemberRetire() *cobra.Command {
	var f memberFlags
	cmd := &cobra.Command{
		Use:   "retire NUMBER",
		Short: "Take a member out",
		Long:  memberRetireLong,
		Args:  oneMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.retire(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	f.register(cmd)
	return cmd
}

// retireEvent is a line of the server's answer; see server.retireEvent.
type retireEvent struct {
	Account         string
	UnderReplicated int64 `json:"underReplicatedBytes"`
	Done            bool
	Error           string
	Change          *memberChange
}

// retire asks the server and shows how far it is. An answer that ends before it says that the member is gone is an error.
func (f *memberFlags) retire(stdout, stderr io.Writer, number string) error {
	path := "members/retire?" + url.Values{"member": {number}}.Encode()
	body, err := askAdmin(http.MethodPost, f.admin, path, f.account, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	show := &retireOutput{stdout: stdout, lines: progressLines{w: stderr, terminal: isTerminal(stderr)}, command: f.command}
	defer show.lines.clear()
	from := io.Reader(body)
	if f.json {
		from, show.stdout, show.lines.w = io.TeeReader(body, stdout), io.Discard, io.Discard
	}
	return show.read(from)
}

// retireOutput shows an answer.
type retireOutput struct {
	stdout  io.Writer
	lines   progressLines
	command func(args string) string
}

func (o *retireOutput) read(from io.Reader) error {
	lines := json.NewDecoder(from)
	for {
		var e retireEvent
		if err := lines.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("the server's answer ends early: %w", err)
		}
		switch {
		case e.Change != nil:
			o.lines.clear()
			_, err := io.WriteString(o.stdout, e.Change.describe(o.command))
			return err
		case e.Error != "" && e.Account == "":
			return errors.New(strings.TrimSpace(e.Error))
		case e.Error != "": // all of them come again at the end
		case e.Done:
			o.lines.clear()
			fmt.Fprintf(o.stdout, "account %s: done\n", e.Account)
		default:
			text := fmt.Sprintf("account %s: what it holds is moved to the others", e.Account)
			if e.UnderReplicated > 0 {
				text += fmt.Sprintf("; %s lack a copy or a shard", shownBytes(e.UnderReplicated))
			}
			o.lines.tell(text)
		}
	}
}
