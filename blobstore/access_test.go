package blobstore

import (
	"errors"
	"testing"
	"time"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// call is one operation on blob "b" of "cont", as tests of what all operations have in common make it.
type call struct {
	name string
	do   func(f *fixture, acc Access) error
}

// readCalls need no lease and answer 304; they change nothing.
var readCalls = []call{
	{"BlobInfo", func(f *fixture, acc Access) error { return second(f.BlobInfo(ref("b"), &acc)) }},
	{"OpenBlob", func(f *fixture, acc Access) error {
		r, err := f.OpenBlob(ref("b"), &acc)
		if err != nil {
			return err
		}
		return r.Close()
	}},
	{"PageRanges", func(f *fixture, acc Access) error {
		return second(f.PageRanges(ref("b"), &PageRangesRequest{Access: acc}))
	}},
}

// writeCalls need the lease and change the entity tag.
var writeCalls = []call{
	{"PutPages", func(f *fixture, acc Access) error {
		req := putReq(0, 1, 'a')
		req.Access = acc
		return second(f.PutPages(ref("b"), req))
	}},
	{"ClearPages", func(f *fixture, acc Access) error {
		req := clearReq(0, 1)
		req.Access = acc
		return second(f.ClearPages(ref("b"), req))
	}},
	{"SetBlobMetadata", func(f *fixture, acc Access) error {
		return second(f.SetBlobMetadata(ref("b"), &acc, []header.Pair{{Name: "a", Value: "b"}}))
	}},
	{"SetBlobProperties", func(f *fixture, acc Access) error {
		return second(f.SetBlobProperties(ref("b"), &SetProperties{Access: acc, Action: SequenceIncrement}))
	}},
	{"CreatePageBlob", func(f *fixture, acc Access) error {
		return second(f.CreatePageBlob(ref("b"), &CreatePageBlob{Access: acc, Size: 512}))
	}},
	{"DeleteBlob", func(f *fixture, acc Access) error { return f.DeleteBlob(ref("b"), &acc, SnapshotsInclude) }},
}

// snapshotCall takes a lease id as a condition and answers 412.
var snapshotCall = call{"SnapshotBlob", func(f *fixture, acc Access) error {
	return second(f.SnapshotBlob(ref("b"), &acc, nil))
}}

// TestConditionsEverywhere: every operation evaluates every condition, on the blob as it is.
func TestConditionsEverywhere(t *testing.T) {
	f := newFixture(t)
	const past, future = "Sun, 01 Mar 2026 11:00:00 GMT", "Sun, 01 Mar 2026 13:00:00 GMT"
	blob := func() string {
		f.t.Helper()
		if _, err := f.BlobInfo(ref("b"), &Access{}); errors.Is(err, azerr.BlobNotFound) {
			f.create("b", 1)
		}
		return f.info(ref("b")).ETag.String()
	}
	check := func(c call, want azerr.Code, pairs ...string) {
		t.Helper()
		err := c.do(f, with(t, pairs...))
		if want == 0 {
			if err != nil {
				t.Errorf("%s with %v: %v", c.name, pairs, err)
			}
			return
		}
		wantCode(t, c.name, err, want)
		var stale *NotModified
		if want == azerr.NotModified && (!errors.As(err, &stale) || stale.Stamp != f.info(ref("b")).Stamp) {
			t.Errorf("%s: %v does not say which state it is", c.name, err)
		}
	}
	for _, c := range readCalls {
		check(c, 0, "If-Match", blob())
		check(c, 0, "If-None-Match", `"0x1"`)
		check(c, 0, "If-Modified-Since", past)
		check(c, 0, "If-Unmodified-Since", future)
		check(c, azerr.ConditionNotMet, "If-Match", `"0x1"`)
		check(c, azerr.NotModified, "If-None-Match", blob())
		check(c, azerr.NotModified, "If-Modified-Since", future)
		check(c, azerr.ConditionNotMet, "If-Unmodified-Since", past)
		check(c, azerr.UnsatisfiableCondition, "If-None-Match", "*")
	}
	for _, c := range append([]call{snapshotCall}, writeCalls...) {
		check(c, azerr.ConditionNotMet, "If-Match", `"0x1"`)
		check(c, azerr.ConditionNotMet, "If-None-Match", blob())
		check(c, azerr.ConditionNotMet, "If-Modified-Since", future)
		check(c, azerr.ConditionNotMet, "If-Unmodified-Since", past)
		check(c, azerr.MultipleConditionHeadersNotSupported, "If-Match", blob(), "If-None-Match", "*")
		check(c, 0, "If-Match", blob())
		blob()
		check(c, 0, "If-None-Match", `"0x1"`)
		blob()
		check(c, 0, "If-Modified-Since", past)
		blob()
		check(c, 0, "If-Unmodified-Since", future)
		blob()
	}
	_, _, err := f.LeaseBlob(ref("b"), lease.Request{Action: lease.Acquire, Seconds: 15}, with(t, "If-Match", `"0x1"`).Conditions)
	wantCode(t, "LeaseBlob", err, azerr.ConditionNotMet)
	_, _, err = f.LeaseBlob(ref("b"), lease.Request{Action: lease.Acquire, Seconds: 15}, with(t, "If-Match", blob()).Conditions)
	ok(t, err)
}

// TestConditionsOnNothing: a missing blob is 404 whatever the conditions, but for a create.
func TestConditionsOnNothing(t *testing.T) {
	f := newFixture(t)
	for _, c := range append(append([]call{snapshotCall}, readCalls...), writeCalls...) {
		if c.name == "CreatePageBlob" {
			continue
		}
		for _, h := range []string{"If-Match", "If-None-Match"} {
			wantCode(t, c.name, c.do(f, with(t, h, `"0x8DA7BAB2E7E693F"`)), azerr.BlobNotFound)
		}
	}
}

// TestLeasesEverywhere: every write needs the id of an active lease, and a wrong or idle id fails everywhere.
func TestLeasesEverywhere(t *testing.T) {
	type want struct{ read, write azerr.Code }
	states := []struct {
		name         string
		lease        []lease.Request
		wait         time.Duration
		none, id, no want // answers to no id, the right one, another
	}{
		{"available", nil, 0,
			want{}, want{azerr.LeaseNotPresentWithBlobOperation, azerr.LeaseNotPresentWithBlobOperation},
			want{azerr.LeaseNotPresentWithBlobOperation, azerr.LeaseNotPresentWithBlobOperation}},
		{"leased", []lease.Request{{Action: lease.Acquire, Proposed: "a", Seconds: 15}}, 14 * time.Second,
			want{0, azerr.LeaseIdMissing}, want{},
			want{azerr.LeaseIdMismatchWithBlobOperation, azerr.LeaseIdMismatchWithBlobOperation}},
		{"breaking", []lease.Request{{Action: lease.Acquire, Proposed: "a", Seconds: 15}, {Action: lease.Break}}, 14 * time.Second,
			want{0, azerr.LeaseIdMissing}, want{},
			want{azerr.LeaseIdMismatchWithBlobOperation, azerr.LeaseIdMismatchWithBlobOperation}},
		{"broken", []lease.Request{{Action: lease.Acquire, Proposed: "a", Seconds: 15}, {Action: lease.Break}}, 15 * time.Second,
			want{}, want{azerr.LeaseNotPresentWithBlobOperation, azerr.LeaseNotPresentWithBlobOperation},
			want{azerr.LeaseNotPresentWithBlobOperation, azerr.LeaseNotPresentWithBlobOperation}},
		{"expired", []lease.Request{{Action: lease.Acquire, Proposed: "a", Seconds: 15}}, 15 * time.Second,
			want{}, want{azerr.LeaseLost, azerr.LeaseLost},
			want{azerr.LeaseNotPresentWithBlobOperation, azerr.LeaseNotPresentWithBlobOperation}},
	}
	try := func(state string, c call, lease []lease.Request, wait time.Duration, id string, want azerr.Code) {
		t.Helper()
		f := newFixture(t)
		defer f.close()
		f.create("b", 1)
		for _, r := range lease {
			_, _, err := f.LeaseBlob(ref("b"), r, cond.Conditions{})
			ok(t, err)
		}
		f.clock.Advance(wait)
		if err := c.do(f, holding(id)); want != 0 || err != nil {
			wantCode(t, state+", "+c.name+", id "+id, err, want)
		}
	}
	for _, s := range states {
		for _, c := range append([]call{snapshotCall}, readCalls...) {
			try(s.name, c, s.lease, s.wait, "", s.none.read)
			try(s.name, c, s.lease, s.wait, "a", s.id.read)
			try(s.name, c, s.lease, s.wait, "b", s.no.read)
		}
		for _, c := range writeCalls {
			try(s.name, c, s.lease, s.wait, "", s.none.write)
			try(s.name, c, s.lease, s.wait, "a", s.id.write)
			try(s.name, c, s.lease, s.wait, "b", s.no.write)
		}
	}
}

// TestLeaseOfBlob: what a lease and a blob do to each other.
func TestLeaseOfBlob(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	before := f.info(ref("b")).Stamp
	do := func(r lease.Request) lease.Result {
		t.Helper()
		result, stamp, err := f.LeaseBlob(ref("b"), r, cond.Conditions{})
		ok(t, err)
		equal(t, "stamp does not change", stamp, f.info(ref("b")).Stamp)
		return result
	}
	refused := func(r lease.Request, want azerr.Code) {
		t.Helper()
		_, _, err := f.LeaseBlob(ref("b"), r, cond.Conditions{})
		wantCode(t, r.Action.String(), err, want)
	}
	status := func(want lease.Status) {
		t.Helper()
		equal(t, "state", f.info(ref("b")).Lease.Status, want)
	}
	one := do(lease.Request{Action: lease.Acquire, Seconds: 15}).ID
	two := do(lease.Request{Action: lease.Change, ID: one, Proposed: "two"}).ID
	equal(t, "changed", two, "two")
	equal(t, "made-up ids are GUIDs", len(one), 36)
	equal(t, "stamp", f.info(ref("b")).Stamp, before)
	s := f.snapshot("b")
	equal(t, "a snapshot has no lease", f.info(snap("b", s)).Lease.Status, lease.Available)

	// Overwriting keeps an active lease and forgets one that is over.
	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Access: holding("two"), Size: 512}))
	status(lease.Leased)
	f.reopen()
	status(lease.Leased)
	f.clock.Advance(15 * time.Second)
	status(lease.Expired)
	do(lease.Request{Action: lease.Renew, ID: "two"})
	f.clock.Advance(15 * time.Second)
	f.create("b", 1)
	status(lease.Available)
	refused(lease.Request{Action: lease.Renew, ID: "two"}, azerr.LeaseIdMismatchWithLeaseOperation)

	// So does every other write, but not a read or a snapshot.
	for _, c := range writeCalls {
		if c.name == "DeleteBlob" {
			continue
		}
		do(lease.Request{Action: lease.Acquire, Proposed: "a", Seconds: 15})
		do(lease.Request{Action: lease.Break, HasPeriod: true})
		status(lease.Broken)
		for _, r := range append([]call{snapshotCall}, readCalls...) {
			ok(t, r.do(f, Access{}))
		}
		status(lease.Broken)
		ok(t, c.do(f, Access{}))
		status(lease.Available)
	}

	// A write under the lease keeps it.
	do(lease.Request{Action: lease.Acquire, Proposed: "a", Seconds: lease.Infinite})
	for _, c := range writeCalls[:len(writeCalls)-1] {
		ok(t, c.do(f, holding("a")))
		status(lease.Leased)
	}
	do(lease.Request{Action: lease.Break, HasPeriod: true, Period: 5})
	status(lease.Breaking)
	f.clock.Advance(5 * time.Second)
	status(lease.Broken)

	_, _, err := f.LeaseBlob(snap("b", s), lease.Request{Action: lease.Break}, cond.Conditions{})
	wantCode(t, "of a snapshot", err, azerr.InvalidQueryParameterValue)
	_, _, err = f.LeaseBlob(ref("none"), lease.Request{Action: lease.Break}, cond.Conditions{})
	wantCode(t, "of nothing", err, azerr.BlobNotFound)
	refused(lease.Request{Action: lease.Acquire, Seconds: 61}, azerr.InvalidHeaderValue)
	// A blob made again after its deletion knows nothing of the lease.
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.create("b", 1)
	refused(lease.Request{Action: lease.Break}, azerr.LeaseNotPresentWithLeaseOperation)
}
