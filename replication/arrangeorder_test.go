package replication

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestArrangeOrder shows what tasks do on the disks, and in which order. Commands:
//
//	open [members=N] [segments=N]
//	want [rs=K+M] [copies=N]   how segments are to be kept
//	away member=N, back member=N, wait [seconds=N]
//	step [times=N]             arrange; "nothing" if there is nothing to do
//
// A line of the output begins with the number of the member. After each step stands where the segments are.
func TestArrangeOrder(t *testing.T) {
	datadriven.Walk(t, "testdata/arrange", func(t *testing.T, path string) {
		o := arrangeTranscript{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if o.a != nil {
				o.a.t = t
			}
			return o.run(t, d)
		})
	})
}

type arrangeTranscript struct {
	a   *arrangeTest
	mu  sync.Mutex
	ops strings.Builder
}

func (o *arrangeTranscript) run(t *testing.T, d *datadriven.TestData) string {
	n, copies, code := 1, 3, ""
	switch d.Cmd {
	case "open":
		members := 3
		d.MaybeScanArgs(t, "members", &members)
		d.MaybeScanArgs(t, "segments", &n)
		o.a = newArrangeTest(t, members, n, 1000, func(op fsOp, do func(int) error) error {
			o.mu.Lock()
			fmt.Fprintf(&o.ops, "%d: %v\n", op.member, op)
			o.mu.Unlock()
			return do(op.bytes)
		})
		want(o.a.l, 3, Redundancy{})
		return ""
	case "want":
		d.MaybeScanArgs(t, "copies", &copies)
		r := Redundancy{}
		if d.MaybeScanArgs(t, "rs", &code); code != "" {
			if _, err := fmt.Sscanf(code, "%d+%d", &r.K, &r.M); err != nil {
				t.Fatal(err)
			}
		}
		want(o.a.l, copies, r)
		return ""
	case "away", "back":
		d.ScanArgs(t, "member", &n)
		o.a.setAway(n, d.Cmd == "away")
		return ""
	case "wait":
		d.MaybeScanArgs(t, "seconds", &n)
		for range n {
			o.a.clock.Advance(1e9)
		}
		return ""
	case "step":
		d.MaybeScanArgs(t, "times", &n)
		o.ops.Reset()
		for range n {
			if did, err := o.a.l.arrangeStep(t.Context()); err != nil {
				t.Fatal(err)
			} else if !did {
				return o.ops.String() + "nothing\n"
			}
			for s := range o.a.l.index.each() {
				fmt.Fprintf(&o.ops, "segment %d:", s.id)
				for i := range s.holders.All() {
					fmt.Fprintf(&o.ops, " copy@%d", i)
				}
				for shard, i := range s.shards {
					fmt.Fprintf(&o.ops, " %d@%d", shard, i)
				}
				fmt.Fprintln(&o.ops)
			}
		}
		return o.ops.String()
	}
	d.Fatalf(t, "unknown command %q", d.Cmd)
	return ""
}
