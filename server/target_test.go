package server

import (
	"errors"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

// known is the accounts of the tests below.
var testAddressing = addressing{hostStyle: true, known: func(name []byte) bool { return string(name) == "acc" || string(name) == "my-acc" }}

func TestTarget(t *testing.T) {
	parse := func(a addressing, uri, host string) (string, error) {
		var tg target
		if err := tg.parse([]byte(uri), []byte(host), a); err != nil {
			return "", err
		}
		parts := []string{string(tg.account)}
		if tg.secondary {
			parts[0] += "(secondary)"
		}
		if tg.segments > 0 {
			parts = append(parts, tg.container)
		}
		if tg.segments > 1 {
			parts = append(parts, tg.blob)
		}
		s := strings.Join(parts, " | ")
		if len(tg.rawQuery) > 0 {
			s += " ? " + string(tg.rawQuery)
		}
		return s, nil
	}
	f := func(uri, host, want string) {
		t.Helper()
		if got, err := parse(testAddressing, uri, host); got != want || err != nil {
			t.Errorf("%s on %s: got %q, %v, want %q", uri, host, got, err, want)
		}
	}
	const ip = "127.0.0.1:10000"

	// Path style: the service, with and without slash, a container, a blob.
	f("/acc", ip, "acc")
	f("/acc/", ip, "acc")
	f("/acc?comp=list", ip, "acc ? comp=list")
	f("/acc/?comp=list", ip, "acc ? comp=list")
	f("/acc/c", ip, "acc | c")
	f("/acc/c/b", ip, "acc | c | b")
	f("/acc/c/a/b/c.vhd?comp=page", ip, "acc | c | a/b/c.vhd ? comp=page")
	f("/", ip, "")
	f("/unknown/c/b", ip, "unknown | c | b")
	f("/acc/c/b", "[::1]:10000", "acc | c | b")
	f("/acc/c/b", "localhost", "acc | c | b")

	// Names are taken as they are: nothing is collapsed or resolved, a plus is a plus, escapes are escapes.
	f("/acc/c/a//b", ip, "acc | c | a//b")
	f("/acc/c//b", ip, "acc | c | /b")
	f("/acc/c/../b/.", ip, "acc | c | ../b/.")
	f("/acc/c/b/", ip, "acc | c | b/")
	f("/acc/c/a+b", ip, "acc | c | a+b")
	f("/acc/c/a%2Fb", ip, "acc | c | a/b")
	f("/acc/c/a%2fb%20c%25", ip, "acc | c | a/b c%")
	f("/acc/c/%E4%BD%A0", ip, "acc | c | 你")
	f("/acc/c/\xe4\xbd\xa0", ip, "acc | c | 你")
	f("/acc/%24root/b", ip, "acc | $root | b")
	f("/acc/c/b?a=1?b=2", ip, "acc | c | b ? a=1?b=2")

	// The secondary address.
	f("/acc-secondary/c", ip, "acc(secondary) | c")
	f("/c", "acc-secondary.blob.localhost", "acc(secondary) | c")

	// Host style: only for accounts that exist.
	f("/c/b", "acc.blob.localhost:10000", "acc | c | b")
	f("/c/b", "ACC.BLOB.example.org", "acc | c | b")
	f("/", "my-acc.blob.localhost", "my-acc")
	f("/acc/c/b", "docker.blob.internal", "acc | c | b")
	f("/acc/c/b", "acc.queue.localhost", "acc | c | b")
	f("/acc/c/b", "acc.blob", "acc | c | b")

	// A configured suffix settles it, with or without such an account.
	suffixed := testAddressing
	suffixed.suffixes = []string{"store.example.org"}
	g := func(uri, host, want string) {
		t.Helper()
		if got, err := parse(suffixed, uri, host); got != want || err != nil {
			t.Errorf("%s on %s: got %q, %v, want %q", uri, host, got, err, want)
		}
	}
	g("/c/b", "acc.store.example.org", "acc | c | b")
	g("/c/b", "ACC.Store.example.org:443", "acc | c | b")
	g("/c", "acc-secondary.store.example.org", "acc(secondary) | c")
	g("/acc/c", "nobody.store.example.org", "nobody | acc | c")
	g("/acc/c/b", "store.example.org", "acc | c | b")
	g("/acc/c/b", ".store.example.org", "acc | c | b")
	g("/acc/c/b", "acc.my.store.example.org", "acc | c | b")
	g("/c/b", "acc.blob.localhost", "acc | c | b")

	// The absolute form, as proxies send it.
	f("http://127.0.0.1/acc/c/b?x=y", ip, "acc | c | b ? x=y")
	f("http://acc.blob.localhost/c/b", ip, "acc | c | b")
	f("http://127.0.0.1", ip, "")

	// Switched off, the host name means nothing.
	got, err := parse(addressing{known: testAddressing.known}, "/c/b", "acc.blob.localhost")
	if got != "c | b" || err != nil {
		t.Errorf("with host style off: got %q, %v", got, err)
	}

	bad := func(uri string) {
		t.Helper()
		if got, err := parse(testAddressing, uri, ip); !errors.Is(err, azerr.InvalidUri) {
			t.Errorf("%s: got %q, %v, want InvalidUri", uri, got, err)
		}
	}
	bad("/acc/c/%")
	bad("/acc/c/%4")
	bad("/acc/c/%zz")
	bad("/acc/c/%ff")
	bad("/acc/c/\xff")
	bad("/acc/%ff/b")
	bad("/acc//b")
	bad("/acc/c/b#d")
	bad("*")
}

// FuzzTarget shows that no request target panics, and that what is taken is UTF-8 without escapes left over.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/acc/c/b", "/acc/c/a%2Fb?x=%ff", "http://h/acc/c", "//", "/acc/%/", "*"} {
		f.Add(s, "acc.blob.localhost:1")
	}
	f.Fuzz(func(t *testing.T, uri, host string) {
		var tg target
		if err := tg.parse([]byte(uri), []byte(host), testAddressing); err != nil {
			if !errors.Is(err, azerr.InvalidUri) {
				t.Fatalf("%q: %v", uri, err)
			}
			return
		}
		if strings.ToValidUTF8(tg.container+tg.blob, "") != tg.container+tg.blob {
			t.Fatalf("%q: not UTF-8: %q %q", uri, tg.container, tg.blob)
		}
		if tg.segments == 2 && tg.blob == "" || tg.segments > 0 && tg.container == "" {
			t.Fatalf("%q: a name is empty: %+v", uri, tg)
		}
	})
}

// TestAccountOfHostDoesNotAllocate: nearly every request comes to an IP address or a name of no account.
func TestAccountOfHostDoesNotAllocate(t *testing.T) {
	a := testAddressing
	a.suffixes = []string{"store.example"}
	for _, host := range []string{"127.0.0.1:10000", "localhost:10000", "PageVault.Example:80"} {
		host := []byte(host)
		if n := testing.AllocsPerRun(100, func() { accountOfHost(host, a) }); n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}
