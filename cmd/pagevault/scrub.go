package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagevault/blobstore"
)

const scrubLong = `Have a running server read everything that its members hold from their disks now, compare it, and heal what is not as it
should be, while requests go on. The server does that by itself as often as serve --scrub-every says; this does not wait.
Each problem is a line that names the account, the file and the offset, printed before it is healed.

--status asks when everything was last read and how far the run under way is, and starts nothing.

The exit code is 0 if nothing was found or what was found is healed, 1 if something cannot be healed from the members that
are there, and 2 if the run could not be made or was stopped. SIGINT and SIGTERM stop it; what was healed stays so. With
--status it is 1 if something is known that cannot be healed.`

// scrubFlags are the flags of scrub as given.
type scrubFlags struct {
	memberFlags
	rateText string
	status   bool

	rate int64 // bytes a second; 0: what the server's repairs may
}

func newScrub() *cobra.Command {
	var f scrubFlags
	cmd := &cobra.Command{
		Use:   "scrub",
		Short: "Read and compare everything now, and heal it",
		Long:  scrubLong,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.parse(cmd.Flags().Changed("rate")); err != nil {
				return err
			}
			if f.status {
				return f.showStatus(cmd.OutOrStdout())
			}
			return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.rateText, "rate", "", "bytes to read in a second at most, all members of an account together, such as 200MiB; otherwise what serve --repair-rate says")
	cmd.Flags().BoolVar(&f.status, "status", false, "say when everything was last read and how far the run under way is, and start none")
	return cmd
}

func (f *scrubFlags) parse(rate bool) (err error) {
	switch {
	case rate && f.status:
		return usagef("--status starts nothing: --rate does not go with it")
	case rate:
		if f.rate, err = parseSize(f.rateText); err != nil {
			return usagef("--rate: %w", err)
		}
	}
	return nil
}

// run has the server scrub and turns what comes of it into an exit code.
func (f *scrubFlags) run(stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	answer, err := f.begin(ctx)
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return err
	case err != nil && ctx.Err() == nil:
		return &exitError{exitNotChecked, err}
	}
	out := &scrubOutput{checkOutput: newCheckOutput(stdout, stderr, f.json), command: f.command}
	if err == nil {
		defer answer.Close()
		err = out.read(answer)
		out.close()
	}
	switch {
	case ctx.Err() != nil:
		return &exitError{exitNotChecked, errors.New("stopped: what was not reached was not read")}
	case err != nil:
		return &exitError{exitNotChecked, err}
	case out.failed != nil:
		return &exitError{exitNotChecked, out.failed}
	case out.unhealable > 0:
		return &exitError{exitProblems, nil}
	}
	return nil
}

// begin asks for a scrub. The server answers before it reads anything.
func (f *scrubFlags) begin(ctx context.Context) (io.ReadCloser, error) {
	at, err := adminURL(f.admin)
	if err != nil {
		return nil, err
	}
	query := url.Values{"rate": {strconv.FormatInt(f.rate, 10)}}
	if f.account != "" {
		query.Set("account", f.account)
	}
	at = at.JoinPath("scrub")
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return nil, err
	}
	return adminAnswer(&http.Client{Transport: &http.Transport{ResponseHeaderTimeout: onlineTimeout}}, request)
}

// scrubOutput prints a scrub as a check is printed.
type scrubOutput struct {
	*checkOutput
	command    func(args string) string
	unhealable int
}

// read shows the answer of a server. An error says that the scrub is not complete, or not known to be.
func (o *scrubOutput) read(answer io.Reader) error {
	lines := json.NewDecoder(answer)
	var stopped error
	for {
		var e blobstore.ScrubEvent
		if err := lines.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return errors.Join(stopped, fmt.Errorf("the server's answer ends early: %w", err))
		}
		switch {
		case e.Problem != nil:
			o.say(&e, describeScrubProblem(e.Problem))
		case e.Progress != nil:
			p := e.Progress
			o.progress(blobstore.CheckProgress{Account: p.Account, Phase: "reading and comparing", Bytes: p.Bytes, Total: p.Total})
		case e.Summary != nil:
			o.close()
			o.unhealable += e.Summary.Unhealable
			o.say(&e, describeScrubSummary(e.Summary, o.command))
			if !e.Summary.Complete {
				stopped = errors.Join(stopped, fmt.Errorf("account %s: %s", e.Summary.Account, e.Summary.Error))
			}
		case e.End:
			return stopped
		}
	}
}

// say prints an event, as JSON if that is wanted.
func (o *scrubOutput) say(e *blobstore.ScrubEvent, text string) {
	if o.json {
		o.note(json.NewEncoder(o.stdout).Encode(e))
		return
	}
	if o.bar != nil {
		_ = o.bar.Clear() // or the line would be written into it
	}
	_, err := fmt.Fprintln(o.stdout, text)
	o.note(err)
}

func describeScrubProblem(p *blobstore.ScrubProblem) string {
	where := p.File
	if where == "" {
		where = "the log"
	}
	if p.Segment != 0 {
		where += fmt.Sprintf(" offset %d", p.Offset)
	}
	text := fmt.Sprintf("account %s: %s: %s", p.Account, where, p.Text)
	if p.Lost {
		text += "; NO MEMBER THAT IS THERE HAS IT: it cannot be healed"
	}
	return text
}

// describeScrubSummary says what was read and what came of it, in a line or more.
func describeScrubSummary(s *blobstore.ScrubSummary, command func(args string) string) string {
	who := "account " + s.Account + ": "
	read := showBytes(s.Bytes) + " read and compared"
	if s.Seconds > 0 && s.Bytes > 0 {
		read += fmt.Sprintf(" at %s/s", showBytes(int64(float64(s.Bytes)/s.Seconds)))
	}
	lines := []string{who + read + ": " + scrubFound(s.Problems, s.Healed, s.Unhealable)}
	if s.Healing > 0 {
		lines = append(lines, fmt.Sprintf("%s%s still to be healed, which goes on in the background", who, plural(int64(s.Healing), "segment")))
	}
	if len(s.NotRead) > 0 {
		lines = append(lines, fmt.Sprintf("%smember %s is not up to date, and what it holds was not read", who, enumerate(s.NotRead)))
		if len(s.NotRead) > 1 {
			lines[len(lines)-1] = fmt.Sprintf("%smembers %s are not up to date, and what they hold was not read", who, enumerate(s.NotRead))
		}
	}
	if s.Unhealable > 0 {
		lines = append(lines, fmt.Sprintf("%sput absent members back if there are any; this finds the blobs that are hit: %s", who, command("check --online")))
	}
	if !s.Complete {
		lines = append(lines, who+"not complete: "+s.Error)
	}
	return strings.Join(lines, "\n")
}

// scrubFound says what a run has found.
func scrubFound(problems, healed, unhealable int) string {
	if problems == 0 {
		return "nothing wrong"
	}
	text := plural(int64(problems), "problem") + " found, " + plural(int64(healed), "file") + " healed"
	if unhealable > 0 {
		text += fmt.Sprintf(", %d CANNOT BE HEALED", unhealable)
	}
	return text
}

// scrubStatus is what the server says of an account's runs; see server.scrubReading.
type scrubStatus struct {
	Account    string
	Healing    int `json:"healingSegments"`
	Unhealable int `json:"unhealableSegments"`
	blobstore.ScrubState
}

// showStatus prints how far the runs are.
func (f *scrubFlags) showStatus(w io.Writer) error {
	answer, err := f.ask(http.MethodGet, "scrub", nil, adminTimeout)
	var usage *usageError
	if errors.As(err, &usage) {
		return err
	}
	var list struct{ Accounts []scrubStatus }
	if err == nil {
		if err = json.Unmarshal(answer, &list); err != nil {
			err = fmt.Errorf("%s: this is not the answer of a pagevault: %w", f.admin, err)
		}
	}
	if err != nil {
		return &exitError{exitNotChecked, err}
	}
	unhealable := 0
	for i := range list.Accounts {
		s := &list.Accounts[i]
		if unhealable += s.Unhealable; !f.json {
			fmt.Fprint(w, s.describe())
		}
	}
	if f.json {
		if _, err := w.Write(answer); err != nil {
			return err
		}
	}
	if unhealable > 0 {
		return &exitError{exitProblems, nil}
	}
	return nil
}

func (s *scrubStatus) describe() string {
	who := "account " + s.Account + ": "
	text := who + describeScrub(&s.ScrubState) + "\n"
	if s.Healing > 0 {
		text += fmt.Sprintf("%s%s still to be healed\n", who, plural(int64(s.Healing), "segment"))
	}
	if u := describeUnhealable(s.Unhealable); u != "" {
		text += who + u + "\n"
	}
	return text
}

// describeScrub says when everything was last read and compared, and how far the run under way is.
func describeScrub(s *blobstore.ScrubState) string {
	which, text := "first", "not yet read and compared as a whole"
	if s.Finished != nil {
		which = "next"
		text = fmt.Sprintf("everything was last read and compared %s ago", roughly(time.Duration(s.AgeSeconds*float64(time.Second))))
		if !s.Running {
			return text + ", " + scrubFound(s.Problems, s.Healed, s.Unhealable)
		}
	}
	if !s.Running {
		return text
	}
	if s.Total > 0 {
		text += fmt.Sprintf("; %d %% of the %s run", 100*s.Bytes/s.Total, which)
	} else {
		text += fmt.Sprintf("; the %s run has begun", which)
	}
	if s.Problems > 0 {
		text += ", " + scrubFound(s.Problems, s.Healed, s.Unhealable)
	}
	return text
}

// describeUnhealable says of how many segments something is lost. "": of none.
func describeUnhealable(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s CANNOT BE HEALED from the members that are there; pagevault check --online finds the blobs that are hit", plural(int64(n), "segment"))
}

// roughly returns a time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", max(0, d)/time.Second)
}
