package pagestore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestErasures runs testdata/erasures. One volume's row is kept; pages are numbers of pages, "end" is the last there is.
//
//	reset [limit=n]        a new volume, with room for n erasures
//	write                  an entry is stored in the current generation
//	freeze                 the current generation ends for good
//	erase from=a to=b      a large clear, which ends the generation
//	lost region=r entry=g  the pages that an entry of the region and of generation g has lost, read at each generation
func TestErasures(t *testing.T) {
	var v volumeRow
	var limit int
	datadriven.RunTest(t, "testdata/erasures", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "reset":
			v, limit = volumeRow{gen: 1}, 256
			d.MaybeScanArgs(t, "limit", &limit)
		case "write":
			v.written = v.gen
		case "freeze":
			v.frozen, v.gen = v.gen, v.gen+1
		case "erase":
			var from, to string
			d.ScanArgs(t, "from", &from)
			d.ScanArgs(t, "to", &to)
			r := Range{End: maxPages}
			if _, err := fmt.Sscan(from, &r.Start); err != nil {
				t.Fatal(err)
			}
			if to != "end" {
				if _, err := fmt.Sscan(to, &r.End); err != nil {
					t.Fatal(err)
				}
			}
			if !v.erase(r, limit) {
				return "no room\n" + formatVolume(&v)
			}
			v.gen++
		case "lost":
			var no uint64
			var entry int
			d.ScanArgs(t, "region", &no)
			d.ScanArgs(t, "entry", &entry)
			var out strings.Builder
			for at := Gen(entry); at <= v.gen; at++ {
				fmt.Fprintf(&out, "read at %d: %v\n", at, v.erased(no, Gen(entry), at))
			}
			return out.String()
		default:
			t.Fatalf("unknown command %s", d.Cmd)
		}
		return formatVolume(&v)
	})
}

func formatVolume(v *volumeRow) string {
	var out strings.Builder
	fmt.Fprintf(&out, "generation %d, frozen %d, written %d\n", v.gen, v.frozen, v.written)
	for _, e := range v.erasures {
		if e.pages.End == maxPages {
			fmt.Fprintf(&out, "after %d: [%d,end)\n", e.gen, e.pages.Start)
		} else {
			fmt.Fprintf(&out, "after %d: [%d,%d)\n", e.gen, e.pages.Start, e.pages.End)
		}
	}
	return out.String()
}
