package replication

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestConcurrent appends from many goroutines while others read what is durable, in a log that rotates all the time, and
// closes it in the midst. What Append took is delivered by Next, in order and without gaps, and is there afterwards.
func TestConcurrent(t *testing.T) {
	members := memMembers(3)
	l := mustOpen(t, members, Options{SegmentBytes: 20_000, QueueBytes: 50_000})
	var (
		wg       sync.WaitGroup
		taken    atomic.Int64
		done     []Record
		doneMu   sync.RWMutex
		half     = make(chan struct{})
		halfOnce sync.Once
	)
	for g := range 16 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(g), 0))
			for i := 0; ; i++ {
				r := &Record{Meta: fmt.Appendf(nil, "appender %d record %d", g, i)}
				for range dice.IntN(3) {
					r.Data = append(r.Data, randomBytes(dice, dice.IntN(3000)))
				}
				switch _, err := l.Append(r); {
				case errors.Is(err, ErrClosed):
					return
				case err != nil:
					t.Error(err)
					return
				}
				if taken.Add(1) == 2000 {
					halfOnce.Do(func() { close(half) })
				}
			}
		})
	}
	for g := range 4 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(g), 1))
			for {
				doneMu.RLock()
				var r Record
				if len(done) > 0 {
					r = done[dice.IntN(len(done))]
				}
				doneMu.RUnlock()
				if r.LSN == 0 {
					select {
					case <-half:
						return
					default:
						continue
					}
				}
				err := checkData(l, dice.IntN(4)-1, r)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		next := LSN(1)
		var buf []*Record
		var err error
		for {
			if buf, err = l.Next(buf); err != nil {
				break
			}
			doneMu.Lock()
			for _, r := range buf {
				if r.LSN != next {
					t.Errorf("record %d after %d", r.LSN, next-1)
				}
				next++
				done = append(done, *r)
			}
			doneMu.Unlock()
		}
		if err != io.EOF {
			t.Errorf("Next ends with %v", err)
		}
	})
	<-half
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if int64(len(done)) != taken.Load() {
		t.Fatalf("%d records were taken, %d delivered", taken.Load(), len(done))
	}
	l = mustOpen(t, members, Options{})
	next := 0
	err := l.Replay(1, func(r *Record) error {
		want := done[next]
		if r.LSN != want.LSN || string(r.Meta) != string(want.Meta) || r.At != want.At {
			return fmt.Errorf("record %d is not the one that was appended", r.LSN)
		}
		next++
		return checkData(l, next%4-1, want)
	})
	if err != nil || next != len(done) {
		t.Fatalf("replayed %d of %d: %v", next, len(done), err)
	}
}

// checkData reads the data of r from a member, or from any if member is -1.
func checkData(l *Log, member int, r Record) error {
	var want []byte
	for _, p := range r.Data {
		want = append(want, p...)
	}
	got := make([]byte, len(want))
	read := l.ReadAt
	if member >= 0 {
		read = func(p []byte, at Position) error { return readMember(l, member, p, at) }
	}
	if err := read(got, r.At); err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("record %d has other data on member %d", r.LSN, member)
	}
	return nil
}

// holder holds operations until they are let go.
type holder struct {
	match func(op fsOp) bool
	gate  chan struct{}
	held  atomic.Int32
}

func (h *holder) hook(op fsOp, do func(int) error) error {
	if h.match(op) {
		h.held.Add(1)
		<-h.gate
	}
	return do(op.bytes)
}

func isRecordWrite(op fsOp) bool { return op.kind == "write" && op.off >= 64 }

// TestVisibleWhenAllHaveSynced holds the sync of one member: the record is on the others' disks, but Next and ReadAt do
// not show it.
func TestVisibleWhenAllHaveSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		syncs := 0
		h := holder{gate: make(chan struct{}), match: func(op fsOp) bool {
			if op.member != 1 || op.kind != "sync" || op.path != "0000000001.open" {
				return false
			}
			syncs++
			return syncs == 2 // the first is of the segment's header
		}}
		l, err := Open(hooked(memMembers(3), h.hook), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var visible atomic.Bool
		r := &Record{Meta: []byte("meta"), Data: [][]byte{[]byte("data")}}
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, err := l.Next(nil); err == nil {
				visible.Store(true)
			}
		}()
		synctest.Wait()
		p := make([]byte, 4)
		if err := l.ReadAt(p, Position{Segment: 1, Offset: 64 + 40 + 4}); visible.Load() || h.held.Load() != 1 || err == nil {
			t.Errorf("before the last sync: visible %v, %d held, read %q %v", visible.Load(), h.held.Load(), p, err)
		}
		if s := l.Stats(); s.Queued == 0 || s.Records != 0 || s.Last != 0 {
			t.Errorf("before the last sync: %+v", s)
		}
		close(h.gate)
		synctest.Wait()
		if err := l.ReadAt(p, r.At); !visible.Load() || err != nil || string(p) != "data" {
			t.Errorf("after the last sync: visible %v, read %q %v", visible.Load(), p, err)
		}
		if s := l.Stats(); s.Queued != 0 || s.Records != 1 || s.Last != 1 || s.Batches != 1 {
			t.Errorf("after the last sync: %+v", s)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestGroupCommit: what is appended while a batch is written goes to the disks together, in one write and one sync.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		h := holder{gate: make(chan struct{}), match: func(op fsOp) bool {
			return isRecordWrite(op) && op.member == 0 && writes.Add(1) == 1
		}}
		l, err := Open(hooked(memMembers(2), h.hook), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if _, err := l.Append(&Record{Meta: []byte("meta")}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		close(h.gate)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		// One batch of one record, one of the rest, and a footer.
		if s := l.Stats(); s.Batches != 2 || s.Records != 50 || writes.Load() != 3 {
			t.Errorf("%+v, %d writes", s, writes.Load())
		}
	})
}

// TestQueueBytes: Append waits for room, a record larger than the whole queue passes when it is empty, and one that waits
// is let go by Close, or by a failure that nobody can make up for: then it is told which member failed in what. The log goes on
// by itself when that works again, with the record that was taken; closed before, it says that it could not.
func TestQueueBytes(t *testing.T) {
	for _, end := range []string{"room", "failure", "cure", "close"} {
		synctest.Test(t, func(t *testing.T) {
			var fail atomic.Bool
			h := holder{gate: make(chan struct{}), match: isRecordWrite}
			hook := func(op fsOp, do func(int) error) error {
				return h.hook(op, func(n int) error {
					if fail.Load() && isRecordWrite(op) {
						return errInjected
					}
					return do(n)
				})
			}
			l, err := Open(hooked(memMembers(1), hook), Options{QueueBytes: 1000})
			if err != nil {
				t.Fatal(err)
			}
			first := &Record{Meta: make([]byte, 5000)}
			if _, err := l.Append(first); err != nil {
				t.Fatal(err)
			}
			var result atomic.Pointer[error]
			go func() {
				_, err := l.Append(&Record{Meta: []byte("second")})
				result.Store(&err)
			}()
			synctest.Wait()
			if result.Load() != nil {
				t.Fatalf("%s: Append did not wait: %v", end, *result.Load())
			}
			closed := make(chan error, 1)
			var want error
			switch end {
			case "failure", "cure":
				fail.Store(true)
				want = ErrUnavailable
			case "close":
				want = ErrClosed
				go func() { closed <- l.Close() }()
				synctest.Wait()
				if result.Load() == nil {
					t.Fatal("Append still waits after Close, as if it could be taken")
				}
			}
			close(h.gate)
			synctest.Wait()
			if got := result.Load(); got == nil || !errors.Is(*got, want) {
				t.Fatalf("%s: Append: %v", end, got)
			} else if want == ErrUnavailable {
				for _, word := range []string{"replica-1", "write", "segment 1", errInjected.Error()} {
					if !strings.Contains((*got).Error(), word) {
						t.Errorf("%s: %q is not in: %v", end, word, *got)
					}
				}
				if err := l.Available(); err != *got || l.Failed() != nil {
					t.Errorf("%s: available: %v, failed: %v", end, err, l.Failed())
				}
			}
			if end == "cure" {
				fail.Store(false)
				if got, err := l.Next(nil); err != nil || len(got) != 1 || got[0] != first || l.Available() != nil {
					t.Errorf("after the cure: %d records, %v, available: %v", len(got), err, l.Available())
				}
			}
			if end != "close" {
				closed <- l.Close()
			}
			if err := <-closed; (err != nil) != (end == "failure") {
				t.Fatalf("%s: Close: %v", end, err)
			}
			if got, err := l.Next(nil); end == "failure" && (len(got) > 0 || !errors.Is(err, ErrUnavailable)) {
				t.Fatalf("%d records were acknowledged after all: %v", len(got), err)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	l := mustOpen(t, memMembers(1), Options{MaxRecordBytes: 1000})
	if _, err := l.Append(&Record{Meta: make([]byte, 500), Data: [][]byte{make([]byte, 500)}}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if r := append1(t, l, "small"); r.LSN != 1 {
		t.Fatalf("LSN %d", r.LSN)
	}
	if s := l.Stats(); s.Records != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestReadFallsOver: a member that cannot give its bytes is passed over and reported.
func TestReadFallsOver(t *testing.T) {
	members := memMembers(2)
	var reported []int
	l := mustOpen(t, members, Options{Events: &Events{ReadFailed: func(member int, at Position, err error) { reported = append(reported, member) }}})
	r := append1(t, l, "meta", "data")
	if err := writeFile(members[0], "0000000001.open", nil); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4)
	if err := l.ReadAt(p, r.At); err != nil || string(p) != "data" {
		t.Fatalf("%q %v", p, err)
	}
	if err := readMember(l, 0, p, r.At); err == nil {
		t.Fatal("read from a member that has nothing")
	}
	if len(reported) != 1 || reported[0] != 0 || l.Members()[0].ReadErrors != 1 || l.Members()[1].ReadErrors != 0 {
		t.Fatalf("reported %v, %+v", reported, l.Members())
	}
	for _, at := range []Position{{}, {Segment: 2, Offset: 64}, {Segment: 1, Offset: 0}, {Segment: 1, Offset: r.At.Offset + 8}, {Segment: 1, Offset: 1<<32 - 1}} {
		if err := l.ReadAt(p, at); !errors.Is(err, errRange) {
			t.Errorf("read at %v: %v", at, err)
		}
	}
}

// countFS counts the files that are open for reading.
type countFS struct {
	vfs.FS
	open, most *atomic.Int64
}

type countFile struct {
	vfs.File
	open *atomic.Int64
}

func (c countFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	if n := c.open.Add(1); n > c.most.Load() {
		c.most.Store(n)
	}
	return &countFile{f, c.open}, nil
}

func (f *countFile) Close() error {
	f.open.Add(-1)
	return f.File.Close()
}

// TestOpenFiles reads from more segments than may be open.
func TestOpenFiles(t *testing.T) {
	var open, most atomic.Int64
	fs := countFS{vfs.NewMem(), &open, &most}
	l := mustOpen(t, []Member{{FS: fs, Dir: "d"}}, Options{SegmentBytes: 1})
	var records []*Record
	for i := range openFilesMax + 20 {
		records = append(records, append1(t, l, "", fmt.Sprint(i)))
	}
	for range 2 {
		for _, r := range records {
			if err := checkData(l, -1, *r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if open.Load() != openFilesMax || most.Load() > openFilesMax+1 {
		t.Errorf("%d files open, %d at most", open.Load(), most.Load())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if open.Load() != 0 {
		t.Errorf("%d files open after Close", open.Load())
	}
}
