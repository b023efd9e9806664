package cond

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// The resource of all tests. Its ETag is its moment of change, as recorded from the service.
const (
	etag     = ETag(0x8DA7BAB2E7E693F)
	etagText = `"0x8DA7BAB2E7E693F"`
	// Conditions see the second only.
	modifiedText = "Thu, 11 Aug 2022 15:07:17 GMT"
	beforeText   = "Thu, 11 Aug 2022 15:07:16 GMT"
)

var modified = time.Date(2022, 8, 11, 15, 7, 17, 600697500, time.UTC)

func set(t testing.TB, lines ...string) *header.Set {
	t.Helper()
	s := new(header.Set)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if err := s.Add([]byte(name), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// answer is how transcripts show an error.
func answer(err error) string {
	if err == nil {
		return "pass"
	}
	e := azerr.From(err)
	s := fmt.Sprintf("%d %s", e.Code.Status(), e.Code.Wire())
	for _, d := range e.Details {
		s += fmt.Sprintf(" %s=%q", d.Name, d.Value)
	}
	return s
}

// TestTranscripts runs testdata. "check" takes headers of a request, one a line, and shows what each kind of operation
// on the resource answers; "dates" the same for a container; "sequence at=n" for the sequence conditions of a page
// write.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var lines []string
			if d.Input != "" {
				lines = strings.Split(d.Input, "\n")
			}
			s := set(t, lines...)
			switch d.Cmd {
			case "check":
				c, err := Parse(s)
				if err != nil {
					return answer(err)
				}
				return fmt.Sprintf("read:   %s\nwrite:  %s\ncreate: %s\nabsent: %s",
					answer(c.CheckRead(etag, modified)), answer(c.CheckWrite(etag, modified)),
					answer(c.CheckCreate(true, etag, modified)), answer(c.CheckCreate(false, 0, time.Time{})))
			case "dates":
				c, err := ParseDates(s)
				if err != nil {
					return answer(err)
				}
				return "write:  " + answer(c.CheckWrite(etag, modified))
			case "sequence":
				var at int64
				d.ScanArgs(t, "at", &at)
				q, err := ParseSequence(s)
				if err != nil {
					return answer(err)
				}
				return answer(q.Check(at))
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

// TestMatrix walks all combinations of the four headers, each absent, holding, or failing, and If-None-Match and If-Match
// also as *, against the rules written down a second time.
func TestMatrix(t *testing.T) {
	type choice struct {
		line   string // empty: absent
		absent bool
		star   bool
		holds  bool
	}
	const none = `"0x8000000000000000"`
	match := []choice{{absent: true, holds: true}, {line: "If-Match: " + etagText, holds: true}, {line: "If-Match: " + none}, {line: "If-Match: *", star: true, holds: true}}
	noneMatch := []choice{{absent: true, holds: true}, {line: "If-None-Match: " + none, holds: true}, {line: "If-None-Match: " + etagText}, {line: "If-None-Match: *", star: true}}
	since := []choice{{absent: true, holds: true}, {line: "If-Modified-Since: " + beforeText, holds: true}, {line: "If-Modified-Since: " + modifiedText}}
	unmodified := []choice{{absent: true, holds: true}, {line: "If-Unmodified-Since: " + modifiedText, holds: true}, {line: "If-Unmodified-Since: " + beforeText}}
	legal := map[string]bool{"": true, "m": true, "n": true, "s": true, "u": true, "ns": true, "mu": true}

	count := 0
	for _, m := range match {
		for _, n := range noneMatch {
			for _, s := range since {
				for _, u := range unmodified {
					var lines []string
					given := ""
					for i, c := range []choice{m, n, s, u} {
						if !c.absent {
							lines = append(lines, c.line)
							given += "mnsu"[i : i+1]
						}
					}
					c, err := Parse(set(t, lines...))
					if err != nil {
						t.Fatalf("%q: %v", lines, err)
					}
					if c.Empty() != (given == "") {
						t.Errorf("%q: Empty is %v", lines, c.Empty())
					}

					// Reads: M and U and (N or S), where the absent one of N and S leaves the other to decide.
					var read error
					or := n.holds && s.holds
					if !n.absent && !s.absent {
						or = n.holds || s.holds
					}
					switch {
					case n.star:
						read = azerr.UnsatisfiableCondition
					case !m.holds || !u.holds:
						read = azerr.ConditionNotMet
					case !or:
						read = azerr.NotModified
					}
					if got := c.CheckRead(etag, modified); got != read {
						t.Errorf("%q: read got %v, want %v", lines, got, read)
					}

					// Writes: one header, or one of two pairs in which the ETag decides.
					var write, create, absent error
					switch {
					case !legal[given]:
						write = azerr.MultipleConditionHeadersNotSupported
						create, absent = write, write
					default:
						ok := m.holds && n.holds
						if m.absent && n.absent {
							ok = s.holds && u.holds
						}
						if !ok {
							write, create = azerr.ConditionNotMet, azerr.ConditionNotMet
						}
						if n.star {
							create = azerr.BlobAlreadyExists
						}
						if !m.absent {
							absent = azerr.ConditionNotMet
						}
					}
					if got := c.CheckWrite(etag, modified); got != write {
						t.Errorf("%q: write got %v, want %v", lines, got, write)
					}
					if got := c.CheckCreate(true, etag, modified); got != create {
						t.Errorf("%q: create got %v, want %v", lines, got, create)
					}
					if got := c.CheckCreate(false, 0, time.Time{}); got != absent {
						t.Errorf("%q: create of a missing one got %v, want %v", lines, got, absent)
					}
					count++
				}
			}
		}
	}
	if count != 144 {
		t.Errorf("%d combinations, want 144", count)
	}
}

func TestETag(t *testing.T) {
	if got := ETagAt(modified); got != etag || got.String() != etagText || got.Bare() != "0x8DA7BAB2E7E693F" {
		t.Errorf("got %v", got)
	}
	if got := etag.Time(); !got.Equal(modified) {
		t.Errorf("got %v", got)
	}
	f := func(text string, want ETag, ok bool) {
		t.Helper()
		if got, gotOK := parseETag([]byte(text)); got != want || gotOK != ok {
			t.Errorf("%q: got %v, %v", text, got, gotOK)
		}
	}
	f("0x8DA7BAB2E7E693F", etag, true)
	f("0xFFFFFFFFFFFFFFFF", 1<<64-1, true)
	f("0x1", 1, true)
	// Not as we write it: it is the ETag of nothing.
	for _, s := range []string{"", "0", "0x", "0x0", "0x01", "0x8da7bab2e7e693f", "0X8DA7BAB2E7E693F", "8DA7BAB2E7E693F", "0x1FFFFFFFFFFFFFFFF", "0xG", " 0x1"} {
		f(s, 0, false)
	}
}

// FuzzParse checks that no header crashes the parser, that what it cannot read is one error and no other, and that what
// it read decides as the text says.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"*", etagText, `"a", W/"b" ,c`, `"`, ",", "W/", `W/"`, modifiedText, "a b"} {
		f.Add(s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, m, n, s, u string) {
		h := new(header.Set)
		for i, v := range []string{m, n, s, u} {
			id := []header.ID{header.IfMatch, header.IfNoneMatch, header.IfModifiedSince, header.IfUnmodifiedSince}[i]
			if err := h.Add([]byte(id.String()), []byte(v)); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Parse(h)
		if err != nil {
			if !errors.Is(err, azerr.InvalidHeaderValue) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if c.match.count == 0 || c.noneMatch.count == 0 {
			t.Fatalf("a header without an entity tag was read: %+v", c)
		}
		if err := c.CheckWrite(etag, modified); err != azerr.MultipleConditionHeadersNotSupported {
			t.Fatalf("all four on a write: %v", err)
		}
		// Where both lists name the resource, or both are *, a read cannot get through the first or fails the second.
		read := c.CheckRead(etag, modified)
		if c.noneMatch.any != errors.Is(read, azerr.UnsatisfiableCondition) {
			t.Fatalf("If-None-Match %q: %v", n, read)
		}
		if !c.match.matches(etag) && read == nil {
			t.Fatalf("If-Match %q let the request pass", m)
		}
	})
}

// BenchmarkPinnedRead is the condition of every download after its first part.
func BenchmarkPinnedRead(b *testing.B) {
	s := set(b, "If-Match: "+etagText)
	b.ReportAllocs()
	for b.Loop() {
		c, err := Parse(s)
		if err != nil || c.CheckRead(etag, modified) != nil {
			b.Fatal("not met")
		}
	}
}
