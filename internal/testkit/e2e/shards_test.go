//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// shardName is what the names of shards have in common: 0000000001.rs00.
const shardName = "*.rs[0-9][0-9]"

func isShard(rel string) bool {
	ok, err := filepath.Match(shardName, filepath.Base(rel))
	return err == nil && ok
}

func isSealed(rel string) bool { return strings.HasSuffix(rel, ".seg") }

// TestShards keeps sealed segments as Reed–Solomon shards, on as many members as there are shards: it loses as many
// directories as may be lost, under load and at rest, reads everything, has them filled anew, compares every shard with
// what it was, and switches back to copies.
func TestShards(t *testing.T) {
	for _, code := range []struct{ k, m int }{{2, 1}, {4, 2}} {
		t.Run(fmt.Sprintf("%d+%d", code.k, code.m), func(t *testing.T) { testShards(t, code.k, code.m) })
	}
}

func testShards(t *testing.T, k, m int) {
	n := k + m
	f := newFleet(t, plainHomes(t, n), "--garbage", "99", "--redundancy", fmt.Sprintf("rs:%d+%d", k, m))
	f.load(400)
	f.unload()
	f.awaitShards(true)
	f.verify()

	// At rest: any of them.
	before := f.sums(isShard)
	f.server.Stop(t)
	lost := f.rng.Perm(n)[:m]
	for _, i := range lost {
		removeAll(t, f.homes[i])
	}
	f.server.Start(t)
	f.verify()
	f.refill(lost)
	f.awaitShards(true)
	if after := f.sums(isShard); len(before) == 0 {
		t.Error("there were no shards")
	} else {
		for name, sum := range before {
			if got, there := after[name]; there && got != sum { // those of dropped segments are gone
				t.Errorf("shard %s was rebuilt with other bytes", name)
			}
		}
	}

	// Under load: others.
	f.load(50)
	lost = f.rng.Perm(n)[:m]
	for _, i := range lost {
		removeAll(t, f.homes[i])
	}
	f.goOn(faultWrites)
	for _, i := range lost {
		f.awaitState(i+1, false)
	}
	f.refill(lost)
	f.unload()
	f.verify()
	f.awaitShards(true)
	shards := f.bytes(isShard)
	f.server.Stop(t)
	f.check()

	// Back to copies, and the space that each takes.
	f.server.Start(t)
	f.server.Post(t, "/redundancy?policy=3")
	f.awaitShards(false)
	f.awaitWhole()
	f.verify()
	copies := f.bytes(isSealed)
	ratio := 3 * float64(shards) / float64(copies)
	t.Logf("shards take %d bytes on all disks together, copies %d: %.3f times what is stored instead of 3", shards, copies, ratio)
	if want := float64(n) / float64(k); ratio > want*1.05 || ratio < want*0.9 {
		t.Errorf("shards take %.3f times what is stored, want %.2f", ratio, want)
	}
	f.server.Stop(t)
	f.check()
	f.compareCopies(3)
	t.Logf("requests: %s", strings.Join(f.requests, "; "))
}

// awaitShards returns when all sealed segments are shards and nothing lacks one, or when none are.
func (f *fleet) awaitShards(want bool) {
	f.t.Helper()
	gone, what := isShard, "end of shards"
	if want {
		gone, what = isSealed, "end of copies of sealed segments"
	}
	testkit.Await(f.t, healBound, what, func() bool {
		left := 0
		for _, home := range f.homes {
			left += len(filesBelow(home, gone))
		}
		return left == 0 && f.server.Members(f.t).Whole()
	})
}

// refill has directories that are gone filled anew. The members are counted from 0.
func (f *fleet) refill(lost []int) {
	f.t.Helper()
	for _, i := range lost {
		f.replace(i + 1)
	}
	f.awaitWhole()
}

// bytes returns what the files that the filter takes have on all disks together.
func (f *fleet) bytes(take func(rel string) bool) (sum int64) {
	f.t.Helper()
	for _, home := range f.homes {
		for _, name := range filesBelow(home, take) {
			sum += diskUse(f.t, name)
		}
	}
	return sum
}

// sums returns the checksums of files by their names, wherever they are.
func (f *fleet) sums(take func(rel string) bool) map[string][sha256.Size]byte {
	f.t.Helper()
	sums := map[string][sha256.Size]byte{}
	for _, home := range f.homes {
		for _, name := range filesBelow(home, take) {
			b, err := os.ReadFile(name)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				f.t.Fatal(err)
			}
			sums[filepath.Base(name)] = sha256.Sum256(b)
		}
	}
	return sums
}

// compareCopies checks, after a clean stop, that every segment is on so many members, with the same bytes.
func (f *fleet) compareCopies(want int) {
	f.t.Helper()
	copies := map[string]int{}
	first := map[string][sha256.Size]byte{}
	for _, home := range f.homes {
		for name, sum := range segmentSums(f.t, home) {
			if _, there := first[name]; !there {
				first[name] = sum
			}
			if first[name] != sum {
				f.t.Errorf("%s is not the same on all members that have it", name)
			}
			copies[name]++
		}
	}
	for name, n := range copies {
		if n != want {
			f.t.Errorf("%s is on %d members, want %d", name, n, want)
		}
	}
	if len(copies) == 0 {
		f.t.Error("there are no segments")
	}
}
