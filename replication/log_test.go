package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memMembers returns n members on memory file systems of their own.
func memMembers(n int) []Member {
	var out []Member
	for i := range n {
		out = append(out, Member{FS: vfs.NewCrashableMem(), Dir: fmt.Sprintf("replica-%d", i+1)})
	}
	return out
}

func mustOpen(t *testing.T, members []Member, o Options) *Log {
	t.Helper()
	l, err := Open(members, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// append1 appends a record and waits until Next returns it.
func append1(t testing.TB, l *Log, meta string, data ...string) *Record {
	t.Helper()
	r := &Record{Meta: []byte(meta)}
	for _, d := range data {
		r.Data = append(r.Data, []byte(d))
	}
	if _, err := l.Append(r); err != nil {
		t.Fatal(err)
	}
	got, err := l.Next(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != r {
		t.Fatalf("Next returned %d records, wanted the one appended", len(got))
	}
	return r
}

func TestAppendReadReopen(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprintf("%d members", n), func(t *testing.T) {
			members := memMembers(n)
			l := mustOpen(t, members, Options{SegmentBytes: 4096})
			id := l.StoreID()
			var records []*Record
			for i := range 100 {
				r := append1(t, l, fmt.Sprintf("meta %d", i), fmt.Sprintf("data %d ", i), string(bytes.Repeat([]byte{byte(i)}, i*37)))
				if r.LSN != LSN(i+1) {
					t.Fatalf("record %d got LSN %d", i, r.LSN)
				}
				records = append(records, r)
			}
			check := func(l *Log) {
				t.Helper()
				for _, r := range records {
					want := bytes.Join(r.Data, nil)
					got := make([]byte, len(want))
					s, _, _ := l.index.get(r.At.Segment)
					if copies := s.holders.Len(); copies != min(n, 3) {
						t.Fatalf("segment %d has %d copies", s.id, copies)
					}
					for i := -1; i < n; i++ {
						if i >= 0 && !s.holders.Has(i) {
							continue
						}
						read := func() error { return readMember(l, i, got, r.At) }
						if i < 0 {
							read = func() error { return l.ReadAt(got, r.At) }
						}
						if err := read(); err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(got, want) {
							t.Fatalf("record %d member %d reads %q, wanted %q", r.LSN, i, got, want)
						}
					}
				}
			}
			check(l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Next(nil); err != io.EOF {
				t.Fatalf("Next after Close: %v", err)
			}
			if err := l.ReadAt(make([]byte, 1), records[0].At); !errors.Is(err, ErrClosed) {
				t.Fatalf("ReadAt after Close: %v", err)
			}
			l = mustOpen(t, members, Options{})
			if l.StoreID() != id || l.LastLSN() != 100 {
				t.Fatalf("reopened: id %x last %d", l.StoreID(), l.LastLSN())
			}
			check(l)
			for _, from := range []LSN{0, 1, 2, 50, 100, 101} {
				next := max(from, 1)
				err := l.Replay(from, func(r *Record) error {
					want := records[next-1]
					if r.LSN != next || r.At != want.At || string(r.Meta) != string(want.Meta) || r.Data != nil {
						t.Fatalf("replay: got record %d at %v meta %q, wanted %d at %v meta %q", r.LSN, r.At, r.Meta, next, want.At, want.Meta)
					}
					next++
					return nil
				})
				if err != nil || next != 101 {
					t.Fatalf("replay from %d: %v, next would be %d", from, err, next)
				}
			}
			if r := append1(t, l, "one more"); r.LSN != 101 {
				t.Fatalf("LSN %d after reopening", r.LSN)
			}
			if err := l.Replay(1, nil); err == nil {
				t.Fatal("Replay after Append was allowed")
			}
		})
	}
}

// TestOnDisk does on the operating system's file system what the other tests do in memory.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	var members []Member
	for i := range 3 {
		members = append(members, Member{Dir: filepath.Join(dir, "not", "yet", fmt.Sprintf("replica-%d", i+1))})
	}
	l := mustOpen(t, members, Options{SegmentBytes: 100_000})
	var records []*Record
	for i := range 20 {
		records = append(records, append1(t, l, fmt.Sprint("meta ", i), strings.Repeat("data", 1000*i)))
	}
	if err := l.abandon(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, members, Options{})
	for _, r := range records {
		for i := range members {
			if err := checkData(l, i, *r); err != nil {
				t.Fatal(err)
			}
		}
	}
	status := l.Members()
	if status[0].Device == "" || status[0].Device != status[2].Device {
		t.Errorf("devices %q and %q", status[0].Device, status[2].Device)
	}
	if s := l.Stats(); l.LastLSN() != 20 || s.Segments < 8 || s.Last != 20 || s.Bytes < 760_000 {
		t.Errorf("last record %d, %+v", l.LastLSN(), s)
	}
}
