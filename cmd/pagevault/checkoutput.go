package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"pagevault/blobstore"
	"pagevault/internal/clock"
	"pagevault/pagestore"
)

// checkOutput prints a check: problems and summaries to stdout, how far it is to stderr, as a bar on a terminal and as a
// line every ten seconds otherwise. With JSON there is nothing but problems and summaries.
type checkOutput struct {
	stdout   io.Writer
	stderr   io.Writer
	json     bool
	terminal bool
	problems int
	failed   error // of the first write to stdout that did not work

	bar   *progressbar.ProgressBar // of account; nil: none is shown
	at    string                   // account and phase of the bar
	began time.Time                // of account
	told  time.Time                // when the last line of progress was printed
	of    string                   // account
}

// progressEvery is how often a check says how far it is where there is no terminal.
const progressEvery = 10 * time.Second

func newCheckOutput(stdout, stderr io.Writer, json bool) *checkOutput {
	return &checkOutput{stdout: stdout, stderr: stderr, json: json, terminal: isTerminal(stderr)}
}

func (o *checkOutput) note(err error) {
	if o.failed == nil {
		o.failed = err
	}
}

func (o *checkOutput) problem(p *blobstore.Problem) {
	o.problems++
	if o.json {
		o.note(blobstore.WriteCheckEvent(o.stdout, p))
		return
	}
	if o.bar != nil {
		_ = o.bar.Clear() // or the line would be written into it
	}
	_, err := fmt.Fprintln(o.stdout, p.String())
	o.note(err)
}

func (o *checkOutput) progress(p blobstore.CheckProgress) {
	if o.json {
		return
	}
	now := clock.System.Now()
	if p.Account != o.of {
		o.close()
		o.of, o.began, o.told = p.Account, now, now
	}
	if o.terminal {
		o.draw(&p)
		return
	}
	if now.Sub(o.told) < progressEvery {
		return
	}
	o.told = now
	fmt.Fprintf(o.stderr, "checking %s: %s\n", p.Account, describeProgress(&p, now.Sub(o.began)))
}

// describeProgress says how far a check is, in words.
func describeProgress(p *blobstore.CheckProgress, took time.Duration) string {
	var parts []string
	if p.Rows > 0 || p.Total == 0 {
		parts = append(parts, fmt.Sprintf("%d rows", p.Rows))
	}
	if p.Total > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s read (%d %%)", showBytes(p.Bytes), showBytes(p.Total), 100*p.Bytes/p.Total))
	}
	s := p.Phase + ": " + strings.Join(parts, ", ")
	if took > 0 && p.Bytes > 0 {
		s += fmt.Sprintf(", %s/s", showBytes(int64(float64(p.Bytes)/took.Seconds())))
	}
	return s
}

// draw shows the bar: bytes where bytes are read, rows where their number is not known beforehand.
func (o *checkOutput) draw(p *blobstore.CheckProgress) {
	total, done := p.Total, p.Bytes
	if total == 0 {
		total, done = -1, p.Rows
	}
	if o.bar == nil {
		o.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(o.stderr), progressbar.OptionShowBytes(p.Total > 0),
			progressbar.OptionShowCount(), progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true), progressbar.OptionUseIECUnits(true))
	}
	if total > 0 {
		o.bar.ChangeMax64(max(total, done))
	}
	if at := p.Account + ": " + p.Phase; at != o.at {
		o.at = at
		o.bar.Describe(at)
	}
	_ = o.bar.Set64(done) // a bar that cannot be drawn is no reason to stop
}

// close takes the bar away.
func (o *checkOutput) close() {
	if o.bar != nil {
		_ = o.bar.Exit()
		_ = o.bar.Clear()
	}
	o.bar, o.at = nil, ""
}

func (o *checkOutput) summary(s *blobstore.CheckSummary) {
	o.close()
	if o.json {
		o.note(blobstore.WriteCheckEvent(o.stdout, s))
		return
	}
	_, err := io.WriteString(o.stdout, describeSummary(s))
	o.note(err)
}

// rebuilt says that an index was made anew.
func (o *checkOutput) rebuilt(account string, r *pagestore.RebuildResult) {
	o.close()
	if o.json {
		return
	}
	from := "from nothing"
	if r.Checkpoint > 0 {
		from = fmt.Sprintf("from the checkpoint of record %d", r.Checkpoint)
	}
	_, err := fmt.Fprintf(o.stdout, "account %s: index made anew %s, %s applied\n", account, from, plural(int64(r.Replayed), "record"))
	o.note(err)
}

// describeSummary says in a few lines what was checked and what came of it.
func describeSummary(s *blobstore.CheckSummary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "account %s (%s): ", s.Account, s.Level)
	if s.Bytes > 0 {
		fmt.Fprintf(&b, "%s, %s, %s read", plural(s.Segments, "segment"), plural(s.Records, "record"), showBytes(s.Bytes))
		if s.Seconds > 0 {
			fmt.Fprintf(&b, " at %s/s", showBytes(int64(float64(s.Bytes)/s.Seconds)))
		}
		fmt.Fprint(&b, "; ")
	}
	fmt.Fprintf(&b, "%s, %s, %s, %s, %s; ", plural(s.Rows, "row"), plural(s.Frames, "frame"), plural(s.Chunks, "chunk"),
		plural(s.Regions, "region"), plural(s.Volumes, "volume"))
	fmt.Fprintf(&b, "%s, %s, %s\n", plural(s.Containers, "container"), plural(s.Blobs, "blob"), plural(s.Snapshots, "snapshot"))
	if s.Unfinished > 0 {
		fmt.Fprintf(&b, "account %s: a crash has left %s unfinished, which is no damage: the next start completes what is there\n",
			s.Account, plural(int64(s.Unfinished), "file"))
	}
	if s.Applied < s.Last {
		fmt.Fprintf(&b, "account %s: the index has come to record %d of %d: the records behind it were checked as bytes only, and the next start applies them\n",
			s.Account, s.Applied, s.Last)
	}
	if !s.Complete {
		fmt.Fprintf(&b, "account %s: not complete: %s\n", s.Account, s.Error)
	}
	fmt.Fprintf(&b, "account %s: %s\n", s.Account, describeKinds(s))
	return b.String()
}

func describeKinds(s *blobstore.CheckSummary) string {
	switch {
	case s.Problems == 0 && s.Complete:
		return "no problems found"
	case s.Problems == 0:
		return "nothing was found in what could be checked"
	}
	var kinds []string
	for _, k := range slices.SortedFunc(maps.Keys(s.Kinds), func(a, b pagestore.Kind) int { return strings.Compare(string(a), string(b)) }) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, s.Kinds[k]))
	}
	return fmt.Sprintf("%s found: %s", plural(int64(s.Problems), "problem"), strings.Join(kinds, ", "))
}

// plural returns a number with what it counts.
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// showBytes returns a number of bytes with the largest unit that leaves at least one of it.
func showBytes(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
