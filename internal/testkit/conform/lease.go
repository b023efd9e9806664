package conform

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

// leasedKind is what the lease tests need to know of blobs and of containers, which have the same leases.
type leasedKind struct {
	name     string
	make     func(w *wire) ref
	query    string // of the properties
	missing  ref
	notFound string
}

var (
	leasedBlob = leasedKind{"blob", func(w *wire) ref { return w.pageBlob(page) }, "", "", "BlobNotFound"}
	leasedCont = leasedKind{"container", (*wire).container, "restype=container", "/none-such", "ContainerNotFound"}
)

func leaseContainer(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		c := w.container()
		client, err := lease.NewContainerClient(w.sdkContainer(c), &lease.ContainerClientOptions{LeaseID: to.Ptr(leaseA)})
		w.must(err)
		_, err = client.AcquireLease(ctx, 15, nil)
		w.must(err)
		_, err = client.RenewLease(ctx, nil)
		w.must(err)
		_, err = w.sdkContainer(c).Delete(ctx, nil)
		w.mustFail(err, "LeaseIdMissing")
		_, err = client.ChangeLease(ctx, leaseB, nil)
		w.must(err)
		_, err = client.ReleaseLease(ctx, nil)
		w.must(err)
		_, err = client.AcquireLease(ctx, -1, nil)
		w.must(err)
		broken, err := client.BreakLease(ctx, nil)
		w.must(err)
		w.equal("time left of an infinite lease", fmt.Sprint(val(broken.LeaseTime)), "0")
	})
	leaseTests(w, leasedCont)
	w.part("use", useOfLeasedContainers)
	w.part("conditions", func(w *wire) {
		c := w.container()
		for _, action := range leaseActions {
			leaseStep(w, c, action).h("If-Unmodified-Since", w.ago(time.Hour)).fails("ConditionNotMet")
			leaseStep(w, c, action).h("If-Modified-Since", w.ago(-time.Minute)).fails("ConditionNotMet")
			leaseStep(w, c, action).h("If-Match", `"0x8D0000000000000"`).fails("ConditionHeadersNotSupported")
			leaseStep(w, c, action).h("If-Modified-Since", w.ago(time.Hour)).send().mustBe(w, action)
		}
	})
}

func leaseBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		b := w.pageBlob(page)
		client, err := lease.NewBlobClient(w.sdkPageBlob(b, "blob"), &lease.BlobClientOptions{LeaseID: to.Ptr(leaseA)})
		w.must(err)
		got, err := client.AcquireLease(ctx, 60, nil)
		w.must(err)
		w.equal("lease id", val(got.LeaseID), leaseA)
		_, err = client.RenewLease(ctx, nil)
		w.must(err)
		_, err = client.ChangeLease(ctx, leaseB, nil)
		w.must(err)
		_, err = w.sdkPageBlob(b, "blob").Delete(ctx, nil)
		w.mustFail(err, "LeaseIdMissing")
		broken, err := client.BreakLease(ctx, &lease.BlobBreakOptions{BreakPeriod: to.Ptr[int32](0)})
		w.must(err)
		w.equal("time left", fmt.Sprint(val(broken.LeaseTime)), "0")
		_, err = client.RenewLease(ctx, nil)
		w.mustFail(err, "LeaseIsBrokenAndCannotBeRenewed")
		_, err = client.ReleaseLease(ctx, nil)
		w.must(err)
	})
	leaseTests(w, leasedBlob)
	w.part("use", useOfLeasedBlobs)
	w.partAfter(expiry, "a write forgets what is over", leaseForgotten)
	w.partAfter(expiry, "in listings", leaseListed)
}

// leaseTests are those that blobs and containers share.
func leaseTests(w *wire, k leasedKind) {
	w.part("transitions", func(w *wire) { leaseTransitions(w, k) })
	w.part("replies", func(w *wire) { leaseReplies(w, k) })
	w.partAfter(70*time.Second, "time", func(w *wire) { leaseTime(w, k) })
	w.partAfter(46*time.Second, "breaking", func(w *wire) { leaseBreaking(w, k) })
	w.part("headers", func(w *wire) { leaseHeaders(w, k) })
}

// The states a lease can be in before a cell of a table, the holder being A.
var leaseStates = []string{"available", "leased", "breaking", "broken", "expired"}

// expiry is when the shortest lease there is, of 15 seconds, is over for certain.
const expiry = 16 * time.Second

// untilState is what must pass before a lease is in a state.
var untilState = map[string]time.Duration{"expired": expiry}

// leaseTransitionTable says for every request and state either the status and the new state or the error. The states and
// the statuses are the reference's [D]; the codes of this table follow Azurite [A].
var leaseTransitionTable = []struct {
	what    string
	headers []string
	want    [5]string // by leaseStates
}{
	{"acquire, no id", []string{"acquire", "", ""},
		[5]string{"201 leased", "LeaseAlreadyPresent", "LeaseAlreadyPresent", "201 leased", "201 leased"}},
	{"acquire B", []string{"acquire", "", leaseB},
		[5]string{"201 leased", "LeaseAlreadyPresent", "LeaseAlreadyPresent", "201 leased", "201 leased"}},
	{"acquire A", []string{"acquire", "", leaseA},
		[5]string{"201 leased", "201 leased", "LeaseIsBreakingAndCannotBeAcquired", "201 leased", "201 leased"}},
	{"renew A", []string{"renew", leaseA, ""}, [5]string{"LeaseIdMismatchWithLeaseOperation", "200 leased",
		"LeaseIsBrokenAndCannotBeRenewed", "LeaseIsBrokenAndCannotBeRenewed", "200 leased"}},
	{"renew B", []string{"renew", leaseB, ""}, [5]string{"LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation",
		"LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation"}},
	{"change A to B", []string{"change", leaseA, leaseB}, [5]string{"LeaseNotPresentWithLeaseOperation", "200 leased",
		"LeaseIsBreakingAndCannotBeChanged", "LeaseNotPresentWithLeaseOperation", "LeaseNotPresentWithLeaseOperation"}},
	{"change B to A", []string{"change", leaseB, leaseA}, [5]string{"LeaseNotPresentWithLeaseOperation", "200 leased",
		"LeaseIsBreakingAndCannotBeChanged", "LeaseNotPresentWithLeaseOperation", "LeaseNotPresentWithLeaseOperation"}},
	{"change B to C", []string{"change", leaseB, leaseC}, [5]string{"LeaseNotPresentWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation",
		"LeaseIdMismatchWithLeaseOperation", "LeaseNotPresentWithLeaseOperation", "LeaseNotPresentWithLeaseOperation"}},
	{"release A", []string{"release", leaseA, ""},
		[5]string{"LeaseIdMismatchWithLeaseOperation", "200 available", "200 available", "200 available", "200 available"}},
	{"release B", []string{"release", leaseB, ""}, [5]string{"LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation",
		"LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithLeaseOperation"}},
	{"break, no id", []string{"break", "", ""},
		[5]string{"LeaseNotPresentWithLeaseOperation", "202 breaking", "202 breaking", "202 broken", "202 broken"}},
	{"break B", []string{"break", leaseB, ""},
		[5]string{"LeaseNotPresentWithLeaseOperation", "202 breaking", "202 breaking", "202 broken", "202 broken"}},
}

// leaseTransitions drives every cell, each on a resource of its own.
func leaseTransitions(w *wire, k leasedKind) {
	cells := prepare(w, k, len(leaseTransitionTable))
	for i, row := range leaseTransitionTable {
		for j, state := range leaseStates {
			w.partAfter(untilState[state], row.what+", "+state, func(w *wire) {
				r := cells[i][j]
				leaseState(w, k, r, state)
				c := leaseRequest(w, r, row.headers[0], row.headers[1], row.headers[2])
				status, after, ok := strings.Cut(row.want[j], " ")
				if !ok {
					c.fails(row.want[j])
					leaseState(w, k, r, state)
					return
				}
				n, _ := strconv.Atoi(status)
				c.ok(n)
				leaseState(w, k, r, after)
			})
		}
	}
}

// leaseRequest is a lease operation with everything it needs; an empty id is not sent.
func leaseRequest(w *wire, r ref, action, id, proposed string) *call {
	c := w.lease(r, action)
	if id != "" {
		c.h("x-ms-lease-id", id)
	}
	if proposed != "" {
		c.h("x-ms-proposed-lease-id", proposed)
	}
	if action == "acquire" {
		c.h("x-ms-lease-duration", "30")
	}
	return c
}

// prepare makes rows × states resources and brings each into its state, at the cost of one wait.
func prepare(w *wire, k leasedKind, rows int) [][]ref {
	w.Helper()
	cells := make([][]ref, rows)
	for i := range cells {
		for _, state := range leaseStates {
			r := k.make(w)
			switch state {
			case "leased":
				w.acquire(r, leaseA, 60).ok(201)
			case "breaking":
				w.acquire(r, leaseA, -1).ok(201)
				w.lease(r, "break").h("x-ms-lease-break-period", "60").ok(202)
			case "broken":
				w.acquire(r, leaseA, -1).ok(201)
				w.lease(r, "break").ok(202)
			case "expired":
				w.acquire(r, leaseA, 15).ok(201)
			}
			cells[i] = append(cells[i], r)
		}
	}
	if w.env.canPass(expiry) { // otherwise nobody asks for those that expire
		w.env.pass(expiry)
	}
	return cells
}

// leaseState checks what the properties say of a lease.
func leaseState(w *wire, k leasedKind, r ref, state string) *reply {
	w.Helper()
	status := map[string]string{"available": "unlocked", "leased": "locked", "breaking": "locked", "broken": "unlocked",
		"expired": "unlocked"}[state]
	head := w.head(r, k.query).ok(200)
	w.headers(head, "x-ms-lease-state", state, "x-ms-lease-status", status)
	if duration := head.get("x-ms-lease-duration"); (duration != "") != (state == "leased") {
		w.Errorf("x-ms-lease-duration %q while %s", duration, state)
	}
	return head
}

// leaseReplies: the headers of each action's reply, and ids in every form .NET writes a GUID.
func leaseReplies(w *wire, k leasedKind) {
	r := k.make(w)
	before := w.stamp(r)
	got := w.acquire(r, leaseA, 15).ok(201)
	w.exactly(got, "ETag", "Last-Modified", "x-ms-lease-id")
	w.headers(got, "x-ms-lease-id", leaseA)
	w.headers(leaseState(w, k, r, "leased"), "x-ms-lease-duration", "fixed")
	w.headers(w.acquire(r, leaseA, -1).ok(201), "x-ms-lease-id", leaseA) // again, as a retry does
	w.headers(leaseState(w, k, r, "leased"), "x-ms-lease-duration", "infinite")
	got = w.lease(r, "renew").h("x-ms-lease-id", strings.ToUpper(leaseA)).ok(200)
	w.exactly(got, "ETag", "Last-Modified", "x-ms-lease-id")
	w.headers(got, "x-ms-lease-id", leaseA)
	for range 2 { // the second is the retry of a change whose reply was lost
		got = w.lease(r, "change").hs("x-ms-lease-id", leaseA, "x-ms-proposed-lease-id", leaseB).ok(200)
		w.exactly(got, "ETag", "Last-Modified", "x-ms-lease-id")
		w.headers(got, "x-ms-lease-id", leaseB)
	}
	got = w.lease(r, "break").h("x-ms-lease-break-period", "10").ok(202)
	w.exactly(got, "ETag", "Last-Modified", "x-ms-lease-time")
	got = w.lease(r, "release").h("x-ms-lease-id", leaseB).ok(200)
	w.exactly(got, "ETag", "Last-Modified")
	got = w.lease(r, "acquire").h("x-ms-lease-duration", "60").ok(201) // the server makes up an id
	if !guidForm.MatchString(got.get("x-ms-lease-id")) {
		w.Errorf("the id made up is %q", got.get("x-ms-lease-id"))
	}
	w.lease(r, "release").h("x-ms-lease-id", got.get("x-ms-lease-id")).ok(200)
	w.unstamped("leases", before, r)

	plain := strings.ReplaceAll(leaseA, "-", "")
	forms := []string{leaseA, strings.ToUpper(leaseA), plain, "{" + leaseA + "}", "(" + leaseA + ")",
		"{0xaaaaaaaa,0x1111,0x4444,{0x88,0x88,0x01,0x23,0x45,0x67,0x89,0xab}}"}
	for _, form := range forms {
		w.acquire(r, form, -1).ok(201)
		for _, other := range forms {
			w.lease(r, "renew").h("x-ms-lease-id", other).ok(200)
		}
		w.lease(r, "release").h("x-ms-lease-id", leaseA).ok(200)
	}
}

// leaseTime: a fixed lease lasts what was asked for, from its last renewal; 15 and 60 seconds are the limits.
func leaseTime(w *wire, k leasedKind) {
	r, long, renewed, again := k.make(w), k.make(w), k.make(w), k.make(w)
	w.acquire(r, leaseA, 15).ok(201)
	w.acquire(long, leaseA, 60).ok(201)
	w.acquire(renewed, leaseA, 15).ok(201)
	w.acquire(again, leaseA, 15).ok(201)
	w.env.pass(10 * time.Second)
	for _, x := range []ref{r, long, renewed, again} {
		leaseState(w, k, x, "leased")
	}
	w.lease(renewed, "renew").h("x-ms-lease-id", leaseA).ok(200)
	w.acquire(again, leaseA, 60).ok(201) // acquired again, the new duration counts
	w.env.pass(6 * time.Second)
	leaseState(w, k, r, "expired")
	leaseState(w, k, long, "leased")
	leaseState(w, k, renewed, "leased")
	leaseState(w, k, again, "leased")
	w.env.pass(10 * time.Second)
	leaseState(w, k, renewed, "expired")
	w.lease(renewed, "renew").h("x-ms-lease-id", leaseA).ok(200) // late, and nobody came in between
	w.env.pass(14 * time.Second)
	leaseState(w, k, renewed, "leased")
	w.env.pass(30 * time.Second)
	leaseState(w, k, renewed, "expired")
	leaseState(w, k, long, "expired")
	leaseState(w, k, again, "expired")
}

// leaseBreaking: how long a break takes. A fixed lease's is what it has left, or the period if that is less; an infinite
// one's is the period, or nothing; a second break shortens and never lengthens.
func leaseBreaking(w *wire, k leasedKind) {
	breakOff := func(r ref, period string, want int) {
		w.Helper()
		c := w.lease(r, "break")
		if period != "" {
			c.h("x-ms-lease-break-period", period)
		}
		got, err := strconv.Atoi(c.ok(202).get("x-ms-lease-time"))
		if err != nil || got > want || got < want-2 && w.env.Advance == nil || got != want && w.env.Advance != nil {
			w.Errorf("break with period %q: %d seconds, want %d", period, got, want)
		}
	}
	fixed, infinite, held := k.make(w), k.make(w), k.make(w)
	for _, x := range []struct {
		seconds int
		period  string
		want    int
	}{{60, "", 60}, {60, "20", 20}, {15, "60", 15}, {60, "0", 0}, {-1, "", 0}, {-1, "60", 60}, {-1, "0", 0}, {-1, "1", 1}} {
		r := k.make(w)
		w.acquire(r, leaseA, x.seconds).ok(201)
		breakOff(r, x.period, x.want)
		leaseState(w, k, r, map[bool]string{true: "broken", false: "breaking"}[x.want == 0])
	}
	w.acquire(fixed, leaseA, 30).ok(201)
	w.acquire(infinite, leaseA, -1).ok(201)
	w.acquire(held, leaseA, 60).ok(201)
	w.env.pass(10 * time.Second)
	breakOff(fixed, "", 20) // what is left
	breakOff(infinite, "60", 60)
	w.env.pass(5 * time.Second)
	breakOff(infinite, "", 55)
	breakOff(infinite, "60", 55) // not longer
	breakOff(infinite, "30", 30) // shorter
	breakOff(infinite, "40", 30)
	leaseState(w, k, infinite, "breaking")
	w.env.pass(16 * time.Second)
	leaseState(w, k, fixed, "broken")
	leaseState(w, k, infinite, "breaking")
	breakOff(fixed, "", 0)
	breakOff(fixed, "60", 0)
	w.env.pass(15 * time.Second)
	leaseState(w, k, infinite, "broken")
	w.acquire(infinite, leaseB, 15).ok(201)
	leaseState(w, k, infinite, "leased")
	breakOff(held, "0", 0)
	leaseState(w, k, held, "broken")
}

var leaseActions = []string{"acquire", "renew", "change", "break", "release"}

// leaseStep is the next of leaseActions in the life of one lease.
func leaseStep(w *wire, r ref, action string) *call {
	switch action {
	case "acquire":
		return w.acquire(r, leaseA, 60)
	case "change":
		return w.lease(r, action).hs("x-ms-lease-id", leaseA, "x-ms-proposed-lease-id", leaseB)
	case "renew":
		return w.lease(r, action).h("x-ms-lease-id", leaseA)
	case "release":
		return w.lease(r, action).h("x-ms-lease-id", leaseB)
	}
	return w.lease(r, action)
}

// mustBe checks the status of a successful lease operation.
func (r *reply) mustBe(w *wire, action string) {
	w.Helper()
	want := map[string]int{"acquire": 201, "renew": 200, "change": 200, "release": 200, "break": 202}[action]
	if r.status != want {
		w.Fatalf("%s: want %d:\n%v", action, want, r)
	}
}

// leaseHeaders: what is missing, out of its limits or not a GUID.
func leaseHeaders(w *wire, k leasedKind) {
	r := k.make(w)
	query := "comp=lease"
	if k.query != "" {
		query = k.query + "&comp=lease"
	}
	bad := func(c *call, name, value string) {
		w.Helper()
		c.h(name, value).fails("InvalidHeaderValue", "HeaderName", name, "HeaderValue", value)
	}
	w.put(r, query).fails("MissingRequiredHeader", "HeaderName", "x-ms-lease-action")
	for _, action := range []string{"", "steal", "acquirerenew"} {
		bad(w.put(r, query), "x-ms-lease-action", action)
	}
	w.lease(r, "acquire").fails("MissingRequiredHeader", "HeaderName", "x-ms-lease-duration")
	for _, seconds := range []string{"14", "61", "0", "-2", "1", "99999999999", "x", "15.0", ""} {
		bad(w.lease(r, "acquire"), "x-ms-lease-duration", seconds)
	}
	for _, action := range []string{"renew", "change", "release"} {
		c := w.lease(r, action)
		if action == "change" {
			c.h("x-ms-proposed-lease-id", leaseB)
		}
		c.fails("MissingRequiredHeader", "HeaderName", "x-ms-lease-id")
	}
	w.lease(r, "change").h("x-ms-lease-id", leaseA).fails("MissingRequiredHeader", "HeaderName", "x-ms-proposed-lease-id")
	for _, id := range []string{"x", leaseA[1:], leaseA + "0", "{" + leaseA, strings.Replace(leaseA, "a", "g", 1), "", "{}"} {
		bad(w.lease(r, "acquire").h("x-ms-lease-duration", "15"), "x-ms-proposed-lease-id", id)
		bad(w.lease(r, "renew"), "x-ms-lease-id", id)
		bad(w.lease(r, "release"), "x-ms-lease-id", id)
		bad(w.lease(r, "change").h("x-ms-proposed-lease-id", leaseB), "x-ms-lease-id", id)
		bad(w.lease(r, "change").h("x-ms-lease-id", leaseB), "x-ms-proposed-lease-id", id)
	}
	w.acquire(r, leaseA, 15).ok(201)
	for _, period := range []string{"-1", "61", "x", ""} {
		bad(w.lease(r, "break"), "x-ms-lease-break-period", period)
	}
	w.lease(r, "release").h("x-ms-lease-id", leaseA).ok(200)
	none := k.missing
	if none == "" {
		none = r.container().blob("none")
	}
	w.acquire(none, leaseA, 15).fails(k.notFound)
	w.lease(none, "break").fails(k.notFound)
	w.lease("/none-such/b", "break").fails("ContainerNotFound")
}

// useTable says for every use and state whether it is allowed ("ok") or the error. The holder is A. LeaseLost, for the
// former holder of an expired lease, is the reference's [D]; Azurite says LeaseNotPresentWithBlobOperation there.
var useTable = []struct {
	use, id string
	want    [5]string // by leaseStates
}{
	{"write", "", [5]string{"ok", "LeaseIdMissing", "LeaseIdMissing", "ok", "ok"}},
	{"write", leaseA, [5]string{"NotPresent", "ok", "ok", "NotPresent", "LeaseLost"}},
	{"write", leaseB, [5]string{"NotPresent", "Mismatch", "Mismatch", "NotPresent", "NotPresent"}}, // 412, not 409 [R]
	{"read", "", [5]string{"ok", "ok", "ok", "ok", "ok"}},
	{"read", leaseA, [5]string{"NotPresent", "ok", "ok", "NotPresent", "LeaseLost"}},
	{"read", leaseB, [5]string{"NotPresent", "Mismatch", "Mismatch", "NotPresent", "NotPresent"}},
}

// useOfLeasedBlobs drives every cell of useTable. Which operations are writes and reads is checked operation by
// operation (writeLease, readLease).
func useOfLeasedBlobs(w *wire) {
	names := strings.NewReplacer("NotPresent", "LeaseNotPresentWithBlobOperation", "Mismatch", "LeaseIdMismatchWithBlobOperation")
	useOfLeased(w, leasedBlob, names, func(w *wire, use string, b ref) (*call, int) {
		if use == "read" {
			return w.get(b, ""), 200
		}
		return w.put(b, "comp=metadata").h("x-ms-meta-a", "1"), 200
	})
}

// useOfLeasedContainers: of a container only the deletion is protected.
func useOfLeasedContainers(w *wire) {
	names := strings.NewReplacer("NotPresent", "LeaseNotPresentWithContainerOperation", "LeaseLost", "LeaseNotPresentWithContainerOperation",
		"Mismatch", "LeaseIdMismatchWithContainerOperation")
	useOfLeased(w, leasedCont, names, func(w *wire, use string, c ref) (*call, int) {
		if use == "read" {
			return w.get(c, "restype=container"), 200
		}
		return w.delete(c, "restype=container"), 202
	})
}

func useOfLeased(w *wire, k leasedKind, names *strings.Replacer, request func(w *wire, use string, r ref) (*call, int)) {
	cells := prepare(w, k, len(useTable))
	for i, row := range useTable {
		for j, state := range leaseStates {
			holder := map[string]string{"": "no id", leaseA: "A", leaseB: "B"}[row.id]
			w.partAfter(untilState[state], row.use+", "+holder+", "+state, func(w *wire) {
				r := cells[i][j]
				leaseState(w, k, r, state)
				c, status := request(w, row.use, r)
				if row.id != "" {
					c.h("x-ms-lease-id", row.id)
				}
				if want := row.want[j]; want != "ok" {
					c.fails(names.Replace(want))
					leaseState(w, k, r, state)
					return
				}
				c.ok(status)
				switch {
				case row.use == "read":
					leaseState(w, k, r, state)
				case k.name == "blob" && (state == "broken" || state == "expired"):
					leaseState(w, k, r, "available") // a write forgets a lease that is over
				case k.name == "blob":
					leaseState(w, k, r, state)
				}
			})
		}
	}
}

// leaseForgotten: after any successful write to a blob whose lease is over, its former holder cannot renew; a refused
// write, a read or a snapshot does not count.
func leaseForgotten(w *wire) {
	writes := map[string]func(b ref) *call{
		"Put Page":            func(b ref) *call { return w.update(b, 0, fill(70, page)) },
		"Clear Pages":         func(b ref) *call { return w.clear(b, 0, page) },
		"Set Blob Metadata":   func(b ref) *call { return w.put(b, "comp=metadata") },
		"Set Blob Properties": func(b ref) *call { return w.put(b, "comp=properties").h("x-ms-blob-content-type", "a/b") },
		"resize":              func(b ref) *call { return w.resize(b, 2*page) },
		"Put Blob":            func(b ref) *call { return w.create(b, page) },
	}
	others := map[string]func(b ref) *call{
		"a refused write": func(b ref) *call { return w.update(b, 0, fill(70, page)).h("x-ms-if-sequence-number-lt", "0") },
		"a read":          func(b ref) *call { return w.get(b, "") },
		"Snapshot Blob":   func(b ref) *call { return w.put(b, "comp=snapshot") },
	}
	blobs := map[string][2]ref{} // one to expire, one to break
	for _, m := range []map[string]func(ref) *call{writes, others} {
		for name := range byKey(m) {
			expires, breaks := w.pageBlob(page), w.pageBlob(page)
			w.acquire(expires, leaseA, 15).ok(201)
			w.acquire(breaks, leaseA, -1).ok(201)
			w.lease(breaks, "break").h("x-ms-lease-break-period", "1").ok(202)
			blobs[name] = [2]ref{expires, breaks}
		}
	}
	w.env.pass(expiry)
	for name, write := range byKey(writes) {
		for _, b := range blobs[name] {
			if r := write(b).send(); r.status/100 != 2 {
				w.Fatalf("%s: %v", name, r)
			}
			leaseState(w, leasedBlob, b, "available")
			w.lease(b, "renew").h("x-ms-lease-id", leaseA).fails("LeaseIdMismatchWithLeaseOperation")
		}
	}
	for name, other := range byKey(others) {
		other(blobs[name][0]).send()
		leaseState(w, leasedBlob, blobs[name][0], "expired")
		w.lease(blobs[name][0], "renew").h("x-ms-lease-id", leaseA).ok(200)
		other(blobs[name][1]).send()
		leaseState(w, leasedBlob, blobs[name][1], "broken")
	}
}

// leaseListed: List Blobs tells the states as they are at the time of asking.
func leaseListed(w *wire) {
	c := w.container()
	for _, state := range leaseStates {
		w.create(c.blob(state), page).ok(201)
	}
	w.acquire(c.blob("leased"), leaseA, 60).ok(201)
	w.acquire(c.blob("expired"), leaseA, 15).ok(201)
	for _, state := range []string{"breaking", "broken"} {
		w.acquire(c.blob(state), leaseA, -1).ok(201)
	}
	w.lease(c.blob("breaking"), "break").h("x-ms-lease-break-period", "60").ok(202)
	w.lease(c.blob("broken"), "break").h("x-ms-lease-break-period", "5").ok(202)
	w.env.pass(expiry)
	for _, b := range w.list(c, "").child("Blobs").children {
		w.equal("listed", b.value("Properties", "LeaseState"), b.value("Name"))
		head := w.head(c.blob(b.value("Name")), "").ok(200)
		w.equal("status", b.value("Properties", "LeaseStatus"), head.get("x-ms-lease-status"))
	}
}
