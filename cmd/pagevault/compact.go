package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

const compactLong = `Have a running server give back the space of what was deleted or overwritten now, instead of little by little in the
background, and store in less what was written in haste. It ends when nothing is left to give back.`

func newCompact() *cobra.Command {
	var admin string
	cmd := &cobra.Command{
		Use:   "compact [NAME]",
		Short: "Give back the space of what was deleted",
		Long:  compactLong,
		Args:  upToOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return compact(cmd.OutOrStdout(), cmd.ErrOrStderr(), admin, strings.Join(args, ""))
		},
	}
	cmd.Flags().StringVar(&admin, "admin", defaultAdmin, "address or URL of the server's admin listener")
	return cmd
}

// compactEvent is a line of the server's answer; see server.maintainEvent.
type compactEvent struct {
	Account, Doing, Error        string
	Moved, Freed, Bytes, Dropped int64
	Done                         bool
}

// compact asks the server and shows how far it is. An answer that ends before the last account is done is an error.
func compact(stdout, stderr io.Writer, admin, name string) error {
	body, err := askAdmin(http.MethodPost, admin, "maintain?progress=true", name, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := json.NewDecoder(body)
	var e compactEvent
	doing := ""
	for {
		was := e
		e = compactEvent{}
		if err := lines.Decode(&e); errors.Is(err, io.EOF) && was.Done {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: the answer ends early: %w", admin, err)
		}
		switch {
		case e.Error != "":
			return fmt.Errorf("account %s: %s", e.Account, e.Error)
		case e.Done:
			fmt.Fprintf(stdout, "account %s: %d frames freed, %d moved (%s), %d segments dropped\n", e.Account, e.Freed, e.Moved, shownBytes(e.Bytes), e.Dropped)
		case e.Account+e.Doing != doing:
			doing = e.Account + e.Doing
			fmt.Fprintf(stderr, "account %s: %s\n", e.Account, e.Doing)
		}
	}
}
