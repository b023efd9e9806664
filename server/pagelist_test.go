package server

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestPageListBound: a list of pages costs no more memory than one that a source may answer with, whatever it is made of.
func TestPageListBound(t *testing.T) {
	list := func(part string, n int) []byte { return []byte("<PageList>" + strings.Repeat(part, n) + "</PageList>") }
	fill := func(part string) int { return (fetchList - 30) / len(part) }
	entries := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "<PageRange><Start>%d</Start><End>%d</End></PageRange>", 1024*i, 1024*i+511)
		}
		return list(b.String(), 1)
	}
	cost := func(body []byte, want bool) uint64 {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, _, err := parsePageList(body, 1<<40, true)
		runtime.ReadMemStats(&after)
		if (err == nil) != want {
			t.Errorf("%.60s…: %d entries, %v", body, len(got), err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	most := cost(entries(sourcePagesMax), true)
	for what, body := range map[string][]byte{
		"an entry too many":        entries(sourcePagesMax + 1),
		"eight times too many":     entries(8 * sourcePagesMax)[:fetchList],
		"something else":           list("<a/>", fill("<a/>")),
		"something else within":    list("<PageRange>"+strings.Repeat("<a/>", fill("<a/>"))+"</PageRange>", 1),
		"nested":                   list("<a>", fill("<a>")),
		"nested within":            list("<PageRange>"+strings.Repeat("<a>", fill("<a>")), 1),
		"nested in a number":       list("<PageRange><Start>"+strings.Repeat("<a>", fill("<a>")), 1),
		"nested in a marker":       list("<NextMarker>"+strings.Repeat("<a>", fill("<a>")), 1),
		"attributes":               list("<a"+strings.Repeat(" a=''", fill(" a=''")), 1),
		"attributes of the list":   []byte("<PageList" + strings.Repeat(" a=''", fill(" a=''")) + "></PageList>"),
		"a marker that is no more": list("<NextMarker>"+strings.Repeat("x", copySourceMax+1)+"</NextMarker>", 1),
		"two beginnings":           list("<PageRange><Start>0</Start><Start>0</Start><End>511</End></PageRange>", 1),
	} {
		if got := cost(body, false); got > 2*most {
			t.Errorf("%s: %d bytes are allocated, and %d for the longest list there may be", what, got, most)
		}
	}
}
