package replication

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errKilled = errors.New("the process was killed")

// TestStartIsCutOffBeforeRepairs kills a process whose last record was written and not synced, starts another one, which has to
// make another roster, kills that before its first repair, and cuts the power. The roster must not speak of a record that was
// only in the page cache.
func TestStartIsCutOffBeforeRepairs(t *testing.T) {
	members := memMembers(3)
	open := func(cut func(op fsOp) bool, o Options) (*Log, error) {
		var hooked []Member
		for i, m := range members {
			fs := &hookFS{FS: m.FS, member: i, hook: func(op fsOp, do func(n int) error) error {
				if cut(op) {
					return errKilled
				}
				return do(op.bytes)
			}}
			hooked = append(hooked, Member{FS: fs, Dir: m.Dir})
		}
		o.Passive = true
		return Open(hooked, o)
	}

	unsynced, killed, halted := false, false, make(chan struct{})
	events := &Events{Halted: func(error) { close(halted) }}
	l, err := open(func(op fsOp) bool { return killed || unsynced && op.kind == "sync" }, Options{Events: events})
	if err != nil {
		t.Fatal(err)
	}
	append1(t, l, "a", "acknowledged")
	unsynced = true
	if _, err := l.Append(&Record{Meta: []byte("b"), Data: [][]byte{[]byte("never acknowledged")}}); err != nil {
		t.Fatal(err)
	}
	<-halted
	killed = true
	_ = l.Close()

	named := false
	killed = false
	if l, err = open(func(op fsOp) bool {
		named = named || op.kind == "rename" && op.to == "MEMBER"
		killed = named && (killed || op.kind == "open")
		return killed
	}, Options{MinReplicas: 1}); err == nil {
		t.Fatal("the second process was not killed", l.Close())
	}

	for i := range members {
		members[i].FS = members[i].FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	}
	if l = mustOpen(t, members, Options{Passive: true}); l.LastLSN() != 1 {
		t.Errorf("the last record is %d, want that which was acknowledged", l.LastLSN())
	}
}
