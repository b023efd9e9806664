package tier

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/azure/azerr"
)

// TestTranscripts runs testdata/*. Commands:
//
//	parse                        reads each line of the input
//	infer                        the tier of each size in the input, in GiB; +1 is a byte more
//	change size=GiB              from which tier to which: a table
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "parse":
				return each(d.Input, func(line string) string {
					got, err := Parse([]byte(line))
					if err != nil {
						return verdict(err)
					}
					return got.String()
				})
			case "infer":
				return each(d.Input, func(line string) string { return Infer(size(t, line)).String() })
			case "change":
				var text string
				d.ScanArgs(t, "size", &text)
				return changes(size(t, text))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func each(input string, f func(line string) string) string {
	var out []string
	for line := range strings.SplitSeq(input, "\n") {
		out = append(out, line+": "+f(line))
	}
	return strings.Join(out, "\n")
}

func size(t *testing.T, text string) (n int64) {
	number, more, _ := strings.Cut(text, "+")
	if _, err := fmt.Sscan(number, &n); err != nil {
		t.Fatal(err)
	}
	n <<= 30
	if more != "" {
		n++
	}
	return n
}

func verdict(err error) string {
	e := azerr.From(err)
	return fmt.Sprintf("%d %s", e.Code.Status(), e.Code.Wire())
}

// changes shows for each tier that a blob may have which it can get, and why not the others.
func changes(size int64) string {
	var out []string
	for _, from := range []Tier{0, 4, 20, 60, 80} {
		var may []string
		refused := map[string][]string{}
		for _, to := range tiers {
			if err := Change(from, to.tier, size); err != nil {
				refused[verdict(err)] = append(refused[verdict(err)], to.tier.String())
			} else {
				may = append(may, to.tier.String())
			}
		}
		name := from.String()
		if from == 0 {
			name = "none"
		}
		out = append(out, fmt.Sprintf("from %s: %s", name, strings.Join(may, " ")))
		for _, code := range []string{"409 BlobTierInadequateForContentLength", "409 CannotChangeToLowerTier"} {
			if len(refused[code]) > 0 {
				out = append(out, "  "+code+": "+strings.Join(refused[code], " "))
			}
		}
	}
	return strings.Join(out, "\n")
}

// FuzzParse: what is read as a tier is one, and is written as it was read, letter case aside.
func FuzzParse(f *testing.F) {
	for _, v := range []string{"P4", "p80", "P04", "Hot", "", "P", "P256"} {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		got, err := Parse(v)
		if err == nil && (!got.Valid() || !strings.EqualFold(got.String(), string(v))) {
			t.Errorf("%q: read as %v", v, got)
		}
		if err != nil && got != 0 {
			t.Errorf("%q: %v with an error", v, got)
		}
	})
}
