package blobstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/clock"
	"pagevault/pagestore"
	"pagevault/replication"
)

// fixture is a service with one account, "acct", on file systems in memory and a clock that the test sets.
type fixture struct {
	*Account
	t             testing.TB
	fs            vfs.FS
	clock         *clock.Manual
	svc           *Service
	reaped        chan Reaped
	tune          func(*pagestore.Options)
	by            clock.Clock           // what the service reads; nil: clock. Counts when it is opened
	with          func(*AccountOptions) // may change the options of the account. Counts when it is opened
	versioningOff int                   // how often it was opened without the versioning that it had

	containerDays int
	onExpired     func(n int) // called as Events.Expired is; nil: not
}

// newFixture opens a service with an empty container "cont".
func newFixture(t testing.TB) *fixture {
	f := newBareFixture(t, nil)
	must(t)(f.CreateContainer("cont", nil))
	return f
}

// newBareFixture opens a service with nothing in it. tune may change the options of the store.
func newBareFixture(t testing.TB, tune func(*pagestore.Options)) *fixture {
	t.Helper()
	f := &fixture{
		t:      t,
		fs:     vfs.NewCrashableMem(),
		clock:  clock.NewManual(goldenTime),
		reaped: make(chan Reaped, 100),
		tune:   tune,
	}
	f.open()
	t.Cleanup(func() {
		if f.svc != nil {
			f.close()
		}
	})
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	account := AccountOptions{Name: "acct", Keys: [][]byte{[]byte("key")}}
	if f.with != nil {
		f.with(&account)
	}
	by := f.by
	if by == nil {
		by = f.clock
	}
	svc, err := Open(Options{
		Clock:       by,
		MaxPageBlob: 1 << 30,

		ContainerDays: f.containerDays,
		Accounts:      []AccountOptions{account},
		Store:         func(string) (pagestore.Options, error) { return f.storeOptions(), nil },
		Events: &Events{
			Reaped:        func(_ string, r Reaped) { f.reaped <- r },
			VersioningOff: func(string) { f.versioningOff++ },
			ReapFailed:    func(_ string, err error) { f.t.Errorf("reaper: %v", err) },
			Expired: func(_ string, n int) {
				if f.onExpired != nil {
					f.onExpired(n)
				}
			},
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.svc = svc
	f.Account, _ = svc.Account("acct")
}

func (f *fixture) storeOptions() pagestore.Options {
	o := pagestore.Options{FS: f.fs, Dir: "index", MemTableBytes: 1 << 20,
		Log: replication.Options{StallAfter: time.Minute}} // a busy machine is no slow disk
	for i := range 3 {
		o.Members = append(o.Members, replication.Member{FS: f.fs, Dir: fmt.Sprintf("member-%d", i+1)})
	}
	if f.tune != nil {
		f.tune(&o)
	}
	return o
}

func (f *fixture) close() {
	f.t.Helper()
	if err := f.svc.Close(); err != nil {
		f.t.Errorf("close: %v", err)
	}
	f.svc, f.Account = nil, nil
}

// reopen closes the service and opens it again on the same files.
func (f *fixture) reopen() {
	f.t.Helper()
	f.close()
	f.open()
}

// must fails the test if a call that returns something and an error has one.
func must(t testing.TB) func(_ any, err error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// value returns v, or fails the test.
func value[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantCode fails the test unless err has the code.
func wantCode(t testing.TB, what string, err error, want azerr.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %s", what, err, want.Wire())
	}
}

func ref(blob string) BlobRef { return BlobRef{Container: "cont", Blob: blob} }

func snap(blob, snapshot string) BlobRef {
	return BlobRef{Container: "cont", Blob: blob, Snapshot: snapshot}
}

// headers returns the named headers as a request has them.
func headers(t testing.TB, pairs ...string) *header.Set {
	t.Helper()
	var s header.Set
	for i := 0; i < len(pairs); i += 2 {
		ok(t, s.Add([]byte(pairs[i]), []byte(pairs[i+1])))
	}
	return &s
}

// with returns an Access with conditional headers.
func with(t testing.TB, pairs ...string) Access {
	t.Helper()
	return Access{Conditions: value(cond.Parse(headers(t, pairs...)))(t)}
}

// sequence returns conditions on the sequence number: sequence(t, "le", "5").
func sequence(t testing.TB, pairs ...string) cond.Sequence {
	t.Helper()
	full := make([]string, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		full[i], full[i+1] = "x-ms-if-sequence-number-"+pairs[i], pairs[i+1]
	}
	return value(cond.ParseSequence(headers(t, full...)))(t)
}

func holding(lease string) Access { return Access{LeaseID: lease} }

// create makes a page blob of so many pages in "cont".
func (f *fixture) create(name string, pages int64) Stamp {
	f.t.Helper()
	return value(f.CreatePageBlob(ref(name), &CreatePageBlob{Size: pages * PageSize}))(f.t)
}

// put writes pages [from, to), each filled with c.
func (f *fixture) put(name string, from, to int64, c byte) PutPagesResult {
	f.t.Helper()
	return value(f.PutPages(ref(name), putReq(from, to, c)))(f.t)
}

func putReq(from, to int64, c byte) *PutPages {
	return &PutPages{
		Range: header.Range{Start: from * PageSize, End: to * PageSize},
		Body:  bytes.Repeat([]byte{c}, int(to-from)*PageSize),
	}
}

// wipe clears pages [from, to).
func (f *fixture) wipe(name string, from, to int64) PutPagesResult {
	f.t.Helper()
	return value(f.ClearPages(ref(name), clearReq(from, to)))(f.t)
}

func clearReq(from, to int64) *ClearPages {
	return &ClearPages{Range: header.Range{Start: from * PageSize, End: to * PageSize}}
}

func (f *fixture) resize(name string, pages int64) SetPropertiesResult {
	f.t.Helper()
	return value(f.SetBlobProperties(ref(name), &SetProperties{Size: Given(pages * PageSize)}))(f.t)
}

// snapshot takes one and returns its id. A second passes before, so that ids can be told from entity tags.
func (f *fixture) snapshot(name string) string {
	f.t.Helper()
	f.clock.Advance(time.Second)
	return value(f.SnapshotBlob(ref(name), &Access{}, nil))(f.t).Snapshot
}

func (f *fixture) info(r BlobRef) BlobInfo {
	f.t.Helper()
	return value(f.BlobInfo(r, &Access{}))(f.t)
}

// content reads a whole blob or snapshot.
func (f *fixture) content(r BlobRef) []byte {
	f.t.Helper()
	reader := value(f.OpenBlob(r, &Access{}))(f.t)
	defer func() { ok(f.t, reader.Close()) }()
	p := make([]byte, reader.Info().Size)
	if len(p) == 0 {
		return nil
	}
	if n, err := reader.ReadAt(p, 0); n != len(p) || err != nil {
		f.t.Fatalf("%+v: read %d of %d bytes: %v", r, n, len(p), err)
	}
	return p
}

// letters shows a blob by the first byte of each page; pages of zeros are dots.
func (f *fixture) letters(r BlobRef) string {
	f.t.Helper()
	p := f.content(r)
	var out []byte
	for ; len(p) > 0; p = p[PageSize:] {
		c := p[0]
		if !bytes.Equal(p[:PageSize], bytes.Repeat([]byte{c}, PageSize)) {
			f.t.Fatalf("%+v: a page is of more than one write", r)
		}
		if c == 0 {
			c = '.'
		}
		out = append(out, c)
	}
	return string(out)
}

// ranges lists pages in the form "0-4 8-9 clear:10-12", numbers being pages.
func (f *fixture) ranges(r BlobRef, req PageRangesRequest) string {
	f.t.Helper()
	return entries(value(f.PageRanges(r, &req))(f.t).Entries)
}

func entries(list []PageEntry) string {
	var b bytes.Buffer
	for i, e := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		if e.Clear {
			b.WriteString("clear:")
		}
		fmt.Fprintf(&b, "%d-%d", e.Start/PageSize, e.End/PageSize)
	}
	return b.String()
}

func (f *fixture) diff(r BlobRef, prev string) string {
	f.t.Helper()
	return f.ranges(r, PageRangesRequest{PrevSnapshot: prev})
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// rowCount counts the rows of a table.
func (f *fixture) rowCount(table byte) (n int) {
	f.t.Helper()
	ok(f.t, f.scan([]byte{table}, []byte{table + 1}, func(it *pagestore.Iter) (bool, error) {
		n++
		return it.Next(), nil
	}))
	return n
}

var _ io.ReaderAt = (*Reader)(nil)

// setType changes the type of a blob behind everybody's back.
func (f *fixture) setType(name string, typ BlobType) {
	f.t.Helper()
	ok(f.t, f.update(func(tx *pagestore.Tx) error {
		var s scratch
		r := ref(name)
		_, row, err := s.findBlob(tx, &r, 0)
		if err != nil {
			return err
		}
		row.typ = typ
		tx.Set(s.key, row.append(nil))
		return nil
	}))
}

// acquire takes an infinite lease on a blob of "cont".
func acquire(t testing.TB, f *fixture, name, id string) {
	t.Helper()
	_, _, err := f.LeaseBlob(ref(name), lease.Request{Action: lease.Acquire, Proposed: id, Seconds: lease.Infinite}, cond.Conditions{})
	ok(t, err)
}

// volumes counts the volumes that the store still has, of those created in a small test.
func (f *fixture) volumes() (n int) {
	f.t.Helper()
	v := value(f.store.View())(f.t)
	defer v.Close()
	for id := pagestore.VolumeID(1); id < 100; id++ {
		err := v.Ranges(id, pagestore.GenHead, pagestore.Range{End: 1}, func(pagestore.Range) bool { return false })
		if err == nil {
			n++
		} else if !errors.Is(err, pagestore.ErrNoVolume) {
			f.t.Fatal(err)
		}
	}
	return n
}
