package bench

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strconv"
	"time"
)

//go:embed report.tmpl
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// section is a workload on the page.
type section struct {
	WorkloadInfo
	Throughput, Latency, Scaling template.HTML
	Legends                      []legend // of the targets that it was measured on
	Head                         []string
	Lines                        [][]string
}

// legend is a target on the page, with the class of its color.
type legend struct {
	TargetInfo
	Color string
}

// WriteHTML writes the report as one page that needs nothing else: plots, the tables, and what was measured how.
func (r *Report) WriteHTML(w io.Writer) error {
	var sections []section
	for _, l := range r.workloads() {
		head, lines := r.tableOf(l.Name)
		if len(lines) == 0 {
			continue
		}
		sections = append(sections, section{WorkloadInfo: l, Head: head, Lines: lines, Throughput: r.plotThroughput(l.Name),
			Latency: r.plotLatency(l.Name), Scaling: r.plotScaling(l.Name), Legends: r.legends(l.Name)})
	}
	return page.Execute(w, map[string]any{
		"Report": r, "Sections": sections, "Legends": r.legends(""), "Seed": strconv.FormatUint(r.Seed, 10),
		"Started": r.Started.UTC().Format("2006-01-02 15:04 MST"), "Rounds": plural(r.Rounds, "round"), "Round": time.Duration(r.RoundNanos).String(),
	})
}

// legends returns the targets that a workload was measured on; all for the empty name.
func (r *Report) legends(workload string) []legend {
	var list []legend
	for _, t := range r.Targets {
		if workload == "" || slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Workload == workload && row.Target == t.Name }) {
			list = append(list, legend{t, r.colorOf(t.Name)})
		}
	}
	return list
}
