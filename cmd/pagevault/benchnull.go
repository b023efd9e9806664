package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pagevault/bench"
	"pagevault/internal/digest"
)

// nullServerCommand is the process that `pagevault bench` starts as its baseline.
func nullServerCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:    "null-server",
		Short:  "Serve the baseline: read, hash, answer, store nothing",
		Hidden: true,
		Args:   noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runNullServer(ctx, listen, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	return c
}

// runNullServer serves until ctx is done. It hashes a body in one piece, as a store names a single chunk or region: what a store does
// to be faster with many of them is not part of the baseline.
func runNullServer(ctx context.Context, listen string, out io.Writer) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	hasher := digest.NewHasher(digest.Key{})
	s := bench.NewNullServer(func(p []byte) {
		var d digest.Digest
		hasher.Sum(&d, p)
	})
	stop := context.AfterFunc(ctx, func() { s.Shutdown() })
	defer stop()
	fmt.Fprintf(out, "null server: BlobEndpoint=http://%s/%s;\n", ln.Addr(), wellKnownAccount)
	return s.Serve(ln)
}
