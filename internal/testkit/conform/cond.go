package conform

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// condTerm is one conditional header in a form that holds, or does not, for a resource of whatever stamp. The zero term
// is an absent header.
type condTerm struct {
	name  string
	holds bool
	value func(s stamp) string
}

const otherETag = `"0x8D0000000000001"` // that no resource has

// terms returns absence and every form of a header.
func terms(name string) []condTerm {
	current := func(s stamp) string { return s.etag }
	other := func(stamp) string { return otherETag }
	at := func(offset time.Duration) func(s stamp) string {
		return func(s stamp) string {
			modified, _ := httpTime(s.modified)
			return modified.Add(offset).Format(http.TimeFormat)
		}
	}
	switch name {
	case "If-Match":
		return []condTerm{{}, {name, true, current}, {name, false, other}}
	case "If-None-Match":
		return []condTerm{{}, {name, true, other}, {name, false, current}}
	case "If-Modified-Since":
		return []condTerm{{}, {name, true, at(-time.Second)}, {name, false, at(0)}, {name, false, at(time.Second)}}
	default: // If-Unmodified-Since
		return []condTerm{{}, {name, true, at(0)}, {name, true, at(time.Second)}, {name, false, at(-time.Second)}}
	}
}

func conditions(t T, env *Env) {
	w := env.wire(t)
	w.part("reads", readMatrix)
	w.part("writes", writeMatrix)
	w.part("creates", createMatrix)
	w.part("missing blobs", conditionsOnMissing)
	w.part("forms", conditionForms)
}

// matrix calls f with every combination of the four headers.
func matrix(f func(m, n, ms, us condTerm)) {
	for _, m := range terms("If-Match") {
		for _, n := range terms("If-None-Match") {
			for _, ms := range terms("If-Modified-Since") {
				for _, us := range terms("If-Unmodified-Since") {
					f(m, n, ms, us)
				}
			}
		}
	}
}

// with adds the terms that are there, as they are written for a resource with stamp s.
func (c *call) with(s stamp, terms ...condTerm) *call {
	for _, t := range terms {
		if t.given() {
			c.h(t.name, t.value(s))
		}
	}
	return c
}

// given reports whether the term is there, failed whether it is there and does not hold.
func (t condTerm) given() bool  { return t.name != "" }
func (t condTerm) failed() bool { return t.name != "" && !t.holds }

// readOps are the reads of a blob; each takes all conditions.
func readOps(w *wire, b ref) map[string]func() *call {
	at := w.snapshot(b)
	return map[string]func() *call{
		"Get Blob":             func() *call { return w.get(b, "") },
		"Get Blob, range":      func() *call { return w.get(b, "").h("x-ms-range", "bytes=0-99") },
		"Get Blob Properties":  func() *call { return w.head(b, "") },
		"Get Blob Metadata":    func() *call { return w.get(b, "comp=metadata") },
		"Get Page Ranges":      func() *call { return w.pageList(b) },
		"Get Page Ranges Diff": func() *call { return w.pageList(b, "prevsnapshot", at) },
		"Get Blob, snapshot":   func() *call { return w.get(b, "snapshot="+at) },
	}
}

// readMatrix: a read passes iff If-Match and If-Unmodified-Since and (If-None-Match or If-Modified-Since) hold, absent
// terms not counting. 412 for the first two, 304 for the pair, 412 when both fail.
func readMatrix(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(80, page)).ok(201)
	s := w.stamp(b)
	for name, read := range byKey(readOps(w, b)) {
		w.part(name, func(w *wire) {
			matrix(func(m, n, ms, us condTerm) {
				c := read().with(s, m, n, ms, us)
				switch {
				case m.failed() || us.failed():
					c.fails("ConditionNotMet")
				case n.given() && ms.given() && n.failed() && ms.failed(),
					n.given() && !ms.given() && n.failed(), !n.given() && ms.given() && ms.failed():
					r := c.notModified()
					if stampOf(r) != s {
						w.Errorf("a 304 carries the stamp:\n%v", r)
					}
				default:
					if r := c.send(); r.status != 200 && r.status != 206 {
						w.Errorf("want success:\n%v", r)
					}
				}
			})
			read().h("If-Match", otherETag+", "+s.etag).send().success(w)
			read().h("If-Match", otherETag+","+otherETag).fails("ConditionNotMet")
			read().h("If-None-Match", otherETag+", "+s.etag).notModified()
			read().h("If-None-Match", otherETag+","+otherETag).send().success(w)
			read().h("If-Match", "*").send().success(w)
			read().h("If-None-Match", "*").fails("UnsatisfiableCondition") // 2016-05-31+ [A]
		})
	}
}

// success checks for a 2xx.
func (r *reply) success(w *wire) {
	w.Helper()
	if r.status/100 != 2 {
		w.Errorf("want success:\n%v", r)
	}
}

// writeOps are the writes to an existing blob. Each can be repeated for ever, and so can both halves of a lease's life.
func writeOps(w *wire, b ref) map[string]func() *call {
	return map[string]func() *call{
		"Put Page":            func() *call { return w.update(b, 0, fill(81, page)) },
		"Clear Pages":         func() *call { return w.clear(b, 0, page) },
		"Set Blob Metadata":   func() *call { return w.put(b, "comp=metadata").h("x-ms-meta-a", "1") },
		"Set Blob Properties": func() *call { return w.put(b, "comp=properties").h("x-ms-blob-content-type", "a/b") },
		"resize":              func() *call { return w.resize(b, page) },
		"Snapshot Blob":       func() *call { return w.put(b, "comp=snapshot") },
		"acquire":             func() *call { return w.acquire(b, leaseA, 60) },
		"Delete Blob":         func() *call { return w.delete(b, "").h("x-ms-delete-snapshots", "include") },
	}
}

// writeMatrix: writes take one header, or If-None-Match with If-Modified-Since where the former decides, or If-Match with
// If-Unmodified-Since where the former decides. Anything else is 400; what fails is 412.
func writeMatrix(w *wire) {
	for name := range byKey(writeOps(w, "")) {
		w.part(name, func(w *wire) {
			c := w.container()
			var b ref
			var s stamp
			fresh := func() func() *call { // a blob nobody has written to, so that the stamp is known
				b = c.blob("b")
				w.remake(b)
				s = w.stamp(b)
				return writeOps(w, b)[name]
			}
			write := fresh()
			judge := func(status int, c *call) {
				w.Helper()
				if status == 400 {
					c.fails("MultipleConditionHeadersNotSupported")
				} else if status == 412 {
					c.fails("ConditionNotMet")
				} else {
					c.send().success(w)
					write = fresh()
				}
			}
			matrix(func(m, n, ms, us condTerm) {
				judge(writeOutcome(m, n, ms, us), write().with(s, m, n, ms, us))
			})
			judge(400, write().h("If-Match", s.etag+","+otherETag))
			judge(400, write().h("If-None-Match", otherETag+","+otherETag))
			judge(200, write().h("If-Match", "*"))
			judge(200, write().h("If-Match", strings.Trim(s.etag, `"`)))
			judge(412, write().h("If-None-Match", strings.Trim(s.etag, `"`)))
			if name != "Set Blob Properties" && name != "resize" { // which ignores it on Azure; the reference says 412 [A][D]
				judge(412, write().h("If-None-Match", "*"))
			}
		})
	}
}

// remake puts an empty page blob in the place of whatever is there.
func (w *wire) remake(b ref) {
	w.Helper()
	if r := w.delete(b, "").h("x-ms-delete-snapshots", "include").send(); r.status == 412 {
		w.lease(b, "break").h("x-ms-lease-break-period", "0").ok(202)
		w.delete(b, "").h("x-ms-delete-snapshots", "include").ok(202)
	}
	w.create(b, page).ok(201)
}

// writeOutcome is the rule for writes to what exists.
func writeOutcome(m, n, ms, us condTerm) int {
	switch {
	case m.given() && (n.given() || ms.given()), us.given() && (n.given() || ms.given()):
		return 400
	case m.given():
		return outcome(m)
	case n.given():
		return outcome(n)
	case ms.given():
		return outcome(ms)
	default:
		return outcome(us)
	}
}

func outcome(t condTerm) int {
	if t.failed() {
		return 412
	}
	return 200
}

// createMatrix is Put Blob over an existing blob: as writes, but If-None-Match: * is 409 BlobAlreadyExists.
func createMatrix(w *wire) {
	b := w.container().blob("b")
	w.create(b, page).ok(201)
	s := w.stamp(b)
	matrix(func(m, n, ms, us condTerm) {
		c := w.create(b, page).with(s, m, n, ms, us)
		switch writeOutcome(m, n, ms, us) {
		case 400:
			c.fails("MultipleConditionHeadersNotSupported")
		case 412:
			c.fails("ConditionNotMet")
		default:
			c.ok(201)
			s = w.stamp(b)
		}
	})
	w.create(b, page).h("If-None-Match", "*").fails("BlobAlreadyExists")
	w.create(b, page).h("If-Match", "*").ok(201)
}

// conditionsOnMissing: the column of 2.9 for blobs that do not exist.
func conditionsOnMissing(w *wire) {
	none := w.container().blob("none")
	date := w.ago(time.Hour)
	every := [][2]string{{"If-Match", otherETag}, {"If-Match", "*"}, {"If-None-Match", otherETag},
		{"If-Modified-Since", date}, {"If-Unmodified-Since", date}}
	for _, h := range every {
		w.get(none, "").h(h[0], h[1]).fails("BlobNotFound") // with If-Match too, where Azurite says 412 [A]
		w.head(none, "").h(h[0], h[1]).fails("BlobNotFound")
		w.pageList(none).h(h[0], h[1]).fails("BlobNotFound")
		w.update(none, 0, fill(82, page)).h(h[0], h[1]).fails("BlobNotFound") // [K]
		w.put(none, "comp=metadata").h(h[0], h[1]).fails("BlobNotFound")
		w.delete(none, "").h(h[0], h[1]).fails("BlobNotFound")
		w.acquire(none, leaseA, 15).h(h[0], h[1]).fails("BlobNotFound")
		if h[0] == "If-Match" {
			w.create(none, page).h(h[0], h[1]).fails("ConditionNotMet")
		} else {
			w.create(none, page).h(h[0], h[1]).ok(201)
			w.delete(none, "").ok(202)
		}
	}
	w.create(none, page).h("If-None-Match", "*").ok(201)
	w.create(none, page).h("If-None-Match", "*").fails("BlobAlreadyExists")
}

// conditionForms: ETags with and without quotes, weak ones that match nothing, headers that cannot be read, and dates
// that compare in whole seconds.
func conditionForms(w *wire) {
	b := w.pageBlob(page)
	s := w.stamp(b)
	bare := strings.Trim(s.etag, `"`)
	get := func(name, value string) *call { return w.get(b, "").h(name, value) }
	get("If-Match", bare).ok(200)
	get("If-None-Match", bare).notModified()
	get("If-Match", "W/"+s.etag).failsAny([]string{"ConditionNotMet", "InvalidHeaderValue"})
	get("If-Match", `"some text"`).failsAny([]string{"ConditionNotMet"})
	get("If-None-Match", `"some text"`).ok(200)
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		get(name, "").fails("InvalidHeaderValue", "HeaderName", name, "HeaderValue", "")
		w.put(b, "comp=metadata").h(name, "").fails("InvalidHeaderValue", "HeaderName", name, "HeaderValue", "")
	}
	for _, name := range []string{"If-Modified-Since", "If-Unmodified-Since"} {
		for _, bad := range []string{"yesterday", "2026-01-01", "Mon, 32 Jan 2024 00:00:00 GMT",
			"on the first Wednesday of the month of January", "Mon, 01 Jan 2024 00:00:00 CET", strconv.Itoa(1 << 40)} {
			get(name, bad).fails("InvalidHeaderValue", "HeaderName", name, "HeaderValue", bad)
			w.update(b, 0, fill(83, page)).h(name, bad).fails("InvalidHeaderValue", "HeaderName", name, "HeaderValue", bad)
		}
	}
	get("If-Modified-Since", w.ago(-100*time.Hour)).notModified() // a date ahead is a date
	// Two writes within one second have one Last-Modified, and a date does not tell them apart; the ETag does.
	first := stampOf(w.update(b, 0, fill(84, page)).ok(201))
	second := stampOf(w.update(b, 0, fill(85, page)).ok(201))
	w.update(b, 0, fill(86, page)).h("If-Match", first.etag).fails("ConditionNotMet")
	w.update(b, 0, fill(86, page)).h("If-Unmodified-Since", second.modified).ok(201)
}
