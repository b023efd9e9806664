package blobstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

func immutableAll(o *AccountOptions) { o.Immutable.All = true }

// newImmutableFixture opens a service with immutable storage everywhere and an empty container "cont".
func newImmutableFixture(t testing.TB) *fixture {
	f := newBareFixture(t, nil)
	f.with = immutableAll
	f.reopen()
	must(t)(f.CreateContainer("cont", nil))
	return f
}

// until is a policy that ends so long after now.
func (f *fixture) until(mode immutable.Mode, d time.Duration) immutable.Policy {
	return immutable.Policy{Mode: mode, Until: f.clock.Now().Truncate(time.Second).Add(d)}
}

func (f *fixture) lock(r BlobRef, mode immutable.Mode, d time.Duration) {
	f.t.Helper()
	ok(f.t, f.SetImmutabilityPolicy(r, &cond.Conditions{}, f.until(mode, d)))
}

// guard is what comes of a request that would come to want, if what protects the state lets it.
func (m *model) guard(s *modelState, act immutable.Act, want error) error {
	return firstError(s.locks.Check(act, m.f.clock.Now()), want)
}

// protectWeight is how often the model protects: where it can.
func (m *model) protectWeight() int {
	if !m.immutable {
		return 0
	}
	return 60
}

// protect sets or ends a policy or a hold, of a blob or of one of its snapshots. Few policies are locked: their blobs can
// only be replaced when they are over.
func (m *model) protect(name string, b *modelBlob) {
	list := m.states(name)
	if len(list) == 0 {
		return
	}
	s := list[len(list)-1]
	if m.r.IntN(3) == 0 {
		s = list[m.r.IntN(len(list))]
	}
	now := m.f.clock.Now()
	var next immutable.State
	var err, want error
	switch n := m.r.IntN(20); {
	case n < 6:
		p := m.f.until(immutable.Unlocked, time.Duration(m.r.IntN(15))*time.Second)
		if n == 0 {
			p.Mode = immutable.Locked
		}
		m.tracef("policy of %q@%s: %v until %v", name, s.key(), p.Mode, p.Until)
		next, want = s.locks.Set(p, now)
		err = m.f.SetImmutabilityPolicy(s.ref(name), &cond.Conditions{}, p)
	case n < 12:
		m.tracef("no policy of %q@%s", name, s.key())
		next, want = s.locks.Unset()
		err = m.f.DeleteImmutabilityPolicy(s.ref(name))
	default:
		next = s.locks
		next.Hold = n == 12
		m.tracef("hold of %q@%s: %v", name, s.key(), next.Hold)
		err = m.f.SetLegalHold(s.ref(name), next.Hold)
	}
	if want != nil {
		want = azerr.From(want).Code
	}
	if m.outcome("protect", err, want) {
		s.locks = next
	}
}

// TestProtected does everything to a blob that is protected in each way, and to one that was.
func TestProtected(t *testing.T) {
	type request struct {
		name string
		do   func(f *fixture) error
	}
	source := BlobRef{Container: "cont", Blob: "source"}
	refused := []request{
		{"put", func(f *fixture) error { _, err := f.PutPages(ref("b"), putReq(0, 1, 'y')); return err }},
		{"clear", func(f *fixture) error { _, err := f.ClearPages(ref("b"), clearReq(0, 1)); return err }},
		{"resize", func(f *fixture) error {
			_, err := f.SetBlobProperties(ref("b"), &SetProperties{Size: Given(PageSize)})
			return err
		}},
		{"sequence", func(f *fixture) error {
			_, err := f.SetBlobProperties(ref("b"), &SetProperties{Action: SequenceIncrement})
			return err
		}},
		{"headers", func(f *fixture) error {
			_, err := f.SetBlobProperties(ref("b"), &SetProperties{Headers: &HTTPHeaders{}})
			return err
		}},
		{"metadata", func(f *fixture) error { _, err := f.SetBlobMetadata(ref("b"), &Access{}, nil); return err }},
	}
	replaced := []request{
		{"create", func(f *fixture) error { _, err := f.CreatePageBlob(ref("b"), &CreatePageBlob{}); return err }},
		{"copy", func(f *fixture) error {
			_, err := f.CopyBlob(context.Background(), ref("b"), &CopyBlob{Source: source})
			return err
		}},
		{"delete", func(f *fixture) error { return f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude) }},
	}
	allowed := []request{
		{"tags", func(f *fixture) error {
			return f.SetBlobTags(ref("b"), &Access{}, []header.Pair{{Name: "a", Value: "b"}})
		}},
		{"snapshot", func(f *fixture) error { _, err := f.SnapshotBlob(ref("b"), &Access{}, nil); return err }},
		{"delete snapshots", func(f *fixture) error { return f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly) }},
		{"lease", func(f *fixture) error {
			_, _, err := f.LeaseBlob(ref("b"), lease.Request{Action: lease.Acquire, Proposed: guidA, Seconds: 15}, cond.Conditions{})
			return err
		}},
		{"end the lease", func(f *fixture) error {
			_, _, err := f.LeaseBlob(ref("b"), lease.Request{Action: lease.Release, ID: guidA}, cond.Conditions{})
			return err
		}},
		{"copy from it", func(f *fixture) error {
			_, err := f.CopyBlob(context.Background(), ref("copy"), &CopyBlob{Source: ref("b")})
			return err
		}},
	}
	ways := []struct {
		name    string
		protect func(f *fixture)
		over    bool // only changes are refused
	}{
		{"unlocked", func(f *fixture) { f.lock(ref("b"), immutable.Unlocked, time.Hour) }, false},
		{"locked", func(f *fixture) { f.lock(ref("b"), immutable.Locked, time.Hour) }, false},
		{"held", func(f *fixture) { ok(f.t, f.SetLegalHold(ref("b"), true)) }, false},
		{"held, policy over", func(f *fixture) {
			f.lock(ref("b"), immutable.Unlocked, time.Hour)
			ok(f.t, f.SetLegalHold(ref("b"), true))
			f.clock.Advance(2 * time.Hour)
		}, false},
		{"locked, clock set back", func(f *fixture) {
			f.lock(ref("b"), immutable.Locked, time.Hour)
			f.clock.Advance(-24 * time.Hour)
		}, false},
		{"over", func(f *fixture) { f.lock(ref("b"), immutable.Locked, time.Hour); f.clock.Advance(time.Hour) }, true},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			f := newImmutableFixture(t)
			f.create("source", 2)
			f.create("b", 4)
			f.put("b", 0, 2, 'x')
			way.protect(f)
			before := f.info(ref("b"))
			for _, r := range refused {
				wantCode(t, r.name, r.do(f), azerr.BlobImmutableDueToPolicy)
			}
			for _, r := range allowed {
				if err := r.do(f); err != nil {
					t.Errorf("%s: %v", r.name, err)
				}
			}
			equal(t, "entity tag", f.info(ref("b")).ETag, before.ETag)
			for _, r := range replaced {
				if !way.over {
					wantCode(t, r.name, r.do(f), azerr.BlobImmutableDueToPolicy)
				}
			}
			equal(t, "content", f.letters(ref("b")), "xx..")
			f.wantClean("after it")
			if way.over {
				for _, r := range replaced {
					if err := r.do(f); err != nil {
						t.Errorf("%s: %v", r.name, err)
					}
				}
			}
		})
	}
}

// TestProtectedCreateOnly: a request that does not want to overwrite hears that there is a blob, not that it is protected.
func TestProtectedCreateOnly(t *testing.T) {
	f := newImmutableFixture(t)
	f.create("b", 1)
	ok(t, f.SetLegalHold(ref("b"), true))
	_, err := f.CreatePageBlob(ref("b"), &CreatePageBlob{Access: with(t, "If-None-Match", "*")})
	wantCode(t, "If-None-Match: *", err, azerr.BlobAlreadyExists)
	_, err = f.CreatePageBlob(ref("b"), &CreatePageBlob{Access: Access{CreateOnly: true}})
	wantCode(t, "a token to create with", err, azerr.UnauthorizedBlobOverwrite)
	_, err = f.CopyBlob(context.Background(), ref("b"), &CopyBlob{Source: ref("b"), Access: with(t, "If-None-Match", "*")})
	wantCode(t, "copy", err, azerr.BlobAlreadyExists)
}

// TestProtectedFromTheStart: a blob is protected by the request that makes it, or not made.
func TestProtectedFromTheStart(t *testing.T) {
	f := newImmutableFixture(t)
	policy := Protection{Policy: f.until(immutable.Locked, time.Hour)}
	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: PageSize, Protection: policy}))
	equal(t, "policy", f.info(ref("b")).Protection, immutable.State{Policy: policy.Policy})
	wantCode(t, "delete", f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
	must(t)(f.CopyBlob(context.Background(), ref("copy"), &CopyBlob{Source: ref("b"), Protection: Protection{Hold: true}}))
	equal(t, "what protects the copy", f.info(ref("copy")).Protection, immutable.State{Hold: true})
	must(t)(f.CopyBlob(context.Background(), ref("free"), &CopyBlob{Source: ref("b")}))
	equal(t, "what protects another copy", f.info(ref("free")).Protection, immutable.State{})
	past := Protection{Policy: f.until(immutable.Unlocked, -time.Second)}
	_, err := f.CreatePageBlob(ref("none"), &CreatePageBlob{Protection: past})
	wantCode(t, "a time that is over", err, azerr.InvalidHeaderValue)
	_, err = f.CopyBlob(context.Background(), ref("none"), &CopyBlob{Source: ref("b"), Protection: past})
	wantCode(t, "a copy until a time that is over", err, azerr.InvalidHeaderValue)
	_, err = f.BlobInfo(ref("none"), &Access{})
	wantCode(t, "what was not made", err, azerr.BlobNotFound)
	f.wantClean("after it")
}

// TestProtectedSnapshots: snapshots are protected each on its own, and no deletion of the blob takes one along, nor any of
// those before it.
func TestProtectedSnapshots(t *testing.T) {
	f := newImmutableFixture(t)
	f.create("b", 2)
	f.put("b", 0, 1, 'x')
	ok(t, f.SetLegalHold(ref("b"), true))
	first, second := f.snapshot("b"), f.snapshot("b")
	equal(t, "what protects a new snapshot", f.info(snap("b", second)).Protection, immutable.State{})
	ok(t, f.SetLegalHold(ref("b"), false))
	f.lock(snap("b", second), immutable.Locked, time.Hour)
	f.put("b", 1, 2, 'y')
	for _, mode := range []DeleteSnapshots{SnapshotsInclude, SnapshotsOnly} {
		wantCode(t, mode.String(), f.DeleteBlob(ref("b"), &Access{}, mode), azerr.BlobImmutableDueToPolicy)
	}
	wantCode(t, "the snapshot", f.DeleteBlob(snap("b", second), &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
	equal(t, "the first snapshot", f.letters(snap("b", first)), "x.")
	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: PageSize})) // the blob may be replaced, and its snapshot stays
	equal(t, "the snapshot of what was replaced", f.letters(snap("b", second)), "x.")
	ok(t, f.DeleteBlob(snap("b", first), &Access{}, SnapshotsNone))
	f.clock.Advance(time.Hour)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.wantClean("after it")
}

// TestImmutableContainer: which containers have immutable storage, that it stays where there was a protected blob, and that
// such a container, and the account, is not deleted while there is anything in it.
func TestImmutableContainer(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	wantCode(t, "a hold without immutable storage", f.SetLegalHold(ref("b"), true), azerr.BlobOperationNotSupported)
	wantCode(t, "a policy", f.SetImmutabilityPolicy(ref("b"), &cond.Conditions{}, f.until(immutable.Unlocked, time.Hour)), azerr.BlobOperationNotSupported)
	wantCode(t, "no policy", f.DeleteImmutabilityPolicy(ref("b")), azerr.BlobOperationNotSupported)
	_, err := f.CreatePageBlob(ref("c"), &CreatePageBlob{Protection: Protection{Hold: true}})
	wantCode(t, "made on hold", err, azerr.BlobOperationNotSupported)
	ok(t, f.CheckRemovable())

	has := func(want bool) {
		t.Helper()
		equal(t, "immutable storage", value(f.ContainerInfo("cont", ""))(t).ImmutableStorage, want)
		equal(t, "in the list", value(f.ListContainers(&ListContainersRequest{Prefix: "cont"}))(t).Containers[0].ImmutableStorage, want)
	}
	option := func(o *AccountOptions) { o.Immutable.Containers = []string{"other", "cont"} }
	has(false)
	f.with = option
	f.reopen()
	has(true)
	f.with = nil
	f.reopen()
	has(false) // nothing was protected meanwhile
	f.with = option
	f.reopen()
	ok(t, f.SetLegalHold(ref("b"), true))
	f.with = nil
	f.reopen()
	has(true)
	wantCode(t, "delete", f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
	ok(t, f.SetLegalHold(ref("b"), false))
	wantCode(t, "delete the container", f.DeleteContainer("cont", &Access{}), azerr.ContainerImmutableStorageWithVersioningEnabled)
	wantCode(t, "remove the account", f.CheckRemovable(), azerr.ContainerImmutableStorageWithVersioningEnabled)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	ok(t, f.CheckRemovable())
	ok(t, f.DeleteContainer("cont", &Access{}))
	<-f.reaped

	f.with = option
	f.reopen()
	must(t)(f.CreateContainer("cont", nil)) // one that is made with it keeps it
	f.with = nil
	f.reopen()
	has(true)
	f.wantClean("after it")
}

// TestProtectionCondition: a policy may be set on the condition that the blob is not newer than a time, and on no other.
func TestProtectionCondition(t *testing.T) {
	f := newImmutableFixture(t)
	f.create("b", 1)
	p := f.until(immutable.Unlocked, time.Hour)
	c := with(t, "If-Unmodified-Since", "Sun, 01 Mar 2020 12:00:00 GMT").Conditions
	wantCode(t, "newer", f.SetImmutabilityPolicy(ref("b"), &c, p), azerr.ConditionNotMet)
	acquire(t, f, "b", guidA)
	ok(t, f.SetImmutabilityPolicy(ref("b"), &cond.Conditions{}, p)) // no lease is needed
	wantCode(t, "no blob", f.SetLegalHold(ref("none"), true), azerr.BlobNotFound)
	wantCode(t, "no container", f.SetLegalHold(BlobRef{Container: "none", Blob: "b"}, true), azerr.ContainerNotFound)
}

// TestProtectionSurvivesPowerCut: what was acknowledged protects after power failed at once, whatever of the rest reached
// the disks, and when the index is gone too.
func TestProtectionSurvivesPowerCut(t *testing.T) {
	f := newImmutableFixture(t)
	f.create("b", 1)
	f.create("c", 1)
	at := f.snapshot("b")
	f.lock(ref("b"), immutable.Locked, time.Hour)
	f.lock(snap("b", at), immutable.Unlocked, time.Hour)
	ok(t, f.SetLegalHold(ref("c"), true))
	fs := f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	f.close()
	f.fs, f.with = fs, nil
	for _, what := range []string{"after a power cut", "without the index"} {
		f.open()
		for _, r := range []BlobRef{ref("b"), snap("b", at), ref("c")} {
			wantCode(t, what, f.DeleteBlob(r, &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
		}
		wantCode(t, what, f.DeleteImmutabilityPolicy(ref("b")), azerr.ImmutabilityPolicyDeleteOnLockedPolicy)
		wantCode(t, what, f.DeleteContainer("cont", &Access{}), azerr.ContainerImmutableStorageWithVersioningEnabled)
		f.wantClean(what)
		if what == "after a power cut" {
			f.close()
			ok(t, f.fs.RemoveAll("index"))
		}
	}
}

// TestReaperLeavesProtected: should a container be gone with a protected blob in it, by whatever mistake, the blob's row
// stays, and goes when it is no longer protected.
func TestReaperLeavesProtected(t *testing.T) {
	f := newImmutableFixture(t)
	f.create("b", 1)
	f.lock(ref("b"), immutable.Locked, time.Hour)
	var d doomedRow
	ok(t, f.update(func(tx *pagestore.Tx) error {
		var s scratch
		r := ref("b")
		_, row, err := s.findBlob(tx, &r, 0)
		d = doomedRow{append([]byte(nil), s.key...), row}
		d.row.props = nil
		return err
	}))
	try := func() error {
		return f.update(func(tx *pagestore.Tx) error {
			if err := bury(tx, &d, f.clock.Now()); err != nil {
				return err
			}
			return count(tx, tally{blobs: -1, bytes: -PageSize})
		})
	}
	wantCode(t, "protected", try(), azerr.BlobImmutableDueToPolicy)
	f.info(ref("b"))
	f.clock.Advance(time.Hour)
	ok(t, try())
	f.wantClean("after it")
}

// TestDropSnapshotAsks: the step that removes a snapshot asks for itself, whoever has looked before.
func TestDropSnapshotAsks(t *testing.T) {
	f := newImmutableFixture(t)
	f.create("b", 1)
	at := f.snapshot("b")
	ok(t, f.SetLegalHold(snap("b", at), true))
	c := takeChange()
	defer c.release()
	wantCode(t, "drop", f.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, f.clock.Now()
		r := snap("b", at)
		id, err := r.check()
		if err != nil {
			return err
		}
		_, held, err := c.findBlob(tx, &r, id, immutable.Read)
		if err != nil {
			return err
		}
		key := append([]byte(nil), c.key...)
		if c.id, c.row, err = c.findBlob(tx, &r, 0, immutable.Annotate); err != nil {
			return err
		}
		return c.dropSnapshot(key, &held)
	}), azerr.BlobImmutableDueToPolicy)
	f.info(snap("b", at))
	f.wantClean("after it")
}

// setTier is SetBlobTier, whatever the tier was before.
func setTier(f *fixture, r BlobRef, acc *Access, t tier.Tier) error {
	_, err := f.SetBlobTier(r, acc, t)
	return err
}

func TestTiers(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	wantCode(t, "a standard account", setTier(f, ref("b"), &Access{}, 10), azerr.AccessTierNotSupportedForBlobType)
	_, err := f.CreatePageBlob(ref("c"), &CreatePageBlob{Tier: 10})
	wantCode(t, "create", err, azerr.AccessTierNotSupportedForBlobType)
	_, err = f.CopyBlob(context.Background(), ref("c"), &CopyBlob{Source: ref("b"), Tier: 10})
	wantCode(t, "copy", err, azerr.AccessTierNotSupportedForBlobType)
	shown := func(r BlobRef, want tier.Tier, inferred bool) BlobInfo {
		t.Helper()
		info := f.info(r)
		got, guessed := f.ShownTier(&info)
		if got != want || guessed != inferred {
			t.Errorf("%s: tier %v, inferred %v; want %v, %v", r.Blob, got, guessed, want, inferred)
		}
		return info
	}
	shown(ref("b"), 0, false)
	f.with = func(o *AccountOptions) { o.Premium = true }
	f.reopen()
	before := shown(ref("b"), 4, true)
	f.clock.Advance(time.Minute)
	ok(t, setTier(f, ref("b"), &Access{}, 10))
	after := shown(ref("b"), 10, false)
	if after.ETag != before.ETag || !after.TierChanged.Equal(f.clock.Now()) {
		t.Errorf("got %+v", after)
	}
	f.clock.Advance(time.Minute)
	ok(t, setTier(f, ref("b"), &Access{}, 10))
	if got := f.info(ref("b")).TierChanged; !got.Equal(after.TierChanged) {
		t.Errorf("the same tier again: changed at %v", got)
	}
	wantCode(t, "down", setTier(f, ref("b"), &Access{}, 6), azerr.CannotChangeToLowerTier)
	acquire(t, f, "b", guidA)
	wantCode(t, "without the lease", setTier(f, ref("b"), &Access{}, 20), azerr.LeaseIdMissing)
	held := holding(guidA)
	ok(t, setTier(f, ref("b"), &held, 20))
	at := f.snapshot("b")
	shown(snap("b", at), 20, false)

	const large = 33 << 30 // more than fits in P4
	f.sizeMax = 1 << 40
	_, err = f.CreatePageBlob(ref("c"), &CreatePageBlob{Size: large, Tier: 4})
	wantCode(t, "too large", err, azerr.ContentLengthLargerThanTierLimit)
	must(t)(f.CreatePageBlob(ref("c"), &CreatePageBlob{Size: PageSize, Tier: 4}))
	_, err = f.SetBlobProperties(ref("c"), &SetProperties{Size: Given(large)})
	wantCode(t, "grown too large", err, azerr.ContentLengthLargerThanTierLimit)
	ok(t, setTier(f, ref("c"), &Access{}, 6))
	must(t)(f.SetBlobProperties(ref("c"), &SetProperties{Size: Given(large)}))
	_, err = f.CopyBlob(context.Background(), ref("d"), &CopyBlob{Source: ref("c"), Tier: 4})
	wantCode(t, "copied", err, azerr.BlobTierInadequateForContentLength)
	must(t)(f.CopyBlob(context.Background(), ref("d"), &CopyBlob{Source: ref("c"), Tier: 50}))
	shown(ref("d"), 50, false)
	must(t)(f.CopyBlob(context.Background(), ref("d"), &CopyBlob{Source: ref("c")}))
	shown(ref("d"), 6, true)
	wantCode(t, "too small for it", setTier(f, ref("d"), &Access{}, 4), azerr.BlobTierInadequateForContentLength)
	if err := setTier(f, ref("none"), &Access{}, 4); !errors.Is(err, azerr.BlobNotFound) {
		t.Errorf("no blob: %v", err)
	}
	f.wantClean("after it")
}
