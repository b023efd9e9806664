package main

import (
	"github.com/spf13/cobra"

	"pagevault/pagestore"
)

// synthesizeCommand makes a store that can be measured as if it were full; see pagestore.Synthesize.
func synthesizeCommand() *cobra.Command {
	var data, account string
	var chunks uint64
	c := &cobra.Command{
		Use:    "synthesize --data DIR --chunks N",
		Short:  "Make the index of a stopped server's empty account tell of so many chunks, to measure it; the account is good for nothing else",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			if data == "" || chunks == 0 {
				return usagef("--data and --chunks are missing")
			}
			home, err := diskLayout(data, nil)
			if err != nil {
				return err
			}
			return pagestore.Synthesize(home.store(account), chunks)
		},
	}
	c.Flags().StringVar(&data, "data", "", "data directory of the server")
	c.Flags().StringVar(&account, "account", wellKnownAccount, "name of the account")
	c.Flags().Uint64Var(&chunks, "chunks", 0, "chunks of 4 KiB")
	return c
}
