package bench

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// reportOf reads the report that a command is given as JSON, and sets its ratios.
func reportOf(t *testing.T, d *datadriven.TestData) (rep Report) {
	dec := json.NewDecoder(strings.NewReader(d.Input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rep); err != nil {
		d.Fatalf(t, "%v", err)
	}
	rep.setRatios()
	return rep
}

// TestTable renders reports given as JSON. The commands: table prints the text, json the report as it is written again,
// ratios the rows' ratios set anew.
func TestTable(t *testing.T) {
	datadriven.Walk(t, "testdata/table", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			rep := reportOf(t, d)
			var b strings.Builder
			write := rep.WriteTable
			if d.Cmd == "json" {
				write = rep.WriteJSON
			}
			if err := write(&b); err != nil {
				d.Fatalf(t, "%v", err)
			}
			return b.String()
		})
	})
}

func TestMedian(t *testing.T) {
	f := func(want float64, v ...float64) {
		t.Helper()
		if got := median(v); got != want {
			t.Errorf("median(%v) = %v, want %v", v, got, want)
		}
	}
	f(0)
	f(3, 3)
	f(2, 3, 1)
	f(2, 9, 1, 2)
	f(2.5, 4, 1, 2, 3)
}

func TestFigures(t *testing.T) {
	f := func(want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("0.00", figure(0))
	f("9.99", figure(9.994))
	f("10.0", figure(9.996))
	f("99.9", figure(99.94))
	f("100", figure(99.96))
	f("42200", figure(42200.4))
	f("0.021", millis(21_000))
	f("1.00", millis(1_000_000))
	f("268", millis(268_400_000))
	f("0.00", multiple(0))
	f("7.27", multiple(7.272))
	f("0.10", multiple(0.1))
	f("0.034", multiple(0.0341))
	f("0.0034", multiple(0.00341))
	f("134%", percent(1.344))
}
