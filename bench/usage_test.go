package bench

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	f := func(stat string, want Usage, ok bool) {
		t.Helper()
		if got, gotOK := parseStat([]byte(stat), 4096); got != want || gotOK != ok {
			t.Errorf("parseStat(%q) = %v, %v; want %v, %v", stat, got, gotOK, want, ok)
		}
	}
	const tail = " S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 19 20 1000 22 23\n"
	want := Usage{CPU: 2 * time.Second, RSSBytes: 1000 * 4096}
	f("77 (pagevault)"+tail, want, true)
	f("77 (a) b (c d)"+tail, want, true) // the command may contain anything
	f("77 (pagevault) S 1 2", Usage{}, false)
	f("", Usage{}, false)
	f("77 (x) S 1 2 3 4 5 6 7 8 9 10 a b 13 14 15 16 17 18 19 20 1000", Usage{}, false)
}

func TestProcessUsage(t *testing.T) {
	if u, ok := ProcessUsage(os.Getpid()); !ok || u.RSSBytes < 1<<20 {
		t.Errorf("this process: %+v, %v", u, ok)
	}
	if u, ok := ProcessUsage(0); ok || u != (Usage{}) {
		t.Errorf("an unknown process: %+v, %v", u, ok)
	}
}
