package replication

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pagevault/replication/segment"
)

// TestRotate seals the open segment on demand: with records, without any, and while others append.
func TestRotate(t *testing.T) {
	members := memMembers(2)
	l := mustOpen(t, members, Options{})
	rotate := func() {
		t.Helper()
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	rotate()
	if got := l.Segments(); len(got) != 0 {
		t.Fatalf("segments of an empty log: %+v", got)
	}
	for i := range 3 {
		append1(t, l, fmt.Sprint("record ", i), "data")
		if i != 1 {
			rotate()
			rotate() // nothing to do
		}
	}
	append1(t, l, "in the open one")
	want := "[{1 1 1 200 4 true} {2 2 3 264 8 true} {3 4 4 120 0 false}]"
	if got := fmt.Sprint(l.Segments()); got != want {
		t.Fatalf("segments %v, wanted %v", got, want)
	}
	if err := l.SegmentRecords(3, nil); err == nil || errors.Is(err, ErrDropped) {
		t.Fatalf("records of the open segment: %v", err)
	}
	if err := l.SegmentRecords(4, nil); err == nil || errors.Is(err, ErrDropped) {
		t.Fatalf("records of a segment to come: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, members, Options{})
	want = "[{1 1 1 200 4 true} {2 2 3 264 8 true} {3 4 4 200 0 true}]"
	if got := fmt.Sprint(again.Segments()); got != want || again.Stats().DataBytes != 12 {
		t.Fatalf("after opening again: segments %v, wanted %v; %+v", got, want, again.Stats())
	}
	if err := l.Rotate(); !errors.Is(err, ErrClosed) {
		t.Fatalf("Rotate after Close: %v", err)
	}
}

// TestRotateWhileAppending has several goroutines rotate while others append: every record that a Rotate came after lies
// in a sealed segment when it returns.
func TestRotateWhileAppending(t *testing.T) {
	l := mustOpen(t, memMembers(3), Options{SegmentBytes: 4096})
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := LSN(0)
	const n = 600
	wg.Go(func() {
		for range n {
			if _, err := l.Append(&Record{Meta: []byte("m"), Data: [][]byte{make([]byte, 100)}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for left := n; left > 0; {
			got, err := l.Next(nil)
			if err != nil {
				t.Error(err)
				return
			}
			left -= len(got)
			mu.Lock()
			seen = got[len(got)-1].LSN
			mu.Unlock()
		}
	})
	for range 2 {
		wg.Go(func() {
			for range 30 {
				mu.Lock()
				before := seen
				mu.Unlock()
				if err := l.Rotate(); err != nil {
					t.Error(err)
					return
				}
				for _, s := range l.Segments() {
					if !s.Sealed && s.First <= before {
						t.Errorf("record %d was durable before Rotate, and segment %+v is not sealed", before, s)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestSegmentRecords reads the records of sealed segments while the log takes others, from whichever member has them.
func TestSegmentRecords(t *testing.T) {
	members := memMembers(2)
	l := mustOpen(t, members, Options{SegmentBytes: segment.FileBytes(sealedEnd, 3)})
	var records []*Record
	for i := range 7 {
		records = append(records, append1(t, l, fmt.Sprint("meta ", i), strings.Repeat("d", 30)))
	}
	read := func(id SegmentID) (n int) {
		t.Helper()
		err := l.SegmentRecords(id, func(r *Record) error {
			want := records[(int(id)-1)*3+n]
			if r.LSN != want.LSN || r.At != want.At || string(r.Meta) != string(want.Meta) || r.Data != nil {
				t.Fatalf("record %d at %v, wanted %d at %v", r.LSN, r.At, want.LSN, want.At)
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if read(1) != 3 || read(2) != 3 {
		t.Fatal("a segment has other records")
	}
	// The member that is asked first loses a Meta, which opening does not notice.
	damage := func(m Member, at int) {
		t.Helper()
		b, err := readFile(m, segment.Name(2, true))
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		if err := writeFile(m, segment.Name(2, true), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, members, Options{Passive: true}) // or the damage may be healed before there is more of it
	first := l.sources(2)[0].m.number
	damage(members[first], int(records[4].At.Offset)-2) // of Meta
	if read(2) != 3 {
		t.Fatal("records are missing")
	}
	if s := l.Members(); s[first].Damaged != 1 || s[1-first].Damaged != 0 || s[first].ReadErrors != 0 {
		t.Errorf("damage: %+v", s)
	}
	damage(members[1-first], int(records[4].At.Offset)-2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, members, Options{})
	if err := l.SegmentRecords(2, func(*Record) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a Meta that no member has: %v", err)
	}
	stop := errors.New("enough")
	if err := l.SegmentRecords(1, func(*Record) error { return stop }); err != stop {
		t.Fatalf("the error of fn: %v", err)
	}
}
