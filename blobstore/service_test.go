package blobstore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmlbody"
	"pagevault/pagestore"
)

func TestOpenRefused(t *testing.T) {
	store := func(string) (pagestore.Options, error) {
		o := (&fixture{fs: vfs.NewMem()}).storeOptions()
		return o, nil
	}
	one := AccountOptions{Name: "a", Keys: [][]byte{{1}}}
	f := func(what string, o Options, want string) {
		t.Helper()
		s, err := Open(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want something with %q", what, err, want)
		}
		if err == nil {
			s.Close()
		}
	}
	f("no store", Options{}, "Store")
	f("odd limit", Options{Store: store, MaxPageBlob: 513}, "MaxPageBlob")
	f("limit above Azure's", Options{Store: store, MaxPageBlob: 8<<40 + 512}, "MaxPageBlob")
	f("no name", Options{Store: store, Accounts: []AccountOptions{{Keys: [][]byte{{1}}}}}, "name")
	f("no keys", Options{Store: store, Accounts: []AccountOptions{{Name: "a"}}}, "keys")
	f("three keys", Options{Store: store, Accounts: []AccountOptions{{Name: "a", Keys: [][]byte{{1}, {2}, {3}}}}}, "keys")
	f("twice", Options{Store: store, Accounts: []AccountOptions{one, one}}, "account a: given twice")
	f("store", Options{Accounts: []AccountOptions{one}, Store: func(string) (pagestore.Options, error) {
		return pagestore.Options{}, errors.New("no disk")
	}}, "account a: no disk")
}

// TestAccountsApart: two accounts share nothing.
func TestAccountsApart(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(Options{
		Accounts: []AccountOptions{{Name: "one", Keys: [][]byte{{1}}}, {Name: "two", Keys: [][]byte{{2}, {3}}}},
		Store: func(name string) (pagestore.Options, error) {
			o := (&fixture{fs: fs}).storeOptions()
			o.Dir = name + "-" + o.Dir
			for i := range o.Members {
				o.Members[i].Dir = name + "-" + o.Members[i].Dir
			}
			return o, nil
		},
	})
	ok(t, err)
	defer func() { ok(t, s.Close()) }()
	one, _ := s.Account("one")
	two, _ := s.Account("two")
	if _, found := s.Account("three"); found || len(s.Accounts()) != 2 || s.Accounts()[1] != two {
		t.Error("accounts are not those of the options")
	}
	equal(t, "name", two.Name(), "two")
	equal(t, "keys", len(two.Signing().Keys), 2)
	must(t)(one.CreateContainer("cont", nil))
	_, err = two.ContainerInfo("cont", "")
	wantCode(t, "the other's container", err, azerr.ContainerNotFound)
	_, err = one.CreatePageBlob(ref("b"), &CreatePageBlob{Size: 1<<40 + 512})
	wantCode(t, "above the default limit", err, azerr.RequestBodyTooLarge)
	must(t)(one.CreatePageBlob(ref("b"), &CreatePageBlob{Size: 1 << 40}))
}

func TestServiceProperties(t *testing.T) {
	f := newBareFixture(t, nil)
	want := xmlbody.DefaultServiceProperties()
	check := func(what string) {
		t.Helper()
		got := value(f.ServiceProperties())(t)
		equal(t, what, string(xmlbody.AppendServiceProperties(nil, &got)), string(xmlbody.AppendServiceProperties(nil, &want)))
	}
	check("never set")
	version := "2021-12-02"
	ok(t, f.SetServiceProperties(&xmlbody.ServicePropertiesUpdate{DefaultServiceVersion: &version}))
	want.DefaultServiceVersion = version
	check("set")
	ok(t, f.SetServiceProperties(&xmlbody.ServicePropertiesUpdate{Logging: &xmlbody.Logging{Version: "2.0"}}))
	want.Logging.Version = "2.0"
	check("another set")
	err := f.SetServiceProperties(&xmlbody.ServicePropertiesUpdate{HourMetrics: &xmlbody.Metrics{Version: "1.0", Enabled: true}})
	wantCode(t, "what nobody carries out", err, azerr.UnsupportedXmlNode)
	f.reopen()
	check("opened again")
}

// TestDamagedRows: a row that makes no sense is an error of ours with a cause, never an answer.
func TestDamagedRows(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	s := f.snapshot("b")
	damage := func(key []byte) {
		t.Helper()
		ok(t, f.update(func(tx *pagestore.Tx) error {
			tx.Set(key, []byte{99})
			return nil
		}))
	}
	check := func(what string, err error) {
		t.Helper()
		wantCode(t, what, err, azerr.InternalError)
		if !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("%s: the cause is lost: %v", what, err)
		}
	}
	damage(propertiesKey)
	check("service properties", second(f.ServiceProperties()))
	damage(appendBlobKey(nil, 1, "b", 0))
	for _, c := range append(append([]call{snapshotCall}, readCalls...), writeCalls...) {
		check(c.name, c.do(f, Access{}))
	}
	check("list", second(f.ListBlobs("cont", &ListBlobsRequest{})))
	check("delete snapshot", f.DeleteBlob(snap("b", s), &Access{}, SnapshotsNone))
	damage(appendContainerKey(nil, "cont"))
	check("container", second(f.ContainerInfo("cont", "")))
	check("list", second(f.ListContainers(&ListContainersRequest{})))
	check("create", second(f.CreateContainer("cont", nil)))
	damage(nextIDKey)
	check("create", second(f.CreateContainer("other", nil)))
}

// TestDamagedPages: damaged bytes are read from a copy that is whole; without one, reading is an error.
func TestDamagedPages(t *testing.T) {
	f := newBareFixture(t, func(o *pagestore.Options) { o.Log.Passive = true }) // what was damaged stays so
	must(t)(f.CreateContainer("cont", nil))
	r := seeded(t)
	f.create("b", 64)
	body := make([]byte, 64*PageSize)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	must(t)(f.PutPages(ref("b"), &PutPages{Range: header.Range{End: 64 * PageSize}, Body: body}))
	for member := 1; member <= 3; member++ {
		if got := f.content(ref("b")); !bytes.Equal(got, body) {
			t.Errorf("with %d members damaged other bytes are read", member-1)
		}
		f.damage(fmt.Sprintf("member-%d", member), body[10_000:10_064])
	}
	reader := value(f.OpenBlob(ref("b"), &Access{}))(t)
	defer reader.Close()
	_, err := reader.ReadAt(make([]byte, len(body)), 0)
	wantCode(t, "all copies damaged", err, azerr.InternalError)
	if !errors.Is(err, pagestore.ErrCorrupt) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// damage changes a byte of what a member stores, where the sample is.
func (f *fixture) damage(dir string, sample []byte) {
	f.t.Helper()
	for _, name := range value(f.fs.List(dir))(f.t) {
		path := f.fs.PathJoin(dir, name)
		file := value(f.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified))(f.t)
		p := make([]byte, value(file.Stat())(f.t).Size())
		if len(p) > 0 {
			must(f.t)(file.ReadAt(p, 0))
		}
		at := bytes.Index(p, sample)
		if at >= 0 {
			must(f.t)(file.WriteAt([]byte{p[at] ^ 1}, int64(at)))
		}
		ok(f.t, file.Close())
		if at >= 0 {
			return
		}
	}
	f.t.Fatalf("%s does not hold the sample as it is: this test must find it some other way", dir)
}

// TestMiscounted: counts that do not fit the rows stop what relies on them.
func TestMiscounted(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	s1 := f.snapshot("b")
	f.snapshot("b")
	f.create("b", 1)
	remove := func(key []byte) {
		t.Helper()
		ok(t, f.update(func(tx *pagestore.Tx) error {
			tx.Delete(key)
			return nil
		}))
	}
	remove(appendVolumeKey(nil, 1))
	err := f.DeleteBlob(snap("b", s1), &Access{}, SnapshotsNone)
	wantCode(t, "count of the volume is missing", err, azerr.InternalError)
	id, _ := parseSnapshot(s1)
	remove(appendBlobKey(nil, 1, "b", id))
	err = f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude)
	wantCode(t, "a snapshot is missing", err, azerr.InternalError)
	remove(appendBlobKey(nil, 1, "b", 0))
	f.create("c", 1)
	s := f.snapshot("c")
	remove(appendBlobKey(nil, 1, "c", 0))
	err = f.DeleteBlob(snap("c", s), &Access{}, SnapshotsNone)
	wantCode(t, "the blob of a snapshot is missing", err, azerr.InternalError)
}

// TestMembersFail: a store of which one member fails goes on; when too many do, it answers ServerBusy to writes and goes on
// reading.
func TestMembersFail(t *testing.T) {
	var one, broken atomic.Bool
	disk := errors.New("the disk is gone")
	failing := errorfs.InjectorFunc(func(op errorfs.Op) error {
		second, third := strings.HasPrefix(op.Path, "member-2"), strings.HasPrefix(op.Path, "member-3")
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && (second && one.Load() || (second || third) && broken.Load()) {
			return disk
		}
		return nil
	})
	f := newBareFixture(t, func(o *pagestore.Options) {
		for i := range o.Members {
			o.Members[i].FS = errorfs.Wrap(o.Members[i].FS, failing)
		}
	})
	must(t)(f.CreateContainer("cont", nil))
	f.create("b", 1)
	f.put("b", 0, 1, 'z')
	one.Store(true)
	f.put("b", 0, 1, 'a')
	broken.Store(true)
	for _, c := range append([]call{snapshotCall}, writeCalls...) {
		err := c.do(f, Access{})
		wantCode(t, c.name, err, azerr.ServerBusy)
		if !errors.Is(err, pagestore.ErrUnavailable) || !strings.Contains(err.Error(), disk.Error()) {
			t.Errorf("%s: the cause is lost: %v", c.name, err)
		}
	}
	equal(t, "reads go on", f.letters(ref("b")), "a")
	_ = f.svc.Close() // says what is broken, as it should
	f.svc = nil

	// The disks come back. Of what was refused the first, the snapshot, had reached other members and may have happened;
	// nothing after it has.
	one.Store(false)
	broken.Store(false)
	f.open()
	equal(t, "content", f.letters(ref("b")), "a")
	if n := f.rowCount(tableBlob); n != 1 && n != 2 {
		t.Errorf("%d rows of blobs", n)
	}
	f.put("b", 0, 1, 'b')
}

// TestUnavailable: what a store says while too few of its members can be written is ServerBusy, on whichever way it comes,
// and the cause is kept for the log.
func TestUnavailable(t *testing.T) {
	f := newFixture(t)
	ok(t, f.Available())
	halted := fmt.Errorf("update of 512 bytes: %w", pagestore.ErrUnavailable)
	for what, err := range map[string]error{
		"update":            f.update(func(*pagestore.Tx) error { return halted }),
		"view":              f.view(func(*pagestore.View) error { return halted }),
		"update of a quota": f.coded(halted),
		"Available":         coded(halted),
	} {
		wantCode(t, what, err, azerr.ServerBusy)
		if !errors.Is(err, pagestore.ErrUnavailable) {
			t.Errorf("%s: the cause is lost: %v", what, err)
		}
	}
}

// TestClosed: what comes after Close is refused, not a crash.
func TestClosed(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	a := f.Account
	f.close()
	_, err := a.BlobInfo(ref("b"), &Access{})
	wantCode(t, "read", err, azerr.ServerBusy)
	_, err = a.PutPages(ref("b"), putReq(0, 1, 'a'))
	wantCode(t, "write", err, azerr.ServerBusy)
	_, err = a.OpenBlob(ref("b"), &Access{})
	wantCode(t, "open", err, azerr.ServerBusy)
}
