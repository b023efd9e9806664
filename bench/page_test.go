package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestPage renders reports given as JSON. The commands: csv prints the lines, html the page without its style and without
// what is in the pictures, svg what is in the pictures of one workload, an element a line.
func TestPage(t *testing.T) {
	datadriven.Walk(t, "testdata/page", func(t *testing.T, path string) {
		var rep Report
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Input != "" {
				rep = reportOf(t, d)
			}
			var b strings.Builder
			write := rep.WriteHTML
			if d.Cmd == "csv" {
				write = rep.WriteCSV
			}
			if err := write(&b); err != nil {
				d.Fatalf(t, "%v", err)
			}
			if d.Cmd == "csv" {
				return b.String()
			}
			checkPage(t, b.String())
			if d.Cmd == "svg" {
				var workload string
				d.ScanArgs(t, "workload", &workload)
				return pictures(&rep, workload)
			}
			return skeleton(b.String())
		})
	})
}

var (
	stylePattern   = regexp.MustCompile(`(?s)<style>.*</style>`)
	picturePattern = regexp.MustCompile(`(?s)(<svg[^>]*>).*?</svg>`)
	outsidePattern = regexp.MustCompile(`(?i)<(script|link|img|iframe|object)|(src|href)="[^#]|url\(|@import`)
)

func skeleton(page string) string {
	return picturePattern.ReplaceAllString(stylePattern.ReplaceAllString(page, "<style>…</style>"), "$1…</svg>")
}

func pictures(r *Report, workload string) string {
	text := string(r.plotThroughput(workload) + "\n" + r.plotLatency(workload) + "\n" + r.plotScaling(workload))
	return strings.ReplaceAll(text, "><", ">\n<") + "\n"
}

// checkPage: the page needs nothing from elsewhere, and its pictures are XML.
func checkPage(t *testing.T, page string) {
	t.Helper()
	if found := outsidePattern.FindString(page); found != "" {
		t.Errorf("the page refers to something outside: %s", found)
	}
	pictures := picturePattern.FindAllString(page, -1)
	if len(pictures) == 0 {
		t.Error("no pictures")
	}
	for _, p := range pictures {
		for d := xml.NewDecoder(strings.NewReader(p)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, p)
			}
		}
		if strings.Contains(p, "NaN") || strings.Contains(p, "Inf") {
			t.Errorf("no number in %s", p)
		}
	}
}

// TestPageEscapes: what comes from outside is text wherever it stands.
func TestPageEscapes(t *testing.T) {
	const evil = `<script>"'&`
	r := Report{Build: evil, Command: evil, Stopped: evil, Machine: Machine{CPU: evil}, Targets: []TargetInfo{{Name: evil, Where: evil, Server: evil}},
		Workloads: []WorkloadInfo{{evil, evil}}, Refused: []Refusal{{evil, evil, evil}},
		Rows: []Row{{Workload: evil, Target: evil, Connections: 1, OpsPerSecond: 1}, {Workload: evil, Target: evil, Connections: 2, OpsPerSecond: 1}}}
	var b strings.Builder
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	checkPage(t, b.String())
}

func TestAxes(t *testing.T) {
	f := func(a *axis, want ...float64) {
		t.Helper()
		near := func(x, y float64) bool { return x-y < 1e-9*max(x, y, 1) && y-x < 1e-9*max(x, y, 1) }
		if !slices.EqualFunc(a.ticks, want, near) || !near(a.at(a.low), 10) || !near(a.at(a.high), 110) {
			t.Errorf("%+v, want ticks %v", a, want)
		}
	}
	f(linear(0, 10, 110), 0, 0.25, 0.5, 0.75, 1)
	f(linear(1, 10, 110), 0, 0.25, 0.5, 0.75, 1)
	f(linear(1.4, 10, 110), 0, 0.5, 1, 1.5)
	f(linear(420, 10, 110), 0, 100, 200, 300, 400, 500)
	f(linear(5001, 10, 110), 0, 2000, 4000, 6000)
	f(logarithmic(0.03, 20, 10, 110), 0.01, 0.1, 1, 10, 100)
	f(logarithmic(1, 1, 10, 110), 1, 10)
	f(logarithmic(0, 0, 10, 110), 1, 10)
}
