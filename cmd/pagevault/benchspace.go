package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pagevault/bench"
)

// spaceFlags are the flags of `pagevault bench space`, as given.
type spaceFlags struct {
	images      string
	simulate    bool
	store       bool
	with        []string
	target      string
	admin       string
	account     string
	connections int
	dir         string
	json        string
}

func newBenchSpace() *cobra.Command {
	var f spaceFlags
	c := &cobra.Command{
		Use:   "space --images DIR",
		Short: "Measure what disk images take, beside other ways to store them",
		Long: "Stores disk images one after the other, as if machines were backed up in that order, in a server of its own on disk\n" +
			"(or in --target) and, with --with, in repositories of tools for backups; reads all of it back and compares every byte.\n" +
			"Also simulates ways of chunking on the same images. Prints tables in Markdown.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return f.run(ctx, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	p := c.Flags()
	p.SortFlags = false
	p.StringVar(&f.images, "images", "", "directory with *.img, or a `pattern` of file names; `make corpus` makes some")
	p.BoolVar(&f.simulate, "simulate", true, "simulate ways of chunking")
	p.BoolVar(&f.store, "store", true, "store the images in pagevault")
	p.StringSliceVar(&f.with, "with", nil, "tools to measure besides, which must be installed: "+strings.Join(bench.ToolNames(), ", "))
	p.StringVar(&f.target, "target", "", "URL of a Blob endpoint to store the images in, instead of a server of its own")
	p.StringVar(&f.admin, "target-admin", "", "URL of its admin listener, which knows what is stored")
	p.StringVar(&f.account, "account", wellKnownAccount+":"+wellKnownKey, "account and base64 key of the target, NAME:KEY")
	p.IntVar(&f.connections, "connections", 4, "requests under way at once")
	p.StringVar(&f.dir, "dir", ".", "directory on the disk to measure; what is made there is removed")
	p.StringVar(&f.json, "json", "", "write the report as JSON to this `file` too; - prints it instead of the tables")
	return c
}

func (f *spaceFlags) run(ctx context.Context, out, progress io.Writer) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	o.Progress = func(text string) { fmt.Fprintln(progress, text) }
	report, err := bench.Space(ctx, o)
	if err != nil {
		return err
	}
	if f.json == "-" {
		return report.WriteJSON(out)
	}
	if err := report.WriteMarkdown(out); err != nil || f.json == "" {
		return err
	}
	file, err := os.Create(f.json)
	if err != nil {
		return err
	}
	return errors.Join(report.WriteJSON(file), file.Close())
}

// options turns the flags into those of a run.
func (f *spaceFlags) options() (o bench.SpaceOptions, err error) {
	if f.images == "" {
		return o, usagef("--images is missing: a directory with disk images, which `make corpus` makes")
	}
	if f.connections < 1 {
		return o, usagef("--connections must be positive")
	}
	if o.Images, err = bench.FindImages(f.images); err != nil {
		return o, usagef("--images: %w", err)
	}
	o.Build = fmt.Sprintf("pagevault %s%s %s", version, revision(), runtime.Version())
	o.Simulate = f.simulate
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return o, err
	}
	if f.store {
		a, err := f.archiver(dir)
		if err != nil {
			return o, err
		}
		o.Archives = append(o.Archives, a)
	}
	for _, program := range f.with {
		list, err := bench.Tools(program, dir)
		if err != nil {
			return o, usagef("--with: %w", err)
		}
		o.Archives = append(o.Archives, list...)
	}
	return o, nil
}

// archiver returns the target, or a server that is started in dir when its turn comes.
func (f *spaceFlags) archiver(dir string) (*bench.WireArchive, error) {
	name, key, err := parseBenchAccount(f.account)
	if err != nil {
		return nil, err
	}
	o := bench.WireArchiveOptions{Name: "pagevault", Version: version, Account: name, Key: key, Connections: f.connections}
	o.Start = func(ctx context.Context) (bench.WireArchiveServer, error) { return startSpaceServer(ctx, dir) }
	if f.target != "" {
		o.Name, o.Version = f.target, "?"
		o.Start = func(context.Context) (bench.WireArchiveServer, error) {
			return bench.WireArchiveServer{URL: f.target, Admin: strings.TrimRight(f.admin, "/"), Stop: func() error { return nil }}, nil
		}
	} else if f.admin != "" {
		return nil, usagef("--target-admin goes with --target")
	} else if f.account != wellKnownAccount+":"+wellKnownKey {
		return nil, usagef("--account goes with --target")
	}
	return bench.NewWireArchive(o), nil
}

// startSpaceServer starts a server with three members in a directory of its own below dir.
func startSpaceServer(ctx context.Context, dir string) (s bench.WireArchiveServer, err error) {
	data, err := os.MkdirTemp(dir, "pagevault-bench-")
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(data))
		}
	}()
	path, err := os.Executable()
	if err != nil {
		return s, err
	}
	peer, err := bench.StartPeer(ctx, bench.PeerOptions{
		Name: "pagevault", Path: path, Ready: endpointAndAdmin(),
		Args: []string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", filepath.Join(data, "data"),
			"--account", wellKnownAccount + ":" + wellKnownKey},
	})
	if err != nil {
		return s, err
	}
	s.URL, s.Admin, _ = strings.Cut(peer.Address(), " ")
	s.Stop = func() error { return errors.Join(peer.Stop(), os.RemoveAll(data)) }
	return s, nil
}

// adminPattern finds the address of the admin listener in what a server prints.
var adminPattern = regexp.MustCompile(`^\s*admin\s+(http://\S+)`)

// endpointAndAdmin looks for both addresses, the admin listener's being the later one, and returns them with a space between.
func endpointAndAdmin() func(line string) (string, bool) {
	var endpoint string
	return func(line string) (string, bool) {
		if e, ok := findEndpoint(line); ok {
			endpoint = e
		}
		m := adminPattern.FindStringSubmatch(line)
		if m == nil || endpoint == "" {
			return "", false
		}
		return endpoint + " " + m[1], true
	}
}
