package pagestore

import (
	"context"
	"fmt"
	"slices"

	"pagevault/replication"
)

// log has the log read all that the members hold.
func (c *checker) log() error {
	c.phase("log")
	l := logCheck{members: len(c.s.o.Members), found: c.found}
	before := c.progress.Bytes
	err := c.s.log.Verify(c.ctx, replication.VerifyOptions{
		BytesPerSecond: c.o.Rate,
		Report:         l.add,
		Progress: func(done, total int64) {
			c.progress.Bytes, c.summary.Bytes = before+done, before+done
			c.tell()
		},
	})
	l.flush()
	c.damaged.segments, c.summary.Unfinished = l.damaged, l.unfinished
	if err != nil {
		return err
	}
	for _, s := range c.segments {
		c.summary.Segments += int64(l.members)
		c.summary.Records += int64(l.members) * int64(s.Last+1-s.First)
	}
	return nil
}

// logCheck turns what a verification of the log reports into problems. What is wrong with one file on every member in the
// same place is one problem, and a worse one.
type logCheck struct {
	members    int
	found      func(Problem)
	damaged    map[replication.SegmentID]bool
	unfinished int
	waiting    []replication.Problem // of one segment, or of files beside them
}

// logWaitMax bounds the problems of one segment that wait for the same ones of other members.
const logWaitMax = 1 << 12

func (l *logCheck) add(p replication.Problem) {
	if p.Unfinished {
		l.unfinished++
		return
	}
	if n := len(l.waiting); n == logWaitMax || n > 0 && l.waiting[0].Segment != p.Segment {
		l.flush()
	}
	l.waiting = append(l.waiting, p)
}

func (l *logCheck) flush() {
	waiting := l.waiting
	l.waiting = nil
	for len(waiting) > 0 {
		first := waiting[0]
		var same, rest []replication.Problem
		for _, p := range waiting {
			if p.Segment == first.Segment && p.Offset == first.Offset && (p.Segment != 0 || p.File == first.File) &&
				!slices.ContainsFunc(same, func(q replication.Problem) bool { return q.Member == p.Member }) {
				same = append(same, p)
			} else {
				rest = append(rest, p)
			}
		}
		l.report(same)
		waiting = rest
	}
}

// report reports what several members have in common.
func (l *logCheck) report(same []replication.Problem) {
	if id := same[0].Segment; id != 0 {
		if l.damaged == nil {
			l.damaged = map[replication.SegmentID]bool{}
		}
		l.damaged[id] = true
	}
	for _, p := range same {
		out := Problem{Kind: KindLogFile, Severity: SeverityWarning, Member: p.Member + 1, Text: p.String(),
			At: replication.Position{Segment: p.Segment, Offset: uint32(p.Offset)}}
		if p.Segment != 0 {
			out.Kind = KindLogSegment
		}
		if same[0].Lost {
			out.Kind, out.Severity, out.Member = KindLogLost, SeverityError, 0
			if l.members > 1 {
				out.Text = fmt.Sprintf("on every member: %s", out.Text)
			}
			l.found(out)
			return
		}
		l.found(out)
	}
}

// damagedSegments are the segments in which reading the log found damage.
type damagedSegments struct {
	segments map[replication.SegmentID]bool
}

// has reports whether the bytes at a position may be damaged on some member.
func (d *damagedSegments) has(at replication.Position) bool { return d.segments[at.Segment] }

// verifyClosed has the files of a log read that cannot be opened, or whose index cannot.
func verifyClosed(ctx context.Context, from *Options, o *CheckOptions, summary *CheckSummary) error {
	l := logCheck{members: len(from.Members), found: o.Found}
	err := replication.VerifyMembers(ctx, from.Members, replication.VerifyOptions{
		BytesPerSecond: o.Rate,
		Report:         l.add,
		Progress: func(done, total int64) {
			summary.Bytes = done
			if o.Progress != nil {
				o.Progress(CheckProgress{Phase: "log", Bytes: done, Total: total})
			}
		},
	})
	l.flush()
	summary.Unfinished = l.unfinished
	return err
}
