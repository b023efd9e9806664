package replication

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lostPages is a hook that fails one sync as Linux file systems do: what was written since the sync before stays readable,
// but counts as clean, so that no later sync brings it to the disk; only writing it again does.
type lostPages struct {
	failSync int // of this number, counted from 1, of segment files
	syncs    int
	dirty    map[string][]span // by name: written and not synced
	lost     map[string][]span // written, not on the disk, and taken for clean
}

func (p *lostPages) hook(op fsOp, do func(int) error) error {
	switch op.kind {
	case "write":
		s := span{from: op.off, to: op.off + int64(op.bytes)}
		p.dirty[op.path] = append(p.dirty[op.path], s)
		p.lost[op.path] = without(p.lost[op.path], s)
	case "sync":
		if op.path == "MEMBER.tmp" {
			break
		}
		if p.syncs++; p.syncs == p.failSync {
			p.lost[op.path] = append(p.lost[op.path], p.dirty[op.path]...)
			p.dirty[op.path] = nil
			return errInjected
		}
		p.dirty[op.path] = nil
	case "rename":
		p.lost[op.to], p.dirty[op.to] = p.lost[op.path], p.dirty[op.path]
		delete(p.lost, op.path)
		delete(p.dirty, op.path)
	}
	return do(op.bytes)
}

// without returns the parts of spans outside s.
func without(spans []span, s span) []span {
	var out []span
	for _, l := range spans {
		if before := (span{l.from, min(l.to, s.from)}); before.from < before.to {
			out = append(out, before)
		}
		if after := (span{max(l.from, s.to), l.to}); after.from < after.to {
			out = append(out, after)
		}
	}
	return out
}

// TestFailedSyncIsNotBelieved: after a sync has failed and the log was opened again, the records that it did not bring to
// the disk are there to be read. Opening must not promise them before it has written them again.
func TestFailedSyncIsNotBelieved(t *testing.T) {
	failed := 0
	for at := 1; ; at++ {
		mem := vfs.NewCrashableMem()
		plain := []Member{{FS: mem, Dir: "replica"}}
		p := &lostPages{failSync: at, dirty: map[string][]span{}, lost: map[string][]span{}}
		acked, err := appendSome(hooked(plain, p.hook))
		if err == nil {
			break
		}
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		failed++
		l := mustOpen(t, hooked(plain, p.hook), Options{SegmentBytes: 600})
		last := l.LastLSN()
		if int(last) < acked {
			t.Fatalf("sync %d failed: %d records, %d were acknowledged", at, last, acked)
		}
		// The power goes, and with it what was not on the disk.
		dead := []Member{{FS: mem.CrashClone(vfs.CrashCloneCfg{}), Dir: "replica"}}
		for name, spans := range p.lost {
			b, err := readFile(dead[0], name)
			if err != nil {
				continue // removed
			}
			for _, s := range spans {
				clear(b[min(s.from, int64(len(b))):min(s.to, int64(len(b)))])
			}
			if err := writeFile(dead[0], name, b); err != nil {
				t.Fatal(err)
			}
		}
		after, err := Open(dead, Options{})
		if err != nil {
			t.Fatalf("sync %d failed: %v; lost %v", at, err, p.lost)
		}
		if after.LastLSN() != last {
			t.Fatalf("sync %d failed: %d records were found and %d are left; lost %v", at, last, after.LastLSN(), p.lost)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 8 {
		t.Fatalf("only %d syncs", failed)
	}
}

func appendSome(members []Member) (acked int, err error) {
	l, err := Open(members, Options{SegmentBytes: 600})
	if err != nil {
		return 0, err
	}
	for i := range 6 {
		r := &Record{Meta: fmt.Append(nil, i), Data: [][]byte{make([]byte, 100)}}
		if _, err = l.Append(r); err == nil {
			_, err = l.Next(nil)
		}
		if err != nil {
			_ = l.Close() // returns the failure
			return acked, err
		}
		acked++
	}
	return acked, l.Close()
}
