package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/replication"
)

// Exit codes of check beside 0, nothing found.
const (
	exitProblems   = 1 // something was found
	exitNotChecked = 2 // the check could not be made, or was stopped: what is stored may be whole or not
)

// onlineTimeout is how long a server may take to begin its answer, which it does before it checks anything.
const onlineTimeout = 10 * time.Second

// checkFlags are the flags of check as given.
type checkFlags struct {
	data     string
	replicas []string
	account  string
	quick    bool
	json     bool
	rebuild  bool
	keyFile  string
	maxRate  string
	online   bool
	admin    string

	given map[string]bool // flags that are on the command line
	level blobstore.CheckLevel
	rate  int64 // bytes a second; 0: no bound
	key   *masterKey
}

const checkLong = `Check everything that is stored: every byte of every copy against its checksum, every frame against the names of
its content, every row of the index against the others, all counts from scratch, and the rows of containers and blobs.
Each problem is a line that names the account, the container, the blob, the bytes of it, and the place in the log.

While no server runs, check reads the files in the folders given, and changes nothing. What a crash has left unfinished
is no problem: the next start of the server completes it. With --online the running server makes the check, and goes on
serving; space that is freed meanwhile stays taken until the check ends.

--quick reads the index only. --rebuild-index makes the index anew from the log before it is checked, and is the one
thing here that writes: the old index is replaced when the new one is whole.

The exit code is 0 if nothing was found, 1 if something was, and 2 if the check could not be made or was stopped. SIGINT
and SIGTERM stop it; what was found until then has been printed.`

func newCheck() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check everything that is stored",
		Long:  checkLong,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.given = map[string]bool{}
			for _, name := range []string{"data", "replica", "admin", "master-key-file"} {
				f.given[name] = cmd.Flags().Changed(name)
			}
			return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.data, "data", "./pagevault-data", "directory of the index, and of the members if no --replica is given")
	flags.StringArrayVar(&f.replicas, "replica", nil, "directory of a member of the log, as given to serve")
	flags.StringVar(&f.keyFile, "master-key-file", "", "file of the master key, as given to serve. Empty: "+masterKeyName+" in --data")
	flags.StringVar(&f.account, "account", "", "check only this account; otherwise all that there are")
	flags.BoolVar(&f.quick, "quick", false, "read the index only, and no content")
	flags.BoolVar(&f.json, "json", false, "print problems and summaries as JSON, one object to a line")
	flags.BoolVar(&f.rebuild, "rebuild-index", false, "make the index anew from the log first")
	flags.StringVar(&f.maxRate, "max-rate", "", "bytes to read in a second at most, such as 200MiB; none: no bound")
	flags.BoolVar(&f.online, "online", false, "have the running server make the check")
	flags.StringVar(&f.admin, "admin", defaultAdmin, "address or URL of the server's admin listener, for --online")
	return cmd
}

// run checks and turns what comes of it into an exit code.
func (f *checkFlags) run(stdout, stderr io.Writer) error {
	if err := f.validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := newCheckOutput(stdout, stderr, f.json)
	var err error
	if f.online {
		err = f.checkOnline(ctx, out)
	} else {
		err = f.checkOffline(ctx, out)
	}
	out.close()
	switch {
	case ctx.Err() != nil:
		return &exitError{exitNotChecked, errors.New("stopped: what was not reached is not checked")}
	case err != nil:
		return &exitError{exitNotChecked, err}
	case out.failed != nil:
		return &exitError{exitNotChecked, out.failed}
	case out.problems > 0:
		return &exitError{exitProblems, nil}
	}
	return nil
}

func (f *checkFlags) validate() error {
	switch {
	case f.data == "":
		return usagef("--data is empty")
	case f.online && (f.given["data"] || f.given["replica"] || f.given["master-key-file"]):
		return usagef("--online asks the server: --data, --replica and --master-key-file are for a check of folders")
	case f.online && f.rebuild:
		return usagef("--rebuild-index is for a store that no server has open: it does not go with --online")
	case !f.online && f.given["admin"]:
		return usagef("--admin goes with --online")
	}
	if f.quick {
		f.level = blobstore.CheckQuick
	}
	if f.maxRate != "" {
		rate, err := parseSize(f.maxRate)
		if err != nil {
			return usagef("--max-rate: %w", err)
		}
		f.rate = rate
	}
	return nil
}

// checkOffline checks the stores in the folders, one after the other.
func (f *checkFlags) checkOffline(ctx context.Context, out *checkOutput) error {
	home, err := findLayout(f.data, f.replicas)
	if err != nil {
		return err
	}
	if f.key, err = existingMasterKey(f.keyFile, home); err != nil {
		return err
	}
	names := home.unserved(nil)
	switch {
	case f.account != "" && !slices.Contains(names, f.account):
		return fmt.Errorf("there is no store of account %s below %s", f.account, strings.Join(home.members, ", "))
	case f.account != "":
		names = []string{f.account}
	case len(names) == 0:
		return fmt.Errorf("there is no store below %s", strings.Join(home.members, ", "))
	}
	for _, name := range names {
		if err := f.checkAccount(ctx, home, name, out); err != nil {
			if errors.Is(err, replication.ErrInUse) {
				err = fmt.Errorf("%w, or check it with --online", err)
			}
			if errors.Is(err, pagestore.ErrWrongKey) {
				err = fmt.Errorf("%w (the master key is looked for in %s)", err, f.key.file)
			}
			return fmt.Errorf("account %s: %w", name, err)
		}
	}
	return nil
}

func (f *checkFlags) checkAccount(ctx context.Context, home *layout, name string, out *checkOutput) error {
	o := home.store(name)
	o.MasterKey = f.key.key
	if f.rebuild {
		if err := f.rebuildIndex(o, name, out); err != nil {
			return err
		}
	}
	summary, err := blobstore.CheckFolders(ctx, name, o, blobstore.CheckOptions{
		Level: f.level, Rate: f.rate, Found: out.problem, Progress: out.progress,
	})
	if err == nil || summary.Rows > 0 || summary.Bytes > 0 || summary.Problems > 0 { // or nothing was looked at
		out.summary(&summary)
	}
	return err
}

// rebuildIndex makes the index of an account anew. It cannot be stopped half way: a signal ends the check that follows.
func (f *checkFlags) rebuildIndex(o pagestore.Options, name string, out *checkOutput) error {
	result, err := pagestore.RebuildIndex(o, func(done, total replication.LSN) {
		out.progress(blobstore.CheckProgress{Account: name, Phase: "rebuilding the index, record by record", Rows: int64(done)})
	})
	if err != nil {
		return fmt.Errorf("rebuilding the index: %w", err)
	}
	out.rebuilt(name, &result)
	return nil
}

// checkOnline has the server check.
func (f *checkFlags) checkOnline(ctx context.Context, out *checkOutput) error {
	base, err := adminURL(f.admin)
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"account": f.account, "level": "full", "rate": strconv.FormatInt(f.rate, 10)} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.quick {
		query.Set("level", "quick")
	}
	base = base.JoinPath("check")
	base.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base.String(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: onlineTimeout}}
	answer, err := adminAnswer(client, request)
	if err != nil {
		return err
	}
	defer answer.Close()
	var stopped error
	err = blobstore.ReadCheckEvents(answer, blobstore.CheckEvents{
		Problem: out.problem, Progress: out.progress,
		Summary: func(s *blobstore.CheckSummary) {
			out.summary(s)
			if !s.Complete {
				stopped = fmt.Errorf("account %s: %s", s.Account, s.Error)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("the server's answer ends early: %w", err)
	}
	return stopped
}
