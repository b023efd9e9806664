package bench

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTraces reads traces of all formats. The command parse prints what is read, an operation a line, or the error.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata/trace", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			trace, err := ParseTrace(strings.NewReader(d.Input))
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			var b strings.Builder
			contents := map[uint64]string{0: "new"}
			for _, e := range trace.Entries {
				if contents[e.Content] == "" {
					contents[e.Content] = fmt.Sprintf("content-%d", len(contents))
				}
				fmt.Fprintf(&b, "%s [%d, %d)", []string{"read", "write", "discard"}[e.Op], e.Offset, e.Offset+e.Length)
				if e.Op == TraceWrite {
					fmt.Fprintf(&b, " %s", contents[e.Content])
				}
				if e.At > 0 {
					fmt.Fprintf(&b, " at %v", e.At)
				}
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "%v; %d lines skipped\n", trace, trace.Skipped)
			return b.String()
		})
	})
}

// TestTraceLineTooLong: an error, which names the line.
func TestTraceLineTooLong(t *testing.T) {
	_, err := ParseTrace(strings.NewReader("0 512 w\n" + strings.Repeat("x", 2*traceLineMax)))
	if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
		t.Errorf("error %v", err)
	}
}

// FuzzParseTrace: whatever is read can be written to a page blob, and what cannot be read is an error of a line.
func FuzzParseTrace(f *testing.F) {
	f.Add([]byte("0 4096 w abc @5\n4096 512 r # no\n0 8192 d\n"))
	f.Add([]byte("fio version 2 iolog\n/dev/sda add\n/dev/sda write 0 4096\n"))
	f.Add([]byte("fio version 3 iolog\n1 /dev/sda add\n2 /dev/sda trim 512 4096\n"))
	f.Add([]byte("8,0 1 42 0.000123 1234 Q WS 123456 + 8 [proc]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		trace, err := ParseTrace(bytes.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") && err.Error() != "no operation in the trace" {
				t.Errorf("error %v", err)
			}
			return
		}
		for _, e := range trace.Entries {
			if e.Offset < 0 || e.Offset%512 != 0 || e.Length <= 0 || e.Length%512 != 0 || e.Offset+e.Length > trace.Size || trace.Size > traceEnd || e.At < 0 {
				t.Errorf("%+v of %d", e, trace.Size)
			}
		}
	})
}

// TestReplay: each round does everything once, on any number of connections, into a blob of its own, and the blob is what
// the trace makes of it.
func TestReplay(t *testing.T) {
	trace, err := ParseTrace(strings.NewReader("0 5242880 w big\n0 1024 r\n8388608 4096 w a\n8392704 4096 w a\n8396800 4096 w\n8400896 4608 w\n8388608 512 d\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	var blob []byte
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f)}), newNullTarget(t), NewDisk(t.TempDir()))
	o.Workloads, o.Duration = []Workload{TraceWorkload("file", trace)}, time.Nanosecond
	o.Events = &Events{Round: func(e RoundEvent) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, b := range f.mu.blobs {
			if e.Connections == 1 {
				blob = bytes.Clone(b.data)
			}
		}
	}}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rep.Rows {
		for _, r := range row.Rounds {
			if r.Ops != 7 || r.Bytes != 5242880+1024+3*4096+4608 {
				t.Errorf("%s at %d: %+v", row.Target, row.Connections, r)
			}
		}
	}
	if len(rep.Rows) != 4 || len(f.mu.blobs) != 1 || len(f.requests("comp=page")) != 4*7 {
		t.Errorf("%d rows, %d blobs, %d writes", len(rep.Rows), len(f.mu.blobs), len(f.requests("comp=page")))
	}
	at := func(off, n int) []byte { return blob[off : off+n] }
	a, b, c := at(8388608, 4096), at(8392704, 4096), at(8396800, 4096)
	if !bytes.Equal(a[:512], make([]byte, 512)) || !bytes.Equal(a[512:], b[512:]) || bytes.Equal(b[512:], c[512:]) {
		t.Error("what has one fingerprint differs, or what has none is the same, or what was discarded is there")
	}
	if bytes.Equal(at(0, 4096), at(4<<20, 4096)) {
		t.Error("a large write repeats itself")
	}
}

// TestReplayErrors name the operation.
func TestReplayErrors(t *testing.T) {
	trace, err := ParseTrace(strings.NewReader("0 512 w\n512 512 d\n"))
	if err != nil {
		t.Fatal(err)
	}
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, &fake{refuses: "page"})}))
	o.Workloads = []Workload{TraceWorkload("file", trace)}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "operation 1 of the trace: at offset 0: answered 501") &&
		!strings.Contains(err.Error(), "operation 2 of the trace: at offset 512: answered 501") {
		t.Errorf("error %v", err)
	}
}
