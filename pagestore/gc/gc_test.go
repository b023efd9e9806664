package gc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts runs testdata. Commands:
//
//	choose [garbage=PERCENT] [fast=PERCENT] [before=ID]: a line a segment, "ID bytes=N words=N frames=N stored=N live=N fast=N"
//	empty applied=LSN: the same, with last=LSN
//	plan: a line a frame, "present condemned used" as bits, block 0 first
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "choose":
				r := Rules{Garbage: 50}
				var before int
				d.MaybeScanArgs(t, "garbage", &r.Garbage)
				d.MaybeScanArgs(t, "fast", &r.Fast)
				d.MaybeScanArgs(t, "before", &before)
				r.Before = uint32(before)
				id, why, ok := Choose(segments(t, d.Input), r)
				if !ok {
					return "none\n"
				}
				return fmt.Sprintf("%d: %v\n", id, why)
			case "empty":
				var applied uint64
				d.ScanArgs(t, "applied", &applied)
				ids, bytes := Empty(segments(t, d.Input), applied)
				return fmt.Sprintf("%v, %d bytes\n", ids, bytes)
			case "plan":
				var out strings.Builder
				for line := range strings.Lines(d.Input) {
					f := strings.Fields(line)
					action, keep := Plan(bits(t, f[0]), bits(t, f[1]), bits(t, f[2]))
					switch action {
					case Move:
						fmt.Fprintf(&out, "move %s\n", show(keep, len(f[0])))
					case Free:
						fmt.Fprintln(&out, "free")
					}
				}
				return out.String()
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

func segments(t *testing.T, text string) (out []Segment) {
	for line := range strings.Lines(text) {
		var s Segment
		for i, f := range strings.Fields(line) {
			if i == 0 {
				if _, err := fmt.Sscan(f, &s.ID); err != nil {
					t.Fatal(err)
				}
				continue
			}
			key, value, _ := strings.Cut(f, "=")
			into := map[string]any{"last": &s.Last, "bytes": &s.Bytes, "words": &s.Words, "frames": &s.Frames, "stored": &s.Stored, "live": &s.Live, "fast": &s.Fast}[key]
			if _, err := fmt.Sscan(value, into); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
		}
		out = append(out, s)
	}
	return out
}

func bits(t *testing.T, text string) (b Blocks) {
	for i, c := range text {
		switch c {
		case '1':
			b |= 1 << i
		case '0':
		default:
			t.Fatalf("%q is not a set", text)
		}
	}
	return b
}

func show(b Blocks, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = '0' + byte(b>>i&1)
	}
	return string(out)
}
