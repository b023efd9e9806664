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
//	plan [rs=K+M] [copies=N]: a line a member, then a line a segment: "ID [bytes=N] [on=I,…] [rs=K+M:I,I,-,…]"
//
// A line of a member is "INDEX [held=GIB] [free=GIB] [total=GIB] [disk=NAME] [leaving]".
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "choose":
				return choose(t, d)
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
