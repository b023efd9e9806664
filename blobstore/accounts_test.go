package blobstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// openApart returns a service in which each account has directories of its own.
func openApart(t *testing.T, accounts ...AccountOptions) *Service {
	t.Helper()
	fs := vfs.NewMem()
	s, err := Open(Options{Accounts: accounts, Store: func(name string) (pagestore.Options, error) {
		if name == "nowhere" {
			return pagestore.Options{}, errors.New("no disk")
		}
		o := (&fixture{fs: fs}).storeOptions()
		o.Dir = name + "-" + o.Dir
		for i := range o.Members {
			o.Members[i].Dir = name + "-" + o.Members[i].Dir
		}
		return o, nil
	}})
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func noCommit() error { return nil }

// TestAddAccount: an account that is added is there once it is noted, and not otherwise.
func TestAddAccount(t *testing.T) {
	s := openApart(t, AccountOptions{Name: "one", Keys: [][]byte{{1}}})
	before := s.Accounts()
	refused := errors.New("no")
	if err := s.Add(AccountOptions{Name: "two", Keys: [][]byte{{2}}}, func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("not noted: %v", err)
	}
	if _, found := s.Account("two"); found {
		t.Error("an account is there that was not noted")
	}
	ok(t, s.Add(AccountOptions{Name: "two", Keys: [][]byte{{2}}}, func() error {
		if _, found := s.Account("two"); found {
			t.Error("it is there before it is noted")
		}
		return nil
	}))
	two, _ := s.Account("two")
	must(t)(two.CreateContainer("cont", nil))
	if len(before) != 1 || len(s.Accounts()) != 2 || s.Accounts()[1] != two {
		t.Errorf("accounts: %d before, %d now", len(before), len(s.Accounts()))
	}
	for name, want := range map[string]error{"two": ErrRefused, "nowhere": nil, "": nil} {
		err := s.Add(AccountOptions{Name: name, Keys: [][]byte{{2}}}, noCommit)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// TestChangeAccount: keys and limits change while the account is used.
func TestChangeAccount(t *testing.T) {
	s := openApart(t, AccountOptions{Name: "one", Keys: [][]byte{{1}}})
	a, _ := s.Account("one")
	held := a.Signing()
	ok(t, a.SetKeys([][]byte{{7}, {8}}))
	if len(held.Keys) != 1 || len(a.Signing().Keys) != 2 || a.Signing().Keys[1][0] != 8 || a.Signing().Name != "one" {
		t.Errorf("keys: %v, before %v", a.Signing(), held)
	}
	for _, bad := range [][][]byte{nil, {{}}, {{1}, {}}, {{1}, {2}, {3}}} {
		if a.SetKeys(bad) == nil {
			t.Errorf("%v is taken for keys", bad)
		}
	}
	ok(t, a.SetLimits(Limits{TotalBytes: 3 << 20, DataBytes: 8, MetadataBytes: 2 << 20}))
	u, err := a.Usage()
	ok(t, err)
	equal(t, "limit", u.Limits.DataBytes, 8)
	must(t)(a.CreateContainer("cont", nil))
	must(t)(a.CreatePageBlob(ref("b"), &CreatePageBlob{Size: 1 << 20}))
	write := func() error {
		data := make([]byte, 64<<10)
		for i := range data {
			data[i] = byte(i * i >> 3)
		}
		_, err := a.PutPages(ref("b"), &PutPages{Range: header.Range{End: int64(len(data))}, Body: data})
		return err
	}
	wantCode(t, "beyond the limit", write(), azerr.AccountCapacityExceeded)
	if err := a.SetLimits(Limits{DataBytes: 8}); err == nil {
		t.Error("half a limit is taken for one")
	}
	ok(t, a.SetLimits(Limits{}))
	ok(t, write())
}

// TestRemoveAccount: an account goes when nobody uses it, and only if it is empty or that does not count.
func TestRemoveAccount(t *testing.T) {
	s := openApart(t, AccountOptions{Name: "one", Keys: [][]byte{{1}}}, AccountOptions{Name: "two", Keys: [][]byte{{2}}})
	a, _ := s.Account("one")
	must(t)(a.CreateContainer("cont", nil))
	remove := func(ctx context.Context, filled bool, commit func() error) error {
		closed, err := s.Remove(ctx, Removal{Name: "one", Filled: filled, Commit: commit})
		if closed != (err == nil) {
			t.Errorf("closed is %v with %v", closed, err)
		}
		return err
	}
	background := context.Background()
	if err := remove(background, false, noCommit); !errors.Is(err, ErrRefused) {
		t.Errorf("with containers: %v", err)
	}
	if !a.Enter() {
		t.Fatal("after a refusal nobody may use it")
	}
	ended, end := context.WithCancel(background)
	end()
	if err := remove(ended, true, noCommit); !errors.Is(err, ErrNotNow) {
		t.Errorf("in use: %v", err)
	}
	failed := errors.New("disk")
	a.Leave()
	if err := remove(background, true, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("not noted: %v", err)
	}
	if !a.Enter() {
		t.Fatal("it is gone although that was not noted")
	}
	a.Leave()

	// What may be noted is as good as gone: nothing is acknowledged any more. Another try finds it closed already.
	if err := remove(background, true, func() error { return ErrUncertain }); !errors.Is(err, ErrUncertain) {
		t.Errorf("uncertain: %v", err)
	}
	if a.Enter() {
		t.Fatal("it is used while the next start may remove it")
	}
	if err := remove(background, true, func() error { return failed }); !errors.Is(err, failed) || a.Enter() {
		t.Errorf("uncertain and then failed: %v", err)
	}
	if !a.Look() {
		t.Fatal("nobody may look at it before it is gone")
	}
	a.Leave()
	ok(t, remove(background, true, func() error {
		if _, found := s.Account("one"); !found {
			t.Error("it is gone before that is noted")
		}
		return nil
	}))
	if _, found := s.Account("one"); found || a.Enter() || a.Look() || len(s.Accounts()) != 1 || len(s.Health()) != 1 {
		t.Error("it is still there")
	}
	if err := remove(background, true, noCommit); !errors.Is(err, ErrRefused) {
		t.Errorf("removed twice: %v", err)
	}
	ok(t, s.Close())
	if _, err := s.Remove(background, Removal{Name: "two", Commit: noCommit}); !errors.Is(err, ErrNotNow) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Add(AccountOptions{Name: "three", Keys: [][]byte{{1}}}, noCommit); !errors.Is(err, ErrNotNow) {
		t.Errorf("after Close: %v", err)
	}
	s.directory.Store(newDirectory(nil)) // it is closed already
}

// TestRemoveUnderUse: whoever got in uses a store that is open, however many come and go while the account is removed.
func TestRemoveUnderUse(t *testing.T) {
	s := openApart(t, AccountOptions{Name: "one", Keys: [][]byte{{1}}}, AccountOptions{Name: "two", Keys: [][]byte{{1}}})
	a, _ := s.Account("one")
	must(t)(a.CreateContainer("cont", nil))
	var users sync.WaitGroup
	var used atomic.Int64
	begun := make(chan struct{}, 8)
	for i := range 8 {
		users.Go(func() {
			for n := 0; i%2 == 0 || n < 100; n++ { // those who look do so now and then: the removal waits for a moment without any
				b, found := s.Account("one")
				enter := b.Enter
				if i%2 == 1 && found {
					enter = b.Look
				}
				if !found || !enter() {
					return
				}
				if _, err := b.ContainerInfo("cont", ""); err != nil {
					t.Errorf("in use: %v", err)
				}
				s.Health()
				b.Leave()
				used.Add(1)
				if n == 0 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-begun
	}
	closed, err := s.Remove(context.Background(), Removal{Name: "one", Filled: true, Commit: noCommit})
	if !closed || err != nil {
		t.Errorf("removed: %v, %v", closed, err)
	}
	users.Wait()
	if used.Load() < 8 || len(s.Health()) != 1 {
		t.Errorf("%d uses, %d accounts", used.Load(), len(s.Health()))
	}
}

// TestRemoveImmutable: an account goes only when nothing is left where there is immutable storage, whatever else it has.
func TestRemoveImmutable(t *testing.T) {
	s := openApart(t, AccountOptions{Name: "one", Keys: [][]byte{{1}}, Immutable: ImmutableStorage{All: true}})
	a, _ := s.Account("one")
	must(t)(a.CreateContainer("cont", nil))
	must(t)(a.CreatePageBlob(ref("b"), &CreatePageBlob{Size: PageSize}))
	committed := false
	removal := Removal{Name: "one", Filled: true, Commit: func() error { committed = true; return nil }}
	closed, err := s.Remove(context.Background(), removal)
	if closed || committed || !errors.Is(err, ErrRefused) {
		t.Errorf("with a blob: %v, %v, %v", closed, committed, err)
	}
	if !a.Enter() {
		t.Fatal("after a refusal nobody may use it")
	}
	a.Leave()
	ok(t, a.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	if closed, err := s.Remove(context.Background(), removal); !closed || err != nil {
		t.Errorf("without: %v, %v", closed, err)
	}
}

// heldIn is a source in an account that gives nothing before the copy is ended.
type heldIn struct {
	*heldSource
	*accountSource
}

func (s heldIn) Pages(ctx context.Context, marker string) ([]PageEntry, string, error) {
	return s.heldSource.Pages(ctx, marker)
}

func (s heldIn) ReadPages(ctx context.Context, p []byte, off int64) error {
	return s.heldSource.ReadPages(ctx, p, off)
}

// TestRemoveUnderCopies: pending copies from and to an account that is removed fail, and do not keep it; others go on.
func TestRemoveUnderCopies(t *testing.T) {
	s := openApart(t, AccountOptions{Name: "one", Keys: [][]byte{{1}}}, AccountOptions{Name: "two", Keys: [][]byte{{2}}})
	one, _ := s.Account("one")
	two, _ := s.Account("two")
	copying := func(to *Account, name string, from *Account) *heldSource {
		source := newHeldSource()
		must(t)(to.StartCopy(ref(name), &StartCopy{Size: 8 * PageSize, Source: heldIn{source, &accountSource{from: from}}, SourceURL: "http://x/y"}))
		<-source.asked
		return source
	}
	must(t)(one.CreateContainer("cont", nil))
	must(t)(two.CreateContainer("cont", nil))
	copying(one, "to it", two)
	copying(two, "from it", one)
	other := copying(two, "of others", two)
	failed := errors.New("disk")
	if closed, err := s.Remove(context.Background(), Removal{Name: "one", Filled: true, Commit: func() error {
		for _, a := range []*Account{one, two} {
			for _, name := range []string{"to it", "from it"} {
				info, err := a.BlobInfo(ref(name), &Access{})
				if err == nil && (info.Copy.Status != CopyFailed || info.Copy.Description != accountWent) {
					t.Errorf("%s: %+v", name, info.Copy)
				}
			}
		}
		return failed
	}}); closed || !errors.Is(err, failed) {
		t.Errorf("not noted: %v, %v", closed, err)
	}
	copying(two, "from it", one) // it is there still
	if closed, err := s.Remove(context.Background(), Removal{Name: "one", Filled: true, Commit: noCommit}); !closed || err != nil {
		t.Fatalf("removed: %v, %v", closed, err)
	}
	equal(t, "why", value(two.BlobInfo(ref("from it"), &Access{}))(t).Copy.Description, accountWent)
	equal(t, "another", value(two.BlobInfo(ref("of others"), &Access{}))(t).Copy.Status, CopyPending)
	other.give <- nil
	other.give <- nil
	two.pendings.worker.Wait()
	equal(t, "its end", value(two.BlobInfo(ref("of others"), &Access{}))(t).Copy.Status, CopySuccess)
}
