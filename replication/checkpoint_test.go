package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// cpFiles are the files of a checkpoint, by name, as the tests make them; the key is the content.
type cpFiles map[string]string

// list returns the files for SaveCheckpoint. Names that begin with "-" have no key.
func (c cpFiles) list() []CheckpointFile {
	var out []CheckpointFile
	for _, name := range slices.Sorted(maps.Keys(c)) {
		f := CheckpointFile{Name: name, Size: int64(len(c[name])), Key: c[name], Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(c[name])), nil
		}}
		if strings.HasPrefix(name, "-") {
			f.Key = ""
		}
		if len(f.Key) > 20 {
			f.Key = f.Key[:20]
		}
		out = append(out, f)
	}
	return out
}

// restore returns the files of the log's checkpoint.
func restore(l *Log) (cpFiles, error) {
	out := cpFiles{}
	err := l.RestoreCheckpoint(func(name string, r io.Reader) error {
		b, err := io.ReadAll(r)
		out[name] = string(b)
		return err
	})
	return out, err
}

func mustRestore(t *testing.T, l *Log, want cpFiles) {
	t.Helper()
	got, err := restore(l)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("restored %q, wanted %q", got, want)
	}
}

func mustSave(t *testing.T, l *Log, lsn LSN, c cpFiles) {
	t.Helper()
	if err := l.SaveCheckpoint(lsn, c.list()); err != nil {
		t.Fatal(err)
	}
}

// fill appends records, each in a segment of its own.
func fill(t *testing.T, l *Log, n int) (out []*Record) {
	t.Helper()
	for range n {
		last := l.Stats().Last
		out = append(out, append1(t, l, fmt.Sprint("meta ", last+1), fmt.Sprint("data ", last+1)))
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestCheckpointLife saves checkpoints, replaces them, drops segments and opens the log again, several times.
func TestCheckpointLife(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " members"), func(t *testing.T) {
			members := memMembers(n)
			o := Options{Clock: clock.NewManual(time.Unix(1_700_000_000, 5))}
			l := mustOpen(t, members, o)
			if _, ok := l.Checkpoint(); ok {
				t.Fatal("a new log has a checkpoint")
			}
			mustRestore(t, l, cpFiles{})
			records := fill(t, l, 6)
			one := cpFiles{"000001.sst": strings.Repeat("sst one", 100_000), "MANIFEST": "manifest one", "-summary": "", "empty": ""}
			mustSave(t, l, 4, one)
			info, ok := l.Checkpoint()
			if want := (CheckpointInfo{LSN: 4, Bytes: 700_012, Files: 4, Time: time.Unix(1_700_000_000, 5)}); !ok || info != want {
				t.Fatalf("checkpoint %+v, wanted %+v", info, want)
			}
			mustRestore(t, l, one)
			written := l.Members()[0].BytesWritten
			two := cpFiles{"000001.sst": one["000001.sst"], "000002.sst": "sst two", "MANIFEST": "manifest two", "-summary": "s"}
			mustSave(t, l, 5, two)
			if more := l.Members()[0].BytesWritten - written; more > 1000 {
				t.Errorf("the second checkpoint wrote %d bytes, the members had most of it", more)
			}
			mustRestore(t, l, two)

			if err := l.Drop(6); err == nil {
				t.Fatal("dropped a segment that the checkpoint does not stand for")
			}
			if err := l.Drop(7); err == nil {
				t.Fatal("dropped a segment that is not there")
			}
			for range 2 { // again does nothing
				if err := l.Drop(3, 1, 3); err != nil {
					t.Fatal(err)
				}
			}
			check := func(l *Log, ids string) {
				t.Helper()
				var got []string
				for _, s := range l.Segments() {
					got = append(got, fmt.Sprint(s.ID))
				}
				if strings.Join(got, " ") != ids {
					t.Fatalf("segments %v, wanted %s", got, ids)
				}
				for _, r := range records {
					err := l.ReadAt(make([]byte, 6), r.At)
					if there := slices.Contains(got, fmt.Sprint(r.At.Segment)); there != (err == nil) || !there && !errors.Is(err, ErrDropped) {
						t.Fatalf("record %d: %v", r.LSN, err)
					}
					err = l.SegmentRecords(r.At.Segment, func(*Record) error { return nil })
					if there := slices.Contains(got, fmt.Sprint(r.At.Segment)); there != (err == nil) || !there && !errors.Is(err, ErrDropped) {
						t.Fatalf("records of segment %d: %v", r.At.Segment, err)
					}
				}
				mustRestore(t, l, two)
				v := verifier{t: t, name: "live", members: members}
				v.equal()
			}
			check(l, "2 4 5 6")
			if s := l.Stats(); s.Segments != 4 || s.DroppedSegments != 2 || s.CheckpointLSN != 5 || s.CheckpointBytes != 700_020 || s.Last != 6 {
				t.Fatalf("%+v", s)
			}
			reopen := func() {
				t.Helper()
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				o.Events = &Events{Recovered: func(r Recovery) {
					if len(r.Repaired) > 0 || r.Dropped > 0 {
						t.Errorf("something was repaired: %+v", r)
					}
				}}
				l = mustOpen(t, members, o)
			}
			reopen()
			check(l, "2 4 5 6")
			for from, dropped := range []bool{true, true, true, true, false, false, false, false} {
				next := LSN(from)
				err := l.Replay(LSN(from), func(r *Record) error {
					if r.LSN != next {
						t.Fatalf("record %d, wanted %d", r.LSN, next)
					}
					next++
					return nil
				})
				if dropped && (!errors.Is(err, ErrDropped) || next != LSN(from)) || !dropped && (err != nil || next != 7 && from < 7) {
					t.Fatalf("replay from %d: %v", from, err)
				}
			}
			// All go, the newest too; the numbers go on.
			mustSave(t, l, 6, two)
			if err := l.Drop(2, 4, 5, 6); err != nil {
				t.Fatal(err)
			}
			check(l, "")
			reopen()
			check(l, "")
			if l.LastLSN() != 6 || l.Stats().Last != 6 {
				t.Fatalf("last record %d, %+v", l.LastLSN(), l.Stats())
			}
			if r := append1(t, l, "seven", "data 7"); r.LSN != 7 || r.At.Segment != 7 {
				t.Fatalf("record %d at %v", r.LSN, r.At)
			}
			reopen()
			check(l, "7")
			if m := l.keeper.current(); len(m.Dropped) != 1 || m.Dropped[0] != (segment.Range{From: 1, To: 6, First: 1, Last: 6}) {
				t.Fatalf("dropped: %+v", m.Dropped)
			}
		})
	}
}

// TestCheckpointRefusals are calls of SaveCheckpoint that change nothing.
func TestCheckpointRefusals(t *testing.T) {
	members := memMembers(2)
	l := mustOpen(t, members, Options{})
	fill(t, l, 3)
	good := cpFiles{"a": "content of a"}
	mustSave(t, l, 2, good)
	before, err := contents(members[0])
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, lsn LSN, files ...CheckpointFile) {
		t.Helper()
		if err := l.SaveCheckpoint(lsn, files); err == nil {
			t.Errorf("%s: saved", what)
		}
		for i, m := range members {
			after, err := contents(m)
			if err != nil {
				t.Fatal(err)
			}
			delete(after, segment.ManifestName+segment.TempSuffix)
			if !maps.Equal(before, after) {
				t.Errorf("%s: member %d has changed: %q", what, i, slices.Sorted(maps.Keys(after)))
			}
		}
		mustRestore(t, l, good)
	}
	file := func(name string, size int64, content string) CheckpointFile {
		return CheckpointFile{Name: name, Size: size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(content)), nil
		}}
	}
	refused("no record", 0)
	refused("an older record", 1, file("b", 1, "b"))
	refused("a record to come", 4, file("b", 1, "b"))
	refused("no name", 3, file("b", 1, "b"), file("", 1, "b"))
	refused("a name twice", 3, file("b", 1, "b"), file("b", 1, "c"))
	refused("a long name", 3, file(strings.Repeat("n", 1<<16), 1, "b"))
	refused("a negative size", 3, file("b", -1, ""))
	refused("too short", 3, file("a", 1, "a"), file("b", 3, "bb"))
	refused("too long", 3, file("a", 1, "a"), file("b", 1, "bb"))
	refused("longer than a copy", 3, file("b", copyBytes, strings.Repeat("b", copyBytes+1)))
	fails := errors.New("no file")
	refused("not there", 3, file("a", 1, "a"), CheckpointFile{Name: "b", Open: func() (io.ReadCloser, error) { return nil, fails }})
	refused("unreadable", 3, CheckpointFile{Name: "b", Size: 5, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("bb"), errReader{fails})), nil
	}})
	if err := l.Drop(3); err == nil {
		t.Error("dropped a segment that the checkpoint does not stand for")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveCheckpoint(3, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SaveCheckpoint after Close: %v", err)
	}
	if err := l.Drop(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Drop after Close: %v", err)
	}
	if _, err := restore(l); !errors.Is(err, ErrClosed) {
		t.Errorf("RestoreCheckpoint after Close: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestCheckpointWhileAppending replaces checkpoints and drops what they stand for while records are appended and read, and
// keeps no file of a dropped segment open.
func TestCheckpointWhileAppending(t *testing.T) {
	members := memMembers(3)
	l := mustOpen(t, members, Options{SegmentBytes: 2000})
	const n = 500
	reading := make(chan Position, n)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for at := range reading {
			p := make([]byte, 300)
			err := l.ReadAt(p, at)
			if err == nil && !bytes.Equal(p, bytes.Repeat(p[:1], 300)) || err != nil && !errors.Is(err, ErrDropped) {
				t.Errorf("read at %v: %v", at, err)
			}
		}
	}()
	for i := range n {
		r := append1(t, l, "meta", strings.Repeat(string(rune('a'+i%26)), 300))
		reading <- r.At
		if i%50 == 49 {
			mustSave(t, l, r.LSN, cpFiles{"state": fmt.Sprint("state at ", r.LSN), "same": "always the same"})
			var ids []SegmentID
			for _, s := range l.Segments() {
				if s.Sealed && s.ID%3 != 0 {
					ids = append(ids, s.ID)
				}
			}
			if err := l.Drop(ids...); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(reading)
	<-finished
	mustRestore(t, l, cpFiles{"state": "state at 500", "same": "always the same"})
	l.files.mu.Lock()
	for key := range l.files.mu.open {
		if !l.index.holds(key.segment) {
			t.Errorf("segment %d was dropped, and member %d still has it open", key.segment, key.member.number)
		}
	}
	l.files.mu.Unlock()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, members, Options{})
	mustRestore(t, l, cpFiles{"state": "state at 500", "same": "always the same"})
}

// lateFS opens a file, says so on opened, and gives it to the caller when it hears from proceed.
type lateFS struct {
	vfs.FS
	name            string
	opened, proceed chan struct{}
}

func (l *lateFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.Open(name, o...)
	if l.FS.PathBase(name) == l.name {
		l.opened <- struct{}{}
		<-l.proceed
	}
	return f, err
}

// TestDropWhileOpening drops a segment just when a reader has opened its file: the reader has its bytes, and the file is not
// kept open, so that the disk has its blocks back.
func TestDropWhileOpening(t *testing.T) {
	late := &lateFS{FS: vfs.NewMem(), name: segment.Name(1, true), opened: make(chan struct{}), proceed: make(chan struct{})}
	l := mustOpen(t, []Member{{FS: late, Dir: "one"}}, Options{})
	r := fill(t, l, 2)[0]
	mustSave(t, l, 1, nil)
	read := make(chan error)
	got := make([]byte, 6)
	go func() { read <- l.ReadAt(got, r.At) }()
	<-late.opened
	if err := l.Drop(1); err != nil {
		t.Fatal(err)
	}
	late.proceed <- struct{}{}
	if err := <-read; err != nil || string(got) != "data 1" {
		t.Fatalf("read %q: %v", got, err)
	}
	l.files.mu.Lock()
	defer l.files.mu.Unlock()
	if n := len(l.files.mu.open); n != 0 {
		t.Fatalf("%d files are kept open", n)
	}
}
