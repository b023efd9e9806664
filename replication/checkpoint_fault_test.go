package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCheckpointFailures fails each operation of each member once while a checkpoint is saved or a segment dropped, a write
// in two ways: before the first byte and half way. The caller must hear of it, but for files that could not be removed; the
// log takes records as before; the old state holds, and after a crash that or the new one; and the next try succeeds.
func TestCheckpointFailures(t *testing.T) {
	for _, drop := range []bool{false, true} {
		cases := 0
		for victim := range 2 {
			for at := 1 + rand.IntN(failEvery); ; at += failEvery {
				hit := false
				for _, half := range []bool{false, true} {
					f := keepFault{t: t, victim: victim, at: at, half: half, drop: drop}
					f.run()
					hit = f.failed != ""
					cases++
				}
				if !hit {
					break
				}
			}
		}
		if cases < 50/failEvery && !drop || cases < 20/failEvery {
			t.Errorf("drop %v: only %d cases", drop, cases)
		}
	}
}

type keepFault struct {
	t          *testing.T
	victim, at int
	half, drop bool

	mu     sync.Mutex
	armed  bool
	n      int
	failed string // the operation

	records history
}

func (f *keepFault) hook(op fsOp, do func(int) error) error {
	f.mu.Lock()
	if f.armed && op.member == f.victim {
		f.n++
	}
	fail := f.armed && op.member == f.victim && f.n == f.at
	if fail {
		f.failed = op.kind
	}
	f.mu.Unlock()
	if !fail {
		return do(op.bytes)
	}
	if f.half && op.kind == "write" {
		_ = do(op.bytes / 2)
	}
	return errInjected
}

// note appends a record to the log and to the history.
func (f *keepFault) note(l *Log) {
	f.t.Helper()
	n := len(f.records.records)
	r := append1(f.t, l, fmt.Sprint("meta ", n), fmt.Sprint("data ", n))
	f.records.records = append(f.records.records, [2]string{string(r.Meta), string(r.Data[0])})
	f.records.at = append(f.records.at, r.At.Segment)
	f.records.acked++
}

func (f *keepFault) run() {
	t := f.t
	members := memMembers(2)
	what := func() string {
		return fmt.Sprintf("drop %v, member %d fails operation %d, %s, half %v", f.drop, f.victim, f.at, f.failed, f.half)
	}
	l := mustOpen(t, hooked(members, f.hook), Options{})
	for range 3 {
		f.note(l)
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	old := saved{lsn: 2, files: cpFiles{"stays": "stays as it is", "-goes": "goes away"}}
	mustSave(t, l, old.lsn, old.files)
	f.records.saved, f.records.dropped = old, map[SegmentID]bool{}
	next := saved{lsn: 3, files: cpFiles{"stays": "stays as it is", "new": "this is new", "-more": "and this"}}
	act := func() error { return l.SaveCheckpoint(next.lsn, next.files.list()) }
	if f.drop {
		act = func() error { return l.Drop(1, 2) }
		f.records.dropping = map[SegmentID]bool{1: true, 2: true}
	} else {
		f.records.saving = &next
	}
	f.mu.Lock()
	f.armed = true
	f.mu.Unlock()
	err := act()
	f.mu.Lock()
	f.armed = false
	f.mu.Unlock()

	var where *MemberError
	switch removing := f.failed == "remove"; {
	case f.failed == "" || removing && !f.drop:
		if err != nil {
			t.Fatalf("%s: %v", what(), err)
		}
	case !errors.Is(err, errInjected) || !errors.As(err, &where) || where.Dir != members[f.victim].Dir:
		t.Fatalf("%s: %v", what(), err)
	case !removing:
		mustRestore(t, l, old.files)
		if s := l.Stats(); s.CheckpointLSN != 2 || s.Segments != 3 || s.DroppedSegments != 0 {
			t.Fatalf("%s: %+v", what(), s)
		}
	}
	f.note(l)
	if l.Failed() != nil || l.Members()[f.victim].Err != nil {
		t.Fatalf("%s: the log has failed: %v", what(), l.Failed())
	}
	f.look(members, what())
	if err := act(); err != nil {
		t.Fatalf("%s: again: %v", what(), err)
	}
	if f.drop {
		f.records.dropped, f.records.dropping = f.records.dropping, nil
	} else {
		f.records.saved, f.records.saving = next, nil
	}
	mustRestore(t, l, f.records.saved.files)
	if err := verifyNow(l); err != nil {
		t.Fatalf("%s: %v", what(), err)
	}
	f.look(members, what()+", tried again")
	v := verifier{t: t, name: what(), members: members}
	v.equal()
	if list, err := members[0].FS.List(members[0].Dir + "/checkpoint"); err != nil || len(list) != len(f.records.saved.files) {
		t.Fatalf("%s: left in checkpoint/: %q %v", what(), list, err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("%s: %v", what(), err)
	}
	f.look(members, what()+", closed")
}

// look opens what a crash would leave now.
func (f *keepFault) look(members []Member, what string) {
	for _, percent := range []int{0, 50, 100} {
		v := verifier{t: f.t, name: fmt.Sprintf("%s, %d %% kept", what, percent), dice: rand.New(rand.NewPCG(uint64(f.at), 0)), past: f.records.snapshot()}
		for _, m := range members {
			fs := m.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: v.dice})
			v.members = append(v.members, Member{FS: fs, Dir: m.Dir})
		}
		v.open(false)
	}
}
