//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// filesBelow returns the files below a directory whose name, from there on, the filter takes. Files of a running server
// come and go; those that have gone are left out.
func filesBelow(dir string, take func(rel string) bool) (names []string) {
	filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if rel, err := filepath.Rel(dir, name); err == nil && take(rel) {
			names = append(names, name)
		}
		return nil
	})
	return names
}

func isSegment(rel string) bool {
	return strings.HasSuffix(rel, ".seg") || strings.HasSuffix(rel, ".open")
}

// isData takes all that holds what was stored, or says where: segments, shards, checkpoints.
func isData(rel string) bool { return filepath.Base(rel) != "MEMBER" && filepath.Base(rel) != "LOCK" }

// flipByte changes one byte of a file, one that is not zero, so that it lies in what was written: the server may be
// writing behind it. It reports whether there was one.
func flipByte(t *testing.T, name string, rng *rand.Rand) bool {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if os.IsNotExist(err) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if info.Size() == 0 {
			return false
		}
		at := rng.Int64N(info.Size())
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil || b[0] == 0 {
			continue
		}
		b[0] ^= byte(1 + rng.IntN(255))
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		return true
	}
	return false
}

// flipBytes changes bytes in random files of a member, and returns how many.
func flipBytes(t *testing.T, dir string, rng *rand.Rand, most int, take func(rel string) bool) (flipped int) {
	t.Helper()
	names := filesBelow(dir, take)
	if len(names) == 0 {
		t.Fatalf("no files to damage below %s", dir)
	}
	for range most {
		if flipByte(t, names[rng.IntN(len(names))], rng) {
			flipped++
		}
	}
	return flipped
}

// A wound is a kind of damage to the files of one member.
type wound struct {
	name    string
	replace bool // the operator has to say that the directory is to be filled anew
	older   bool // the directory as it was before the load comes back, after the kill; inflict is nil
	inflict func(t *testing.T, home string, rng *rand.Rand)
}

// wounds is what happens to members' files. Those that leave an identity are healed without anybody.
var wounds = []wound{
	{name: "older directory put back", older: true},
	{"bytes flipped in segments", false, false, func(t *testing.T, home string, rng *rand.Rand) {
		flipBytes(t, home, rng, 1+rng.IntN(40), isSegment)
	}},
	{"bytes flipped in any file", false, false, func(t *testing.T, home string, rng *rand.Rand) {
		flipBytes(t, home, rng, 1+rng.IntN(40), isData)
	}},
	{"files cut", false, false, func(t *testing.T, home string, rng *rand.Rand) {
		someFiles(t, home, rng, func(name string) error {
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			return os.Truncate(name, rng.Int64N(info.Size()+1))
		})
	}},
	{"files removed", false, false, func(t *testing.T, home string, rng *rand.Rand) {
		someFiles(t, home, rng, os.Remove)
	}},
	{"files overwritten", false, false, func(t *testing.T, home string, rng *rand.Rand) {
		someFiles(t, home, rng, func(name string) error {
			return os.WriteFile(name, []byte("this was a file of the log once"), 0o600)
		})
	}},
	{"identity removed", true, false, func(t *testing.T, home string, rng *rand.Rand) {
		if err := os.Remove(filepath.Join(home, testkit.Account, "MEMBER")); err != nil {
			t.Fatal(err)
		}
	}},
	{"identity overwritten", true, false, func(t *testing.T, home string, rng *rand.Rand) {
		if err := os.WriteFile(filepath.Join(home, testkit.Account, "MEMBER"), []byte("nobody"), 0o600); err != nil {
			t.Fatal(err)
		}
	}},
	{"directory emptied", true, false, func(t *testing.T, home string, rng *rand.Rand) {
		removeAll(t, filepath.Join(home, testkit.Account))
		if err := os.MkdirAll(filepath.Join(home, testkit.Account), 0o755); err != nil {
			t.Fatal(err)
		}
	}},
	{"directory removed", true, false, func(t *testing.T, home string, rng *rand.Rand) {
		removeAll(t, home)
	}},
}

// someFiles does something to one file of a member, or several, or all.
func someFiles(t *testing.T, home string, rng *rand.Rand, do func(name string) error) {
	t.Helper()
	names := filesBelow(home, isData)
	if len(names) == 0 {
		t.Fatalf("no files to damage below %s", home)
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+rng.IntN(len(names))] {
		if err := do(name); err != nil && !os.IsNotExist(err) { // a running server removes files, too
			t.Fatal(err)
		}
	}
}

// woundDifferently damages each of the members in other places, so that no copy of a segment is whole and every byte is
// good on two of the three: sealed segments in stripes of 4 KiB, of which a member gets one in three.
func woundDifferently(t *testing.T, homes []string, rng *rand.Rand) (wounds string) {
	t.Helper()
	const stripe = 4096
	flipped := make([]int, len(homes))
	for i, home := range homes {
		for _, name := range filesBelow(home, func(rel string) bool { return strings.HasSuffix(rel, ".seg") }) {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			for at := int64(i) * stripe; at < info.Size(); at += int64(len(homes)) * stripe {
				var b [1]byte
				off := min(at+rng.Int64N(stripe), info.Size()-1)
				if off/stripe%int64(len(homes)) != int64(i) {
					continue
				}
				if _, err := f.ReadAt(b[:], off); err != nil {
					t.Fatal(err)
				}
				b[0] ^= byte(1 + rng.IntN(255))
				if _, err := f.WriteAt(b[:], off); err != nil {
					t.Fatal(err)
				}
				flipped[i]++
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return fmt.Sprintf("bytes flipped on each member: %v", flipped)
}
