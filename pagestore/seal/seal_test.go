package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
)

func testKey(b byte) (k Key) {
	copy(k[:], bytes.Repeat([]byte{b}, len(k)))
	return k
}

func testSalt(b byte) (s [32]byte) { return testKey(b) }

var (
	testKeys  = Keys{Fingerprint: [32]byte(testKey(0xf1)), Data: testKey(0xda)}
	testNonce = [NonceBytes]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	testHead  = []byte("what precedes the keys in the header")
)

// TestFormat compares what is on disk, with fixed keys, with testdata/format. A changed byte means a new format.
func TestFormat(t *testing.T) {
	master, none := testKey(0x11), Key{}
	session, err := NewRing(testKeys.Data).Session(1, testSalt(0x5a))
	if err != nil {
		t.Fatal(err)
	}
	wrapped := func(master *Key) []byte {
		w := Wrap(&testKeys, master, testNonce, testHead)
		return w.Append(nil)
	}
	datadriven.RunTest(t, "testdata/format", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "id":
			return fmt.Sprintln(master.ID())
		case "wrapped":
			return hex.Dump(wrapped(&master))
		case "plain":
			return hex.Dump(wrapped(&none))
		case "sealed":
			var counter uint64
			d.ScanArgs(t, "counter", &counter)
			return hex.Dump(session.Seal(nil, []byte("some bytes"), counter))
		}
		t.Fatalf("unknown: %s", d.Cmd)
		return ""
	})
}

// unwrap decodes what was appended, so that what is tested is what a reader would see.
func unwrap(t *testing.T, p []byte, master *Key, head []byte) (Keys, error) {
	t.Helper()
	w, err := DecodeWrapped(p)
	if err != nil {
		return Keys{}, err
	}
	return w.Unwrap(master, head)
}

func TestWrap(t *testing.T) {
	master, other, none := testKey(0x11), testKey(0x12), Key{}
	w := Wrap(&testKeys, &master, testNonce, testHead)
	p := w.Append(nil)
	if len(p) != WrappedBytes {
		t.Fatalf("%d bytes, want %d", len(p), WrappedBytes)
	}
	if bytes.Contains(p, testKeys.Data[:8]) || bytes.Contains(p, testKeys.Fingerprint[:8]) {
		t.Fatal("a key shows")
	}
	if keys, err := unwrap(t, p, &master, testHead); err != nil || keys != testKeys {
		t.Fatalf("%v, %v", keys == testKeys, err)
	}
	for _, wrong := range []*Key{&other, &none} {
		_, err := unwrap(t, p, wrong, testHead)
		if !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), master.ID().String()) || !strings.Contains(err.Error(), wrong.ID().String()) {
			t.Errorf("with %v: %v", wrong.ID(), err)
		}
	}
	if _, err := unwrap(t, p, &master, testHead[1:]); !errors.Is(err, ErrSealed) {
		t.Errorf("with another head: %v", err)
	}
	for i := range len(p) * 8 {
		bad := bytes.Clone(p)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := unwrap(t, bad, &master, testHead); err == nil {
			t.Fatalf("bit %d is flipped and the keys open", i)
		}
	}

	w = Wrap(&testKeys, &none, testNonce, testHead)
	p = w.Append(nil)
	for _, any := range []*Key{&master, &none} {
		if keys, err := unwrap(t, p, any, testHead); err != nil || keys != testKeys {
			t.Fatalf("in plain: %v", err)
		}
	}
	for _, i := range []int{1, 8, 9, 20, WrappedBytes - 1} { // id, nonce and tag of keys in plain are zeros
		bad := bytes.Clone(p)
		bad[i] = 1
		if _, err := DecodeWrapped(bad); err == nil {
			t.Errorf("byte %d of keys in plain is not zero", i)
		}
	}
	if _, err := DecodeWrapped(p[1:]); err == nil {
		t.Error("a byte is missing")
	}
	if _, err := DecodeWrapped(append([]byte{2}, p[1:]...)); err == nil || !strings.Contains(err.Error(), "cipher 2") {
		t.Errorf("an unknown cipher: %v", err)
	}
}

// TestKeysDoNotPrint checks that no way of printing a key shows it.
func TestKeysDoNotPrint(t *testing.T) {
	master := testKey(0x41) // 'A'
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		out := fmt.Sprintf(format+" "+format, master, struct{ K Keys }{Keys{Fingerprint: [32]byte(master), Data: master}})
		if strings.Contains(out, "AAAA") || strings.Contains(out, "65 65") || strings.Contains(out, "0x41, 0x41") || strings.Contains(out, "414141") {
			t.Errorf("%s shows a key: %s", format, out)
		}
	}
}

func TestSession(t *testing.T) {
	ring := NewRing(testKeys.Data)
	s, err := ring.Session(1, testSalt(1))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := ring.Session(1, testSalt(1)); same != s || err != nil {
		t.Fatalf("the session again: %v", err)
	}
	if _, err := ring.Session(1, testSalt(2)); err == nil {
		t.Fatal("two salts of one session")
	}
	if _, err := ring.Session(0, testSalt(2)); err == nil {
		t.Fatal("session 0")
	}
	if ring.Get(1) != s || ring.Get(2) != nil || s.Number() != 1 || s.Salt() != testSalt(1) {
		t.Fatal("Get, Number or Salt")
	}

	plain := bytes.Repeat([]byte("0123456789abcdef"), 256)
	at := s.Reserve(16)
	if next := s.Reserve(1); next != at+16 {
		t.Fatalf("counter %d after 16 from %d", next, at)
	}
	sealed := s.Seal([]byte("before"), plain, at+3)
	if len(sealed) != 6+len(plain)+Overhead || string(sealed[:6]) != "before" {
		t.Fatalf("%d bytes", len(sealed))
	}
	inPlace := append(make([]byte, 0, len(plain)+Overhead), plain...)
	if inPlace = s.Seal(inPlace[:0], inPlace, at+3); !bytes.Equal(inPlace, sealed[6:]) {
		t.Fatal("sealed in place is something else")
	}
	if got, err := s.Open(inPlace[:0], inPlace, at+3); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened in place: %v", err)
	}
	sealed = sealed[6:]
	if _, err := s.Open(nil, sealed, at+4); !errors.Is(err, ErrSealed) {
		t.Errorf("with another counter: %v", err)
	}
	if _, err := s.Open(nil, sealed[:Overhead-1], at+3); !errors.Is(err, ErrSealed) {
		t.Errorf("too short: %v", err)
	}
	other, err := ring.Session(2, testSalt(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(nil, sealed, at+3); !errors.Is(err, ErrSealed) {
		t.Errorf("in another session: %v", err)
	}
	elsewhere, err := NewRing(testSalt(9)).Session(1, testSalt(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Open(nil, sealed, at+3); !errors.Is(err, ErrSealed) {
		t.Errorf("in another store: %v", err)
	}
}

// TestCountersAreUnique reserves from many goroutines: the only thing a nonce may never do is come twice.
func TestCountersAreUnique(t *testing.T) {
	s, err := NewRing(testKeys.Data).Session(1, testSalt(1))
	if err != nil {
		t.Fatal(err)
	}
	const workers, rounds = 8, 2000
	var got [workers][]uint64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				n := 1 + (i+w)%16
				first := s.Reserve(n)
				for k := range n {
					got[w] = append(got[w], first+uint64(k))
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[uint64]bool)
	for _, counters := range got {
		for _, c := range counters {
			if seen[c] {
				t.Fatalf("counter %d twice", c)
			}
			seen[c] = true
		}
	}
}

func BenchmarkSession(b *testing.B) {
	s, err := NewRing(testKeys.Data).Session(1, testSalt(1))
	if err != nil {
		b.Fatal(err)
	}
	plain := make([]byte, 4096)
	sealed := s.Seal(nil, plain, 7)
	b.Run("Seal-4KiB", func(b *testing.B) {
		b.SetBytes(4096)
		b.ReportAllocs()
		for b.Loop() {
			sealed = s.Seal(sealed[:0], plain, 7)
		}
	})
	b.Run("Open-4KiB", func(b *testing.B) {
		b.SetBytes(4096)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Open(plain[:0], sealed, 7); err != nil {
				b.Fatal(err)
			}
		}
	})
}
