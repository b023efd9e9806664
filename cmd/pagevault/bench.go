package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagevault/bench"
)

// benchFlags are the flags of `pagevault bench`, as given.
type benchFlags struct {
	targets     []string
	account     string
	compare     []string
	workloads   []string
	all, list   bool
	blockSizes  []string
	reads       int
	mix         bench.Mix
	trace       string
	connections []int
	rounds      int
	duration    time.Duration
	limit       time.Duration
	quick       bool
	dir         string
	json        string
	csv         string
	html        string
	seed        uint64
}

func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [--compare TARGETS] [--workload NAMES] [--target URL --account NAME:KEY]",
		Short: "Measure Blob endpoints beside a null server and the raw disk",
		Long: "Measures page blobs on several targets in one run, in turns, and prints what each does and the ratios.\n" +
			"Without --target it starts servers of its own: pagevault on disk and in memory, and a null server that only reads,\n" +
			"hashes and answers; and it writes to three files on the disk itself. --list shows what can be measured.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if f.list {
				return listWorkloads(c.OutOrStdout())
			}
			return f.run(ctx, c)
		},
	}
	p := c.Flags()
	p.SortFlags = false
	p.StringArrayVar(&f.targets, "target", nil, "URL of a Blob endpoint to measure, such as http://127.0.0.1:10000/devstoreaccount1, or with a SAS of the account or a container; may be repeated")
	p.StringVar(&f.account, "account", wellKnownAccount+":"+wellKnownKey, "account and base64 key of the targets, NAME:KEY")
	p.StringSliceVar(&f.compare, "compare", nil, "what to measure in turns: "+strings.Join(peerNames, ", ")+", URLs (default: pagevault,memory,null,disk; with --target: null)")
	peers := *p.Lookup("compare") // its name when it had no URLs
	peers.Name, peers.Hidden = "peers", true
	p.AddFlag(&peers)
	p.StringSliceVar(&f.workloads, "workload", nil, "what to measure: names and patterns of --list (default: the first few of it)")
	p.BoolVar(&f.all, "all", false, "measure all workloads")
	p.BoolVar(&f.list, "list", false, "list the workloads")
	p.StringSliceVar(&f.blockSizes, "block-size", nil, "`sizes` of requests, instead of those in the workloads' names: 512, 4k, 64k, … 4m")
	p.IntVar(&f.reads, "reads", 70, "`percent` of the requests of mixed workloads that read")
	p.IntVar(&f.mix.Duplicate, "duplicate", 0, "`percent` of the new data that is stored already (in pieces of 4 KiB)")
	p.Float64Var(&f.mix.Compress, "compressible", 1, "`ratio` by which all data can be compressed, about")
	p.StringVar(&f.trace, "trace", "", "replay this `file`: lines of OFFSET LENGTH r|w|d [FINGERPRINT], the output of blkparse, or an iolog of fio")
	p.IntSliceVar(&f.connections, "connections", []int{1, 16}, "numbers of connections to measure at, up to 1024")
	p.IntVar(&f.rounds, "rounds", 5, "rounds of each measurement")
	p.DurationVar(&f.duration, "duration", time.Second, "length of a round; a quarter of it is added to warm up")
	p.DurationVar(&f.limit, "limit", 0, "stop after this time with the rounds that are finished (default none)")
	p.BoolVar(&f.quick, "quick", false, "less than a minute for the default workloads: 3 rounds of 250 ms, less data")
	p.StringVar(&f.dir, "dir", ".", "directory on the disk to measure; what is made there is removed")
	p.StringVar(&f.json, "json", "", "write the report as JSON to this `file` too; - prints it instead of the table")
	p.StringVar(&f.csv, "csv", "", "write a line for each measurement to this `file` too; - prints them instead of the table")
	p.StringVar(&f.html, "html", "", "write a page with plots to this `file` too")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the data (default random)")
	c.AddCommand(newBenchSpace(), nullServerCommand(), synthesizeCommand())
	return c
}

// options turns the flags into those of a run, without targets. changed says which flags were given.
func (f *benchFlags) options(changed func(flag string) bool) (bench.Options, error) {
	o := bench.Options{Connections: f.connections, Rounds: f.rounds, Duration: f.duration, Limit: f.limit, Seed: f.seed}
	if f.quick {
		o.RoundBytes, o.SetBytes = 128<<20, 64<<20
		if !changed("rounds") {
			o.Rounds = 3
		}
		if !changed("duration") {
			o.Duration = 250 * time.Millisecond
		}
		if !changed("limit") && !f.all && f.workloads == nil && f.trace == "" {
			o.Limit = 50 * time.Second // and some seconds to start and to clear away
		}
	}
	if f.html == "-" || f.json == "-" && f.csv == "-" {
		return o, usagef("- prints one of --json and --csv")
	}
	if o.Rounds < 1 || o.Duration <= 0 || len(o.Connections) == 0 {
		return o, usagef("--rounds, --duration and --connections must be positive")
	}
	var err error
	o.Workloads, err = f.chosen(changed)
	if o.Mix = f.mix; o.Mix.Compress == 1 {
		o.Mix.Compress = 0
	}
	return o, err
}

// run measures and prints.
func (f *benchFlags) run(ctx context.Context, c *cobra.Command) (err error) {
	o, err := f.options(c.Flags().Changed)
	if err != nil {
		return err
	}
	o.Build = fmt.Sprintf("pagevault %s%s %s", version, revision(), runtime.Version())
	o.Command = commandLine(c)
	o.Events = benchProgress(c.ErrOrStderr())
	var peers benchPeers
	defer func() { err = errors.Join(err, peers.close()) }()
	if o.Targets, err = f.open(ctx, &peers); err != nil {
		return err
	}
	if f.writesToDir() {
		o.Settle = f.dir
	}
	report, runErr := bench.Run(ctx, o)
	if report != nil {
		if err := f.write(report, c.OutOrStdout()); err != nil {
			return errors.Join(runErr, err)
		}
		if report.Stopped == bench.StoppedByCaller {
			return errors.Join(runErr, errors.New("interrupted: the report holds the rounds that were finished"))
		}
	}
	return runErr
}

// write prints the table, or what is asked for instead, and writes the files.
func (f *benchFlags) write(r *bench.Report, out io.Writer) error {
	print := r.WriteTable
	var err error
	for _, o := range []struct {
		name  string
		write func(io.Writer) error
	}{{f.json, r.WriteJSON}, {f.csv, r.WriteCSV}, {f.html, r.WriteHTML}} {
		switch o.name {
		case "":
		case "-":
			print = o.write
		default:
			err = errors.Join(err, writeFile(o.name, o.write))
		}
	}
	return errors.Join(print(out), err)
}

func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
