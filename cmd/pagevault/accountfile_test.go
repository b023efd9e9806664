package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/server"
)

// someAccounts are one of each kind.
func someAccounts() []entry {
	return []entry{
		{name: "bounded", keys: [][]byte{[]byte("one key")}, limits: &blobstore.Limits{TotalBytes: 1 << 30, DataBytes: 850 << 20, MetadataBytes: 150 << 20},
			rate: &server.Rate{Requests: 500, Bytes: 100 << 20}},
		{name: "gone", removed: true},
		{name: "plain", keys: [][]byte{bytes.Repeat([]byte{0xf1}, 64), bytes.Repeat([]byte{0xda}, 64)}},
		{name: "unbounded", keys: [][]byte{{0}}, limits: &blobstore.Limits{}, rate: &server.Rate{}},
	}
}

var testMaster = pagestore.MasterKey(bytes.Repeat([]byte{0x11}, 32))

// TestAccountsGolden: the bytes of the file, sealed and not, are those that docs/on-disk-format.md describes. With
// PAGEVAULT_REWRITE=1 it writes the golden files instead.
func TestAccountsGolden(t *testing.T) {
	salt := [32]byte(bytes.Repeat([]byte{0x5a}, 32))
	for name, master := range map[string]pagestore.MasterKey{"accounts-sealed": testMaster, "accounts-plain": {}} {
		got := encodeAccounts(someAccounts(), &master, salt)
		file := filepath.Join("testdata", name+".golden")
		text := []byte(hex.Dump(got))
		if os.Getenv("PAGEVAULT_REWRITE") == "1" {
			if err := os.WriteFile(file, text, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
		}
		entries, err := decodeAccounts(got, &master)
		if err != nil || !reflect.DeepEqual(entries, someAccounts()) {
			t.Errorf("%s: read as %+v, %v", name, entries, err)
		}
		if leaks := bytes.Contains(got, []byte("one key")) || bytes.Contains(got, []byte("plain")); leaks == (name == "accounts-sealed") {
			t.Errorf("%s: keys and names can be read: %v", name, leaks)
		}
	}
}

// TestAccountsDamaged: whatever is changed in a file, it is refused, and never taken for another one.
func TestAccountsDamaged(t *testing.T) {
	for _, master := range []pagestore.MasterKey{testMaster, {}} {
		p := encodeAccounts(someAccounts(), &master, [32]byte{7})
		for i := range p {
			for _, bit := range []byte{1, 0x80} {
				bad := bytes.Clone(p)
				bad[i] ^= bit
				if got, err := decodeAccounts(bad, &master); err == nil {
					t.Fatalf("byte %d ^ %#x: read as %+v", i, bit, got)
				}
			}
			if _, err := decodeAccounts(p[:i], &master); err == nil {
				t.Fatalf("cut off at %d: read", i)
			}
		}
		if _, err := decodeAccounts(append(bytes.Clone(p), 0), &master); err == nil {
			t.Error("a byte too much: read")
		}
	}
	f := func(want string, p []byte, master pagestore.MasterKey) error {
		t.Helper()
		_, err := decodeAccounts(p, &master)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		return err
	}
	sealed := encodeAccounts(someAccounts(), &testMaster, [32]byte{7})
	if err := f("is sealed with master key c9b9b79cd0c604fb, and the one that there is is none", sealed, pagestore.MasterKey{}); !errors.Is(err, pagestore.ErrWrongKey) {
		t.Errorf("no key: %v", err)
	}
	f("is sealed with master key", sealed, pagestore.MasterKey{1})
	f("is not sealed, and there is a master key", encodeAccounts(someAccounts(), &pagestore.MasterKey{}, [32]byte{}), testMaster)
	recount := func(p []byte) []byte {
		return binary.LittleEndian.AppendUint32(p[:len(p)-4], crc32.Checksum(p[:len(p)-4], accountsCRC))
	}
	forged := bytes.Clone(sealed)
	forged[60] ^= 1
	f("damaged or forged", recount(forged), testMaster)
	newer := bytes.Clone(sealed)
	newer[8] = 2
	f("has version 2 of its format", recount(newer), testMaster)

	// Bodies that no writer makes.
	body := func(entries ...entry) []byte { return appendAccounts(nil, entries) }
	one := entry{name: "a", keys: [][]byte{{1}}}
	for what, p := range map[string][]byte{
		"nothing":              {},
		"too few":              {1},
		"a longer number":      {0x80, 0},
		"too much":             append(body(one), 0),
		"two of a name":        body(one, one),
		"the wrong order":      append(append([]byte{2}, body(entry{name: "b", keys: one.keys})[1:]...), body(one)[1:]...),
		"no key":               body(entry{name: "a"}),
		"an empty key":         body(entry{name: "a", keys: [][]byte{{}}}),
		"three keys":           body(entry{name: "a", keys: [][]byte{{1}, {2}, {3}}}),
		"a bad name":           body(entry{name: "A", keys: one.keys}),
		"a removed one's keys": body(entry{name: "a", keys: one.keys, removed: true}),
		"half a limit":         body(entry{name: "a", keys: one.keys, limits: &blobstore.Limits{DataBytes: 1}}),
		"flag 8":               {1, 1, 'a', 8, 1, 1, 1},
	} {
		if got, err := parseAccounts1(p); err == nil {
			t.Errorf("%s: read as %+v", what, got)
		}
	}
	if got, err := parseAccounts1(body(one)); err != nil || len(got) != 1 {
		t.Errorf("one account: %v, %v", got, err)
	}
}

// steppedFS calls step before each operation that changes something.
func steppedFS(fs vfs.FS, step func(op errorfs.Op) error) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return step(op)
		}
		return nil
	}))
}

// TestAccountsCrash ends the machine before each step of a replacement, and fails each step: there is the old file or the new
// one, whole, and the new one when the write has returned.
func TestAccountsCrash(t *testing.T) {
	old, changed := someAccounts()[:1], someAccounts()
	read := func(what string, fs vfs.FS) string {
		t.Helper()
		got, err := readAccounts(fs, "data/accounts", &testMaster)
		switch {
		case err != nil:
			t.Fatalf("%s: %v", what, err)
		case reflect.DeepEqual(got, old):
			return "old"
		case reflect.DeepEqual(got, changed):
			return "new"
		}
		t.Fatalf("%s: read %+v", what, got)
		return ""
	}
	begin := func() *vfs.MemFS {
		mem := vfs.NewCrashableMem()
		if err := mem.MkdirAll("data", 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := mem.OpenDir("")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(root.Sync(), root.Close(), writeAccounts(mem, "data/accounts", old, &testMaster)); err != nil {
			t.Fatal(err)
		}
		return mem
	}
	rng := rand.New(rand.NewPCG(1, 2))
	steps := 0
	for _, percent := range []int{0, 50, 100} {
		mem := begin()
		steps = 0
		err := writeAccounts(steppedFS(mem, func(op errorfs.Op) error {
			steps++
			read(fmt.Sprintf("before step %d, %v", steps, op.Kind), mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			return nil
		}), "data/accounts", changed, &testMaster)
		if err != nil {
			t.Fatal(err)
		}
		if got := read("at the end", mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})); got != "new" {
			t.Errorf("after the write: the %s file", got)
		}
	}
	if steps < 4 { // create, write, sync, rename, sync of the directory
		t.Fatalf("%d steps were seen", steps)
	}
	for fail := 1; fail <= steps; fail++ {
		mem, n := begin(), 0
		err := writeAccounts(steppedFS(mem, func(op errorfs.Op) error {
			if n++; n == fail {
				return errorfs.ErrInjected
			}
			return nil
		}), "data/accounts", changed, &testMaster)
		if err == nil {
			t.Fatalf("step %d fails, and the write does not", fail)
		}
		if got := read("after a failure", mem); got == "new" && !errors.Is(err, blobstore.ErrUncertain) {
			t.Errorf("step %d: the file is replaced, and the error says it is not: %v", fail, err)
		}
		if err := writeAccounts(mem, "data/accounts", changed, &testMaster); err != nil || read("again", mem) != "new" {
			t.Errorf("step %d: trying again: %v", fail, err)
		}
	}
}

// FuzzAccounts shows that no bytes make the reader panic, and that what it reads has one form only.
func FuzzAccounts(f *testing.F) {
	f.Add(encodeAccounts(someAccounts(), &testMaster, [32]byte{1}))
	f.Add(encodeAccounts(someAccounts(), &pagestore.MasterKey{}, [32]byte{}))
	f.Add(encodeAccounts(nil, &pagestore.MasterKey{}, [32]byte{}))
	f.Add(appendAccounts(nil, someAccounts()))
	f.Fuzz(func(t *testing.T, p []byte) {
		if entries, err := parseAccounts1(p); err == nil && !bytes.Equal(appendAccounts(nil, entries), p) {
			t.Errorf("body %x is written back as %x", p, appendAccounts(nil, entries))
		}
		for _, master := range []pagestore.MasterKey{testMaster, {}} {
			entries, err := decodeAccounts(p, &master)
			if err != nil {
				continue
			}
			if got := encodeAccounts(entries, &master, [32]byte(p[24:accountsHead])); !bytes.Equal(got, p) {
				t.Errorf("%x is written back as %x", p, got)
			}
		}
	})
}
