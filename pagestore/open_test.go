package pagestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// wantOpenError opens a store that cannot be opened, twice, and checks that the index is left as it was.
func wantOpenError(t *testing.T, o Options, want error, text ...string) {
	t.Helper()
	for range 2 {
		s, err := Open(o)
		if err == nil {
			s.Close()
			t.Fatal("opened")
		}
		if want != nil && !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%v, want one line wrapping %v", err, want)
		}
		for _, s := range append(text, o.Dir) {
			if !strings.Contains(err.Error(), s) {
				t.Fatalf("%v does not say %q", err, s)
			}
		}
	}
}

// indexRows reads the rows of an index that no store has open.
func editIndex(t *testing.T, o Options, edit func(db *pebble.DB) error) {
	t.Helper()
	db, err := pebble.Open(o.Dir, &pebble.Options{FS: o.FS, Logger: indexLogger{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	if err := edit(db); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrors(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs, 2)
	s := openTest(t, o)
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), pagemap.RegionBytes)
	write(t, s, v, 0, p)
	rows := allRows(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	setState := func(change func(st *state)) {
		t.Helper()
		st, err := decodeState([]byte(rows[string(stateKey)]))
		if err != nil {
			t.Fatal(err)
		}
		change(&st)
		editIndex(t, o, func(db *pebble.DB) error { return db.Set(stateKey, appendState(nil, &st), pebble.Sync) })
	}

	setState(func(st *state) { st.applied += 5 })
	wantOpenError(t, o, ErrCorrupt, "applied record 8, the log ends at 3")

	setState(func(st *state) { st.store[0]++ })
	wantOpenError(t, o, nil, "belongs to store")

	newer := []byte(rows[string(stateKey)])
	binary.LittleEndian.PutUint16(newer, indexFormat+1)
	editIndex(t, o, func(db *pebble.DB) error { return db.Set(stateKey, newer, pebble.Sync) })
	wantOpenError(t, o, nil, "format 3", "format 2")

	editIndex(t, o, func(db *pebble.DB) error { return db.Delete(stateKey, pebble.Sync) })
	wantOpenError(t, o, nil, "not an index")

	// As it was, it opens, and holds what it held.
	setState(func(st *state) {})
	s = openTest(t, o)
	sameRows(t, allRows(t, s), rows)
	wantRead(t, s, v, GenHead, 0, p)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// An index beside the log of another store.
	other := testOptions(fs, 1)
	other.Dir, other.Members[0].Dir = "index-other", "elsewhere"
	if err := openTest(t, other).Close(); err != nil {
		t.Fatal(err)
	}
	other.Dir = o.Dir
	wantOpenError(t, other, nil, "belongs to store")

	// Two indexes for one log, one after the other: the second is rebuilt.
	second := o
	second.Dir = "index-2"
	s = openTest(t, second)
	sameRows(t, allRows(t, s), rows)
}

// TestMembersGone opens a store whose index is there and whose members are not, as when the disks are not mounted: no new
// log is made in their place, and nothing else either.
func TestMembersGone(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs, 3)
	s := openTest(t, o)
	v := newVolume(t, s)
	p := bytes.Repeat([]byte{7}, PageSize)
	write(t, s, v, 0, p)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, m := range o.Members {
		if err := fs.Rename(m.Dir, m.Dir+"-disk"); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // the place where the disk is mounted may be there
			if err := fs.MkdirAll(m.Dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := fs.String()
	if err := CheckMembers(o); err == nil || !strings.Contains(err.Error(), "knows a store of 3 records") {
		t.Errorf("check: %v", err)
	}
	wantOpenError(t, o, nil, "index index knows a store of 3 records, but no member directory holds any of it: mount the disks; nothing was changed")
	if after := fs.String(); after != before {
		t.Errorf("what was changed:\n%s\nbefore:\n%s", after, before)
	}

	// With the disks mounted it opens; so do new members when the index is moved away.
	for _, m := range o.Members {
		if err := errors.Join(fs.RemoveAll(m.Dir), fs.Rename(m.Dir+"-disk", m.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckMembers(o); err != nil {
		t.Error(err)
	}
	s = openTest(t, o)
	wantRead(t, s, v, GenHead, 0, p)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fresh := testOptions(fs, 3)
	fresh.Dir = "index-2"
	for i := range fresh.Members {
		fresh.Members[i].Dir += "-new"
	}
	openTest(t, fresh)
}

// TestMembersGoneAfterCrash does the same after a crash of a store that was just created: its index knows of it already.
func TestMembersGoneAfterCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := openTest(t, testOptions(mem, 2))
	newVolume(t, s)
	fs := mem.CrashClone(vfs.CrashCloneCfg{})
	o := testOptions(fs, 2)
	openTest(t, o).Close()
	fs = mem.CrashClone(vfs.CrashCloneCfg{})
	o = testOptions(fs, 2)
	for _, m := range o.Members {
		if err := fs.RemoveAll(m.Dir); err != nil {
			t.Fatal(err)
		}
	}
	wantOpenError(t, o, nil, "knows a store of 1 record")
}

// TestInUse opens a store twice.
func TestInUse(t *testing.T) {
	o := testOptions(vfs.NewMem(), 2)
	s := openTest(t, o)
	newVolume(t, s)
	wantInUse := func(o Options, want string) {
		t.Helper()
		if s, err := Open(o); err == nil {
			s.Close()
			t.Errorf("opened, want %q", want)
		} else if err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	wantInUse(o, "member replica-1 is in use by another process: stop it first")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := o.FS.Lock("index/LOCK")
	if err != nil {
		t.Fatal(err)
	}
	wantInUse(o, "index index is in use by another process: stop it first")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenOptions checks that what is missing is named.
func TestOpenOptions(t *testing.T) {
	f := func(change func(o *Options), want string) {
		t.Helper()
		o := testOptions(vfs.NewMem(), 1)
		change(&o)
		if s, err := Open(o); err == nil {
			s.Close()
			t.Errorf("opened, want an error about %s", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about %s", err, want)
		}
	}
	f(func(o *Options) { o.Dir = "" }, "Dir")
	f(func(o *Options) { o.Members = nil }, "Members")
	f(func(o *Options) { o.MemTableBytes = -1 }, "MemTableBytes")
	f(func(o *Options) { o.Rand = strings.NewReader("too short") }, "header of a new store")
}

// TestForeignLog opens logs whose records are not a page store's, or of a later format.
func TestForeignLog(t *testing.T) {
	f := func(want string, metas ...[]byte) {
		t.Helper()
		o := testOptions(vfs.NewMem(), 1)
		log, err := replication.Open(o.Members, o.Log)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metas {
			if _, err := log.Append(&replication.Record{Meta: m}); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(o); err == nil {
			s.Close()
			t.Errorf("opened, want %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if s, err := OpenReadOnly(o); err == nil {
			s.Close()
			t.Errorf("opened to look at, want %q", want)
		} else if len(metas) == 1 && (!strings.Contains(err.Error(), want) || errors.Is(err, ErrIndexUnusable)) {
			t.Errorf("looked at: %v, want %q", err, want) // and no promise of another index
		}
	}
	header := genesis{limits: defaultLimits}
	first := header.append(nil)
	changed := func(at int, by byte) []byte {
		p := append([]byte(nil), first...)
		p[at] += by
		return p
	}
	f("not the store's header", []byte("something else"))
	f("format 3, this build reads format 2", changed(1, 1))
	f("format 1, this build reads format 2", changed(1, 255))
	f("keys are sealed with cipher 2", changed(23, 2))
	f("keys are sealed by master key none", changed(23, 1))
	f("pages, chunks and regions of 512, 4097 and 65536", changed(7, 1))
	f("record 2: ", first, first)
	f("record 2: ", first, []byte{recordCommit, 99})
	f("session 2, want 1", first, append([]byte{recordCommit}, samples()["op session"]...))
	f("no such volume", first, append([]byte{recordCommit}, appendVolumeOp(nil, opFreeze, 1, 1)...))
	created := append([]byte{recordCommit}, appendVolumeOp(nil, opCreate, 1)...)
	f("no such generation", first, created, append([]byte{recordCommit}, appendVolumeOp(nil, opThaw, 1, 1)...))
	f("no such volume", first, created, append([]byte{recordCommit}, appendVolumeOp(appendVolumeOp(nil, opDrop, 1), opFreeze, 1, 1)...))
	f("reap beside other operations", first, created, append([]byte{recordCommit}, appendDeleteOp(appendReapOp(nil, 1, 0, 1, 1), nil)...))
	f("reap beside other operations", first, created, append([]byte{recordCommit}, appendReapOp(appendDeleteOp(nil, nil), 1, 0, 1, 1)...))
	f("volume 2 created, want 1", first, append([]byte{recordCommit}, appendVolumeOp(nil, opCreate, 2)...))
	f("frame 300, want 1", first, append([]byte{recordCommit}, samples()["op frame"]...))
}

// TestReplayInOneBatch applies records one by one, and then again all at once, to an index that already holds rows of the
// volume. What a batch must know of itself: that rows were deleted, that there is nothing left to erase, that the
// generation has moved on.
func TestReplayInOneBatch(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs, 1)
	o.passive = true
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	p := randomBytes(rng, 4*pagemap.RegionBytes)
	var v VolumeID
	prepare := func() {
		v = newVolume(t, s)
		write(t, s, v, 0, p)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := fs.RemoveAll("old"); err != nil {
			t.Fatal(err)
		}
		if _, err := vfs.Clone(fs, fs, o.Dir, "old"); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, o)
	}
	again := func() {
		t.Helper()
		want := allRows(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := fs.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
		if _, err := vfs.Clone(fs, fs, "old", o.Dir); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, o)
		sameRows(t, allRows(t, s), want)
	}
	do := func(fn func(tx *Tx) error) { t.Helper(); update(t, s, fn) }
	freeze := func() { t.Helper(); do(func(tx *Tx) error { _, err := tx.Freeze(v); return err }) }
	truncate := func(from PageNo) { t.Helper(); do(func(tx *Tx) error { return tx.Truncate(v, from) }) }

	prepare() // nothing is left after a truncation, so that the next one erases nothing
	truncate(0)
	freeze()
	truncate(0)
	truncate(5)
	again()

	prepare() // a write after a truncation does not find what was there
	truncate(100)
	write(t, s, v, 130, p[:PageSize])
	freeze()
	write(t, s, v, 131, p[:PageSize])
	truncate(131)
	do(func(tx *Tx) error { return tx.Clear(v, Range{0, 200}) })
	write(t, s, v, 10, p[:PageSize])
	again()
	wantRead(t, s, v, 2, 0, append(append(append([]byte(nil), p[:100*PageSize]...), make([]byte, 30*PageSize)...), p[:PageSize]...))
	wantRead(t, s, v, GenHead, 0, append(make([]byte, 10*PageSize), p[:PageSize]...))

	prepare() // a dropped volume leaves nothing
	freeze()
	write(t, s, v, 10, p[:PageSize])
	truncate(300)
	do(func(tx *Tx) error { return tx.Drop(v) })
	again()

	reap := func() {
		t.Helper()
		if err := s.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	thaw := func(g Gen) { t.Helper(); do(func(tx *Tx) error { return tx.Thaw(v, g) }) }
	prepare() // a generation that comes and goes, and a pass in between
	freeze()
	write(t, s, v, 10, p[:PageSize])
	freeze()
	truncate(50)
	thaw(1)
	write(t, s, v, 60, p[:PageSize])
	freeze()
	thaw(4)
	reap()
	thaw(2)
	do(func(tx *Tx) error { return tx.Clear(v, AllPages) })
	write(t, s, v, 10, p[:PageSize])
	do(func(tx *Tx) error { return tx.Clear(v, Range{0, 100}) })
	reap()
	write(t, s, v, 300, p[:PageSize])
	again()

	prepare() // an entry that comes and goes while something below it is frozen, or nothing is
	truncate(0)
	freeze()
	write(t, s, v, 10, p[:PageSize])
	do(func(tx *Tx) error { return tx.Clear(v, Range{10, 11}) })
	write(t, s, v, 12, p[:PageSize])
	write(t, s, v, 1000, p[:PageSize])
	do(func(tx *Tx) error { return tx.Clear(v, Range{1000, 1001}) })
	write(t, s, v, 1002, p[:PageSize])
	again()
}
