package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/server"
)

// bookOn opens a book and its service on a file system, as serve does with --memory.
func bookOn(t *testing.T, fs vfs.FS, bookFS vfs.FS, log *bytes.Buffer) *accountBook {
	t.Helper()
	home := &layout{fs: fs, index: "index", members: []string{"replica-1", "replica-2"}, unusable: make([]error, 2)}
	p := &plan{flags: new(serveFlags), log: slog.New(slog.NewTextHandler(log, nil)), source: sourceFlag,
		accounts: []blobstore.AccountOptions{{Name: "first", Keys: [][]byte{{1}}}}}
	key := &masterKey{key: testMaster}
	b, err := openAccountBook(p, home, key)
	if err != nil {
		t.Fatal(err)
	}
	b.fs = bookFS
	b.service, err = blobstore.Open(blobstore.Options{Accounts: p.accounts, Store: func(account string) (pagestore.Options, error) {
		o := home.store(account)
		o.MasterKey = testMaster
		return o, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holding returns which directories of an account have something in them.
func holding(t *testing.T, fs vfs.FS, account string) (dirs []string) {
	t.Helper()
	for _, dir := range []string{"replica-1", "replica-2", "index"} {
		if _, err := fs.Stat(fs.PathJoin(dir, account)); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// TestRemoveAccountCrash ends the machine before each step of a removal. Until it is noted the account has all it had; from
// then on it is gone, and the next start leaves nothing of it. Others are as they were.
func TestRemoveAccountCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var log bytes.Buffer
	rng := rand.New(rand.NewPCG(3, 4))
	type crashed struct {
		step string
		fs   vfs.FS
	}
	var clones []crashed
	stepping := false
	b := bookOn(t, mem, steppedFS(mem, func(op errorfs.Op) error {
		if stepping {
			for _, percent := range []int{0, 60} {
				clones = append(clones, crashed{fmt.Sprintf("step %d, %v %s, %d %%", len(clones)/2, op.Kind, op.Path, percent),
					mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})})
			}
		}
		return nil
	}), &log)
	add := &server.AccountChange{Name: "second", Keys: [][]byte{{2}}}
	if _, err := b.Add(context.Background(), add); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		a, _ := b.service.Account(name)
		if _, err := a.CreateContainer("cont", nil); err != nil {
			t.Fatal(err)
		}
	}
	stepping = true
	if _, err := b.Remove(context.Background(), &server.AccountChange{Name: "second", DeleteData: true, Again: "second"}); err != nil {
		t.Fatal(err)
	}
	stepping = false
	clones = append(clones, crashed{"the end", mem.CrashClone(vfs.CrashCloneCfg{})})
	if err := b.service.Close(); err != nil {
		t.Fatal(err)
	}
	if len(clones) < 20 {
		t.Fatalf("%d crashes were tried", len(clones))
	}
	stays, goes := 0, 0
	for _, c := range clones {
		log.Reset()
		b := bookOn(t, c.fs, c.fs, &log)
		first, _ := b.service.Account("first")
		if _, err := first.ContainerInfo("cont", ""); err != nil {
			t.Errorf("%s: the other account: %v", c.step, err)
		}
		if second, there := b.service.Account("second"); there {
			stays++
			if _, err := second.ContainerInfo("cont", ""); err != nil || goes > 0 {
				t.Errorf("%s: it is there, %v, after it was gone %d times", c.step, err, goes)
			}
		} else if goes++; len(holding(t, c.fs, "second")) > 0 || len(b.mu.entries) > 0 {
			t.Errorf("%s: it is gone, and there is %v and %v; the log: %s", c.step, holding(t, c.fs, "second"), b.mu.entries, &log)
		}
		if err := b.service.Close(); err != nil {
			t.Errorf("%s: %v", c.step, err)
		}
	}
	if stays == 0 || goes == 0 {
		t.Errorf("it stays %d times and goes %d times", stays, goes)
	}
}

// TestRemoveAccountFails fails each step of a removal. Either nothing has happened, or the account is gone and the same
// command, once the disk works, removes what is left.
func TestRemoveAccountFails(t *testing.T) {
	background := context.Background()
	remove := &server.AccountChange{Name: "second"}
	for fail := 1; ; fail++ {
		mem, n := vfs.NewMem(), 0
		failing := false
		var log bytes.Buffer
		b := bookOn(t, mem, steppedFS(mem, func(op errorfs.Op) error {
			if failing {
				if n++; n == fail {
					return errorfs.ErrInjected
				}
			}
			return nil
		}), &log)
		if _, err := b.Add(background, &server.AccountChange{Name: "second"}); err != nil {
			t.Fatal(err)
		}
		failing = true
		_, err := b.Remove(background, remove)
		failing = false
		if n < fail {
			if err != nil || fail < 10 {
				t.Fatalf("%d steps, %v", n, err)
			}
			b.service.Close()
			return
		}
		if err == nil {
			t.Fatalf("step %d fails, and the removal does not", fail)
		}
		a, there := b.service.Account("second")
		tomb := b.mu.entries["second"].removed
		if there == tomb {
			t.Errorf("step %d: it is there: %v, it is noted as gone: %v, %v", fail, there, tomb, err)
		}
		if there && errors.Is(err, blobstore.ErrUncertain) == a.Enter() {
			t.Errorf("step %d: %v, and who may enter does not fit that", fail, err)
		} else if there && !errors.Is(err, blobstore.ErrUncertain) {
			a.Leave()
		}
		if tomb {
			if _, err := b.Add(background, &server.AccountChange{Name: "second"}); !errors.Is(err, blobstore.ErrRefused) || !strings.Contains(err.Error(), "account remove second") {
				t.Errorf("step %d: added while something is left: %v", fail, err)
			}
		}
		if _, err := b.Remove(background, remove); err != nil || len(holding(t, mem, "second")) > 0 || len(b.mu.entries) > 0 {
			t.Errorf("step %d: again: %v, left: %v", fail, err, holding(t, mem, "second"))
		}
		if err := b.service.Close(); err != nil {
			t.Errorf("step %d: %v", fail, err)
		}
	}
}

// TestServedBeforeErased: an account of which a removal has left something is not served, whoever names it.
func TestServedBeforeErased(t *testing.T) {
	mem := vfs.NewMem()
	if err := writeAccounts(mem, accountsName, []entry{{name: "first", removed: true}}, &testMaster); err != nil {
		t.Fatal(err)
	}
	if err := mem.MkdirAll("replica-2/first", 0o777); err != nil {
		t.Fatal(err)
	}
	open := func(fs vfs.FS) error {
		home := &layout{fs: fs, index: "index", members: []string{"replica-1", "replica-2"}, unusable: make([]error, 2)}
		p := &plan{flags: new(serveFlags), log: slog.New(slog.DiscardHandler), source: sourceFlag,
			accounts: []blobstore.AccountOptions{{Name: "first", Keys: [][]byte{{1}}}}}
		_, err := openAccountBook(p, home, &masterKey{key: testMaster})
		return err
	}
	failing := steppedFS(mem, func(op errorfs.Op) error {
		if op.Path == "replica-2/first" {
			return errorfs.ErrInjected
		}
		return nil
	})
	if err := open(failing); err == nil || !strings.Contains(err.Error(), "account first was removed") {
		t.Errorf("with something left: %v", err)
	}
	if err := open(mem); err != nil {
		t.Errorf("with nothing left: %v", err)
	}
	if left := holding(t, mem, "first"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestPrivateFS: nobody but the owner can open a file from its first moment on, and one that is there is made anew.
func TestPrivateFS(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("older and longer"), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := privateFS{vfs.Default}.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "new" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestAddAccountFails fails each step of an addition and of a rotation: neither takes effect.
func TestAddAccountFails(t *testing.T) {
	background := context.Background()
	for fail := 1; fail <= 6; fail++ {
		mem, n := vfs.NewMem(), 0
		failing := false
		var log bytes.Buffer
		b := bookOn(t, mem, steppedFS(mem, func(op errorfs.Op) error {
			if failing {
				if n++; n == fail {
					return errorfs.ErrInjected
				}
			}
			return nil
		}), &log)
		failing = true
		_, err := b.Add(background, &server.AccountChange{Name: "second"})
		failing = false
		if _, there := b.service.Account("second"); there != (err == nil) || n >= fail == (err == nil) {
			t.Errorf("step %d: it is there: %v, %v", fail, there, err)
		}
		if err != nil {
			if _, err := b.Add(background, &server.AccountChange{Name: "second"}); err != nil {
				t.Fatalf("step %d: again: %v", fail, err)
			}
		}
		a, _ := b.service.Account("second")
		before := a.Signing()
		n, failing = 0, true
		_, err = b.Rotate(background, &server.AccountChange{Name: "second", Key: 2})
		failing = false
		if changed := a.Signing() != before; changed != (err == nil) || n >= fail == (err == nil) {
			t.Errorf("step %d: rotated: %v, %v", fail, changed, err)
		}
		if err := b.service.Close(); err != nil {
			t.Errorf("step %d: %v", fail, err)
		}
	}
}

// TestRotateKeepsOther: of two keys the other one stays, and an account with one key gets a second.
func TestRotateKeepsOther(t *testing.T) {
	var log bytes.Buffer
	mem := vfs.NewMem()
	b := bookOn(t, mem, mem, &log)
	defer b.service.Close()
	background := context.Background()
	if _, err := b.Add(background, &server.AccountChange{Name: "second", Keys: [][]byte{[]byte("old one")}}); err != nil {
		t.Fatal(err)
	}
	a, _ := b.service.Account("second")
	rotate := func(key int, given ...[]byte) *server.AccountChanged {
		t.Helper()
		done, err := b.Rotate(background, &server.AccountChange{Name: "second", Key: key, Keys: given})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	made := rotate(2)
	if keys := a.Signing().Keys; len(keys) != 2 || string(keys[0]) != "old one" || len(made.Made[0]) != accountKeyBytes || !bytes.Equal(keys[1], made.Made[0]) {
		t.Errorf("a second key: %q", keys)
	}
	if done := rotate(1, []byte("new one")); len(done.Made) != 0 {
		t.Error("a key that was given is told back")
	}
	if keys := a.Signing().Keys; string(keys[0]) != "new one" || !bytes.Equal(keys[1], made.Made[0]) {
		t.Errorf("the first key: %q", keys)
	}
	for _, bad := range []*server.AccountChange{{Name: "second"}, {Name: "second", Key: 3}, {Name: "second", Key: 1, Keys: [][]byte{{}}},
		{Name: "second", Key: 1, Keys: [][]byte{{1}, {2}}}, {Name: "second", Key: 2, Keys: [][]byte{[]byte("new one")}},
		{Name: "first", Key: 1}, {Name: "third", Key: 1}} {
		if _, err := b.Rotate(background, bad); !errors.Is(err, blobstore.ErrRefused) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if strings.Contains(log.String(), "new one") || strings.Contains(log.String(), "old one") {
		t.Errorf("keys are logged: %s", &log)
	}
}
