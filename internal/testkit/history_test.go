package testkit

import (
	"strings"
	"testing"
)

func TestStamp(t *testing.T) {
	s := NewStamp(7, 123456, 511)
	if s.Writer() != 7 || s.Seq() != 123456 || s.Page() != 511 {
		t.Fatalf("%v: writer %d seq %d page %d", s, s.Writer(), s.Seq(), s.Page())
	}
	page := make([]byte, PageSize)
	for _, s := range []Stamp{0, s, NewStamp(0, 1, 0)} {
		s.Fill(page)
		if got, err := ReadStamp(page); err != nil || got != s {
			t.Fatalf("read %v, %v, want %v", got, err, s)
		}
	}
	// half of one page, half of another
	var other [PageSize]byte
	NewStamp(7, 123457, 511).Fill(other[:])
	copy(page[PageSize/2:], other[PageSize/2:])
	if got, err := ReadStamp(page); err == nil {
		t.Fatalf("a torn page reads as %v", got)
	}
	clear(page)
	page[511] = 1
	if _, err := ReadStamp(page); err == nil {
		t.Fatal("a page with one byte set reads as zeros")
	}
}

// TestHistory plays small histories of a blob of two pages, where A, B, C and D are whole writes of both.
func TestHistory(t *testing.T) {
	a, b := NewStamp(1, 1, 0), NewStamp(2, 1, 0)
	whole := func(s Stamp) []Stamp { return []Stamp{s, s + 1} }
	f := func(name string, h *History, at Moment, got []Stamp, wrong string) {
		t.Helper()
		err := h.Check(got, at)
		if wrong == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: error %v, want one with %q", name, err, wrong)
		}
	}

	h := NewHistory(2)
	f("never written", h, Final, []Stamp{0, 0}, "")
	f("from nowhere", h, Final, []Stamp{a, 0}, "page 0 holds writer 1")

	h = NewHistory(2)
	w := h.Begin(0, whole(a))
	f("not acknowledged: old", h, Final, []Stamp{0, 0}, "")
	f("not acknowledged: new", h, Final, whole(a), "")
	f("not acknowledged: old or new by page", h, Final, []Stamp{0, a + 1}, "")
	w.Acknowledged()
	f("acknowledged", h, Final, whole(a), "")
	f("acknowledged and lost", h, Final, []Stamp{a, 0}, "page 1 holds zeros")
	f("wrong page of the right write", h, Final, []Stamp{a + 1, a + 1}, "page 0")

	before := h.Now()
	w = h.Begin(0, whole(b))
	f("second not acknowledged: old", h, Final, whole(a), "")
	f("second not acknowledged: new", h, Final, whole(b), "")
	f("second not acknowledged: older", h, Final, []Stamp{0, 0}, "page 0")
	w.Acknowledged()
	f("second acknowledged", h, Final, whole(b), "")
	f("second acknowledged and lost", h, Final, []Stamp{b, a + 1}, "page 1 holds writer 1")
	f("seen before the second began", h, Moment{before, before}, whole(a), "")
	f("the future", h, Moment{before, before}, whole(b), "page 0 holds writer 2")

	h = NewHistory(2)
	w, v := h.Begin(0, whole(a)), h.Begin(0, whole(b))
	w.Acknowledged()
	v.Acknowledged()
	f("at once: one", h, Final, whole(a), "")
	f("at once: the other", h, Final, whole(b), "")
	f("at once: neither", h, Final, []Stamp{a, 0}, "page 1")

	// A clear is a write of zeros.
	h = NewHistory(2)
	h.Begin(0, whole(a)).Acknowledged()
	h.Begin(1, []Stamp{0}).Acknowledged()
	f("cleared", h, Final, []Stamp{a, 0}, "")
	f("clear lost", h, Final, whole(a), "page 1")

	// A look in the middle sees a whole past: B on page 1 began after A on page 0 was acknowledged.
	h = NewHistory(2)
	from := h.Now()
	h.Begin(0, []Stamp{a}).Acknowledged()
	h.Begin(1, []Stamp{b}).Acknowledged()
	during := Moment{from, h.Now()}
	f("nothing yet", h, during, []Stamp{0, 0}, "")
	f("the first", h, during, []Stamp{a, 0}, "")
	f("both", h, during, []Stamp{a, b}, "")
	f("the second without the first", h, during, []Stamp{0, b}, "page 0")

	some := func(name string, first int, got []Stamp, wrong bool) {
		t.Helper()
		if err := h.CheckSome(first, got, during); (err != nil) != wrong {
			t.Errorf("some pages, %s: %v", name, err)
		}
	}
	some("the second without the first", 0, []Stamp{0, b}, false)
	some("one page", 1, []Stamp{b}, false)
	some("another page's", 1, []Stamp{a}, true)

	h.Restart([]Stamp{a, b})
	some("older than what it began with", 1, []Stamp{0}, true)
	f("as found", h, Final, []Stamp{a, b}, "")
	f("changed since", h, Final, []Stamp{a, 0}, "page 1")
}
