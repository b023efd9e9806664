//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"pagevault/internal/testkit"
)

const (
	smallDisk = 512 << 20 // of a member in these tests; all of a workload fits several times
	stall     = 2 * time.Second
)

// faulty is the member that the faults of this file happen to, from 1. It is the first, which nothing may depend on.
const faulty = 1

// A fault happens to the disk of one member while the server is under load, and may pass.
type fault struct {
	name string
	// home makes the directory of the member, and returns what hurts it and what heals it again.
	home func(t *testing.T) (dir string, hurt, heal func(f *fleet))
	// unnoticed says that the member is not expected to leave: reads beside it find out and repair.
	unnoticed bool
}

// plainHome is a directory like any other.
func plainHome(t *testing.T) string { return filepath.Join(t.TempDir(), "member") }

var faults = []fault{
	{name: "DirectoryRemoved", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		dir := plainHome(t)
		return dir, func(f *fleet) { removeAll(t, dir) }, func(f *fleet) { f.replace(faulty) }
	}},
	{name: "AccountRemoved", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		dir := plainHome(t)
		return dir, func(f *fleet) { removeAll(t, f.account(faulty)) }, func(f *fleet) { f.replace(faulty) }
	}},
	{name: "ReadOnly", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		d := testkit.NewDisk(t, "ext4", smallDisk)
		return filepath.Join(d.Dir(), "member"), func(*fleet) { d.Break(t) }, func(*fleet) { d.Reattach(t) }
	}},
	{name: "Dead", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		d := testkit.NewDisk(t, "xfs", smallDisk)
		return filepath.Join(d.Dir(), "member"), func(*fleet) { d.CutPower(t) }, func(*fleet) { d.Reattach(t) }
	}},
	{name: "Full", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		d := testkit.NewTmpfs(t, smallDisk)
		return filepath.Join(d.Dir(), "member"), func(*fleet) { d.Fill(t) }, func(*fleet) { d.Free(t) }
	}},
	{name: "FrozenForWriters", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		d := testkit.NewDisk(t, "ext4", smallDisk)
		var thaw func()
		return filepath.Join(d.Dir(), "member"), func(*fleet) { thaw = d.Freeze(t) }, func(*fleet) { thaw() }
	}},
	{name: "Frozen", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		d := testkit.NewSickDisk(t, smallDisk)
		hurt := func(*fleet) { testkit.ForgetCached(t, d.Dir()); d.Freeze(t) }
		return filepath.Join(d.Dir(), "member"), hurt, func(*fleet) { d.Recover(t) }
	}},
	{name: "IOErrors", home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		d := testkit.NewSickDisk(t, smallDisk)
		hurt := func(*fleet) { testkit.ForgetCached(t, d.Dir()); d.Fail(t) }
		return filepath.Join(d.Dir(), "member"), hurt, func(*fleet) { d.Recover(t) }
	}},
	{name: "SyncFails", home: injected("fdatasync,fsync:error=EIO")},
	{name: "WriteFails", home: injected("pwrite64,pwritev,pwritev2,write,writev:error=EIO")},
	{name: "SyncHangs", home: injected("fdatasync,fsync:delay_enter=6s")},
	{name: "BitRot", unnoticed: true, home: func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		dir := plainHome(t)
		hurt := func(f *fleet) {
			t.Logf("%d bytes flipped", flipBytes(t, dir, f.rng, 400, func(string) bool { return true }))
		}
		return dir, hurt, func(f *fleet) { f.command("scrub") }
	}},
}

// removeAll removes a directory, also while a server makes files in it.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	testkit.Await(t, noticeBound, "removed: "+dir, func() bool { return os.RemoveAll(dir) == nil })
}

// injected has system calls about a member's segments go wrong, as strace's expression says.
func injected(expression string) func(t *testing.T) (string, func(*fleet), func(*fleet)) {
	return func(t *testing.T) (string, func(*fleet), func(*fleet)) {
		dir := plainHome(t)
		var stop func()
		hurt := func(f *fleet) {
			stop = testkit.Inject(t, f.server.PID(), expression, nextSegments(f.account(faulty)))
		}
		return dir, hurt, func(*fleet) { stop() }
	}
}

// nextSegments returns the paths of the open segments that there are in a directory and of those to come. strace knows
// files by their whole path.
func nextSegments(dir string) (paths []string) {
	newest := 0
	for _, name := range filesBelow(dir, isSegment) {
		if n, err := strconv.Atoi(filepath.Base(name)[:10]); err == nil {
			newest = max(newest, n)
		}
	}
	for i := max(1, newest-2); i < newest+60; i++ {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%010d.open", i)))
	}
	return paths
}

// TestDisk lets one disk of three fail under load, in every way that can be had on this machine. No request of a client
// may fail; what was acknowledged is there; an operator is told; when the disk is well again, or has been replaced, its
// member has everything again.
func TestDisk(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			home, hurt, heal := fault.home(t)
			f := newFleet(t, plainHomes(t, 3, home))
			f.load(50)
			hurt(f)
			began := time.Now()
			if !fault.unnoticed {
				f.awaitState(faulty, false)
			}
			noticed := time.Since(began)
			f.goOn(faultWrites)
			if !fault.unnoticed {
				f.checkTold(faulty)
			}
			heal(f)
			began = time.Now()
			f.awaitWhole()
			healed := time.Since(began)
			f.goOn(50)
			f.unload()
			f.verify()
			if fault.unnoticed { // what was flipped in a segment that was open then has been sealed by now
				f.command("scrub")
				f.awaitWhole()
			}
			f.close()
			t.Logf("noticed after %v, whole again %v after it was healed", noticed.Round(time.Millisecond), healed.Round(time.Millisecond))
		})
	}
}

// TestDiskFrozen starts a server one of whose three disks does not answer, which takes a while: it serves without it. When the
// disk answers its member is caught up. (A process of which a thread hangs in a file system does not end before that answers,
// whatever it does; that a log can be closed then is shown in package replication.)
func TestDiskFrozen(t *testing.T) {
	for _, how := range []string{"ForWriters", "Altogether"} {
		t.Run(how, func(t *testing.T) {
			var freeze func()
			var thaw func()
			var home string
			if how == "ForWriters" {
				d := testkit.NewDisk(t, "ext4", smallDisk)
				home, freeze = filepath.Join(d.Dir(), "member"), func() { thaw = d.Freeze(t) }
			} else {
				d := testkit.NewSickDisk(t, smallDisk)
				home, freeze = filepath.Join(d.Dir(), "member"), func() { testkit.ForgetCached(t, d.Dir()); d.Freeze(t) }
				thaw = func() { d.Recover(t) }
			}
			f := newFleet(t, plainHomes(t, 3, home))
			f.load(50)
			f.unload()
			f.server.Stop(t)
			freeze()
			began := time.Now()
			f.server.Start(t)
			started := time.Since(began)
			f.verify()
			f.awaitState(faulty, false)
			f.load(faultWrites)
			f.checkTold(faulty)
			f.unload()
			thaw()
			f.awaitWhole()
			f.verify()
			f.close()
			t.Logf("started within %v", started.Round(time.Millisecond))
		})
	}
}

// TestTwoDisks destroys two of the three members, one after the other, with as much time between them as the server says
// it needs; one, while another is rotten; and every one of them in other places, so that no copy is whole.
func TestTwoDisks(t *testing.T) {
	t.Run("OneAfterTheOther", func(t *testing.T) {
		f := newFleet(t, plainHomes(t, 3))
		f.load(50)
		for _, number := range []int{faulty, faulty + 1} {
			removeAll(t, f.homes[number-1])
			f.awaitState(number, false)
			f.goOn(faultWrites)
			f.replace(number)
			f.awaitWhole()
		}
		f.goOn(50)
		f.unload()
		f.verify()
		f.close()
	})
	t.Run("OneDestroyedOneRotten", func(t *testing.T) {
		f := newFleet(t, plainHomes(t, 3))
		f.load(200)
		t.Logf("%d bytes flipped", flipBytes(t, f.homes[1], f.rng, 200, isSegment))
		removeAll(t, f.homes[0])
		f.awaitState(1, false)
		f.goOn(faultWrites)
		f.replace(1)
		f.awaitWhole()
		f.goOn(50)
		f.unload()
		f.verify()
		f.command("scrub")
		f.awaitWhole()
		f.close()
	})
	t.Run("AllRotten", func(t *testing.T) {
		f := newFleet(t, plainHomes(t, 3), "--garbage", "99") // so that segments stay to be repaired
		f.load(300)
		f.unload()
		t.Log(woundDifferently(t, f.homes, f.rng))
		f.load(50)
		f.command("scrub")
		f.awaitWhole()
		f.unload()
		f.verify()
		f.close()
	})
}

// TestBelowMinimum fills two of three disks up. Writes are refused then as those of a busy server, which clients try again;
// reads go on. When there is room on one of them, writes go on by themselves.
func TestBelowMinimum(t *testing.T) {
	one, two := testkit.NewTmpfs(t, smallDisk), testkit.NewTmpfs(t, smallDisk)
	homes := []string{filepath.Join(one.Dir(), "member"), filepath.Join(two.Dir(), "member")}
	f := newFleet(t, plainHomes(t, 3, homes...))
	f.load(50)
	one.Fill(t)
	f.awaitState(1, false)
	f.goOn(faultWrites)
	f.unload()
	f.verify()

	two.Fill(t)
	d := f.w.disks[0]
	b := f.server.Container(t, containerName).NewPageBlobClient(d.name)
	seq := 0
	write := func() error {
		seq++
		stamps, body := make([]testkit.Stamp, 8), make([]byte, 8*pageSize)
		for i := range stamps {
			stamps[i] = testkit.NewStamp(100, seq, i)
			stamps[i].Fill(body[i*pageSize:])
		}
		op := d.history.Begin(0, stamps)
		_, err := b.UploadPages(t.Context(), streaming.NopCloser(bytes.NewReader(body)), blob.HTTPRange{Count: int64(len(body))}, nil)
		if err == nil {
			op.Acknowledged()
		}
		return err
	}
	testkit.Await(t, noticeBound, "refusal of a write", func() bool { return write() != nil })
	checkBusy(t, write())
	m := f.server.AwaitMembers(t, noticeBound, "told that writes are refused", func(m *testkit.Membership) bool { return !m.Writable })
	t.Log(m)
	for range 3 {
		began := time.Now()
		checkBusy(t, write())
		if took := time.Since(began); took > stall {
			t.Errorf("a write was refused after %v", took)
		}
		f.w.look(t, f.server, f.rng, f.w.snapshots()) // reads go on, and show what was acknowledged
	}
	two.Free(t)
	testkit.Await(t, healBound, "write that is taken again", func() bool { return write() == nil })
	one.Free(t)
	f.awaitWhole()
	f.verify()
	f.load(50)
	f.unload()
	f.verify()
	f.close()
}

// checkBusy checks that an answer says: not now, come again then.
func checkBusy(t *testing.T, err error) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != http.StatusServiceUnavailable || re.ErrorCode != "ServerBusy" {
		t.Fatalf("a write below the least number of members: %v, want 503 ServerBusy", err)
	}
	if after, err := strconv.Atoi(re.RawResponse.Header.Get("Retry-After")); err != nil || after < 1 {
		t.Errorf("503 with Retry-After %q, want seconds", re.RawResponse.Header.Get("Retry-After"))
	}
}
