package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pagevault/bench"
)

// chosen returns the workloads that the flags name.
func (f *benchFlags) chosen(changed func(flag string) bool) ([]bench.Workload, error) {
	list := bench.DefaultWorkloads()
	switch {
	case f.all && f.workloads != nil:
		return nil, usagef("--all and --workload exclude each other")
	case f.all:
		list = bench.Workloads()
	case f.workloads != nil:
		var err error
		if list, err = bench.WorkloadsNamed(f.workloads); err != nil {
			return nil, usagef("--workload: %w", err)
		}
	}
	if changed("reads") {
		if f.reads < 0 || f.reads > 100 {
			return nil, usagef("--reads must be from 0 to 100")
		}
		for i := range list {
			list[i] = list[i].WithReads(f.reads)
		}
	}
	if f.blockSizes != nil {
		sizes, err := f.sizes()
		if err != nil {
			return nil, err
		}
		list = bench.WithBlockSizes(list, sizes)
	}
	if f.trace == "" {
		return list, nil
	}
	trace, err := readTrace(f.trace)
	if err != nil {
		return nil, usagef("--trace: %w", err)
	}
	if f.workloads == nil && !f.all {
		list = nil // nothing else was asked for
	}
	return append(list, bench.TraceWorkload(filepath.Base(f.trace), trace)), nil
}

func readTrace(name string) (*bench.Trace, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t, err := bench.ParseTrace(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// sizes returns those of --block-size.
func (f *benchFlags) sizes() ([]int, error) {
	var sizes []int
	for _, text := range f.blockSizes {
		n, err := bench.ParseBlockSize(text)
		if err != nil {
			return nil, usagef("--block-size: %w", err)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// listWorkloads prints a line for each workload.
func listWorkloads(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, l := range [][]bench.Workload{bench.DefaultWorkloads(), bench.Workloads()} {
		if i == 0 {
			fmt.Fprintln(w, "measured unless others are named:")
		} else {
			fmt.Fprintln(w, "with --all or by --workload:")
		}
		for _, l := range l {
			if l.More == (i == 1) {
				fmt.Fprintf(w, "  %s\t%s\n", l.Name, l.About)
			}
		}
	}
	fmt.Fprintln(w, "Names take any size, such as put-64k-new, and --block-size gives put, get and mixed several.")
	return w.Flush()
}

// commandLine returns how the command was called, without what is secret.
func commandLine(c *cobra.Command) string {
	parts := []string{"pagevault bench"}
	c.Flags().Visit(func(f *pflag.Flag) {
		values := []string{strings.Trim(f.Value.String(), "[]")}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values = slices.Clone(s.GetSlice()) // it may be the flag's own
		}
		for i, v := range values {
			if url, _, ok := strings.Cut(v, "?"); ok && strings.Contains(url, "://") {
				values[i] = url + "?…"
			}
			if f.Name == "account" {
				name, _, _ := strings.Cut(v, ":")
				values[i] = name + ":…"
			}
		}
		if f.Value.Type() == "bool" {
			parts = append(parts, "--"+f.Name)
			return
		}
		parts = append(parts, "--"+f.Name+" "+strings.Join(values, ","))
	})
	return strings.Join(parts, " ")
}
