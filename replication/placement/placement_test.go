package placement

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts runs testdata. Commands:
//
//	choose copies=N [must=(I,…)] [avoid=(I,…)] [times=N]: a line a member, see members. With times, so many segments of one GiB
//	  are placed one after the other, and the answer counts what each member got.
//	plan [rs=K+M] [copies=N] [once]: a line a member, then a line a segment: "segment ID [on=I,…] [rs=K+M:I,I,-,…]". The first
//	  task is carried out and the plan made again, until there is nothing to do. With once the whole first plan is shown.
//
// A line of a member is "INDEX [held=GIB] [free=GIB] [total=GIB] [disk=NAME] [leaving] [joining]".
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "choose":
				return choose(t, d)
			case "plan":
				return plan(t, d)
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

func choose(t *testing.T, d *datadriven.TestData) string {
	copies, times := 0, 1
	var must, avoid []int
	d.ScanArgs(t, "copies", &copies)
	d.MaybeScanArgs(t, "must", &must)
	d.MaybeScanArgs(t, "avoid", &avoid)
	d.MaybeScanArgs(t, "times", &times)
	var members []Member
	for line := range strings.Lines(d.Input) {
		members = append(members, parseMember(t, line))
	}
	if times == 1 {
		return show(Choose(members, copies, Of(must...), Of(avoid...))) + "\n"
	}
	got := make([]int, len(members))
	for range times {
		for i := range Choose(members, copies, Of(must...), Of(avoid...)).All() {
			got[i]++
			members[i].Held += gib
			members[i].Free -= min(gib, members[i].Free)
		}
	}
	return fmt.Sprintln(got)
}

const gib = 1 << 30

func parseMember(t *testing.T, line string) Member {
	t.Helper()
	fields := strings.Fields(line)
	m := Member{Index: number(t, fields[0])}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "held":
			m.Held = gib * uint64(number(t, value))
		case "free":
			m.Free = gib * uint64(number(t, value))
			m.Total = max(m.Total, m.Free)
		case "total":
			m.Total = gib * uint64(number(t, value))
		case "disk":
			m.Disk = value
		case "leaving":
			m.Leaving = true
		case "joining":
			m.Joining = true
		default:
			t.Fatalf("member %q: unknown word %q", line, f)
		}
	}
	return m
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func show(s Set) string {
	var out []string
	for i := range s.All() {
		out = append(out, strconv.Itoa(i))
	}
	return strings.Join(out, " ")
}

func plan(t *testing.T, d *datadriven.TestData) string {
	p := Policy{Copies: 3}
	d.MaybeScanArgs(t, "copies", &p.Copies)
	var code string
	if d.MaybeScanArgs(t, "rs", &code); code != "" {
		p.K, p.M = parseCode(t, code)
	}
	var members []Member
	var segments []Segment
	for line := range strings.Lines(d.Input) {
		if rest, ok := strings.CutPrefix(line, "segment "); ok {
			segments = append(segments, parseSegment(t, rest))
		} else {
			members = append(members, parseMember(t, line))
		}
	}
	var out strings.Builder
	if d.HasArg("once") {
		for _, task := range Plan(members, segments, p) {
			fmt.Fprintln(&out, showTask(&task))
		}
		return out.String()
	}
	for range 100 {
		tasks := Plan(members, segments, p)
		if len(tasks) == 0 {
			for i := range segments {
				fmt.Fprintln(&out, showSegment(&segments[i]))
			}
			return out.String()
		}
		carryOut(t, members, segments, &tasks[0])
		fmt.Fprintln(&out, showTask(&tasks[0]))
	}
	return out.String() + "and so on\n"
}

// carryOut does what a task says, and sees to it that it could be done.
func carryOut(t *testing.T, members []Member, segments []Segment, task *Task) {
	t.Helper()
	var present Set
	for i := range members {
		present = present.With(members[i].Index)
	}
	for i := range segments {
		s := &segments[i]
		if s.ID != task.Segment {
			continue
		}
		before := Survives(s, present)
		switch task.Kind {
		case Copy:
			s.On = s.On.With(task.To)
		case RemoveCopy:
			s.On = s.On.Without(task.To)
		case MakeShards:
			if s.At == nil {
				s.K, s.M, s.At = task.K, task.M, make([]int8, task.K+task.M)
				for i := range s.At {
					s.At[i] = -1
				}
			}
			for _, a := range task.Make {
				s.At[a.Shard] = int8(a.Member)
			}
		case RemoveShards:
			s.K, s.M, s.At = 0, 0, nil
		}
		if before < 0 || Survives(s, present) < 0 || task.Survives != before {
			t.Errorf("%s: survived %d, now %d", showTask(task), before, Survives(s, present))
		}
	}
}

func parseCode(t *testing.T, s string) (k, m int) {
	a, b, _ := strings.Cut(s, "+")
	return number(t, a), number(t, b)
}

func parseSegment(t *testing.T, line string) Segment {
	fields := strings.Fields(line)
	s := Segment{ID: uint32(number(t, fields[0]))}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		if key == "on" {
			for n := range strings.SplitSeq(value, ",") {
				s.On = s.On.With(number(t, n))
			}
			continue
		}
		code, at, _ := strings.Cut(value, ":")
		s.K, s.M = parseCode(t, code)
		for n := range strings.SplitSeq(at, ",") {
			if n == "-" {
				n = "-1"
			}
			s.At = append(s.At, int8(number(t, n)))
		}
	}
	return s
}

func showSegment(s *Segment) string {
	out := fmt.Sprintf("segment %d", s.ID)
	if s.On != 0 {
		out += " on " + show(s.On)
	}
	if s.At != nil {
		out += fmt.Sprintf(" as %d+%d at %v", s.K, s.M, s.At)
	}
	return out
}

func showTask(t *Task) string {
	out := fmt.Sprintf("%d: %v", t.Segment, t.Kind)
	switch t.Kind {
	case Copy, RemoveCopy:
		out += fmt.Sprintf(" %d", t.To)
	case MakeShards:
		for _, a := range t.Make {
			out += fmt.Sprintf(" %d@%d", a.Shard, a.Member)
		}
	}
	if t.Urgent {
		out += ", urgent"
	}
	return out + fmt.Sprintf(" (survives %d)", t.Survives)
}
