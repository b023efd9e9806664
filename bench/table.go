package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteTable writes the report as text for people: what was measured on, one block a workload, and how much faster data
// goes in the second time.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.Build, r.Machine)
	fmt.Fprintf(&b, "%s, %s of %v, interleaved; medians; MB = 10^6 bytes; latencies in ms\n",
		r.Started.UTC().Format("2006-01-02 15:04 MST"), plural(r.Rounds, "round"), time.Duration(r.RoundNanos))
	if r.Stopped != "" {
		fmt.Fprintf(&b, "%s: not all rounds were run\n", r.Stopped)
	}
	for _, t := range r.Targets {
		fmt.Fprintf(&b, "%s: %s\n", t.Name, t.Where)
	}
	if r.Mix != nil {
		fmt.Fprintf(&b, "data: %s\n", r.Mix)
	}
	for _, l := range r.Refused {
		fmt.Fprintf(&b, "%s does not do %s: %s\n", l.Target, l.Workload, l.Answer)
	}
	for _, l := range r.workloads() {
		r.writeWorkload(&b, l)
	}
	r.writeSecondCopies(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeWorkload writes the block of one workload, if it has rows.
func (r *Report) writeWorkload(b *strings.Builder, w WorkloadInfo) {
	head, lines := r.tableOf(w.Name)
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s: %s\n", w.Name, w.About)
	writeAligned(b, append([][]string{head}, lines...))
	for _, row := range r.Rows {
		if row.Workload == w.Name && row.Busy > 0 {
			fmt.Fprintf(b, "  %s, %s: %s of 503, after which requests were repeated\n", row.Target,
				plural(row.Connections, "connection"), plural(int(row.Busy), "answer"))
		}
	}
}

// tableOf returns the head and the lines of a workload's table.
func (r *Report) tableOf(workload string) (head []string, lines [][]string) {
	head = []string{"conns", "target", "MB/s", "ops/s", "p50", "p90", "p99", "p99.9", "spread", "server", "RSS MiB", "client"}
	for _, t := range r.Targets {
		if t.Baseline {
			head = append(head, "× "+t.Name)
		}
	}
	for _, row := range r.Rows {
		if row.Workload == workload {
			lines = append(lines, r.cellsOf(&row))
		}
	}
	return head, lines
}

func (r *Report) cellsOf(row *Row) []string {
	cells := []string{strconv.Itoa(row.Connections), row.Target, figure(row.BytesPerSecond / 1e6), figure(row.OpsPerSecond),
		millis(row.P50Nanos), millis(row.P90Nanos), millis(row.P99Nanos), unknown, percent(row.Spread),
		percent(row.ServerCores), unknown, percent(row.ClientCores)}
	if row.BytesPerSecond == 0 {
		cells[2] = unknown
	}
	if row.P999Nanos > 0 {
		cells[7] = millis(row.P999Nanos)
	}
	if row.ServerRSSBytes > 0 {
		cells[10] = strconv.FormatInt(row.ServerRSSBytes>>20, 10)
	} else {
		cells[9] = unknown
	}
	for _, t := range r.Targets {
		if !t.Baseline {
			continue
		}
		ratio, ok := row.Ratios[t.Name]
		if !ok {
			cells = append(cells, unknown)
			continue
		}
		cells = append(cells, multiple(ratio))
	}
	return cells
}

// unknown stands where there is no figure.
const unknown = "–"

// figure shows three significant digits, or all before the point.
func figure(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func millis(nanos int64) string {
	if nanos < 1e6 {
		return strconv.FormatFloat(float64(nanos)/1e6, 'f', 3, 64)
	}
	return figure(float64(nanos) / 1e6)
}

// multiple shows two decimals, or as many more as it takes to see two digits of a small one.
func multiple(v float64) string {
	decimals := 2
	for w := v; w > 0 && w < 0.1 && decimals < 5; w *= 10 {
		decimals++
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

func percent(v float64) string { return strconv.FormatFloat(v*100, 'f', 0, 64) + "%" }

// writeAligned writes lines in columns as wide as they need to be; the second column is text, the others are numbers.
func writeAligned(b *strings.Builder, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, l := range lines {
		var line strings.Builder
		for i, c := range l {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 1 {
				c, pad = c+pad, ""
			}
			line.WriteString("  " + pad + c)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// writeSecondCopies compares writing data again with writing it first, for each target that is not a baseline.
func (r *Report) writeSecondCopies(b *strings.Builder) {
	title := "\nThe same data a second time, into another blob, compared with the first time:\n"
	for _, t := range r.Targets {
		if t.Baseline {
			continue
		}
		for _, n := range r.connections() {
			ratio, ok := r.SecondCopy(t.Name, n)
			if !ok {
				continue
			}
			fmt.Fprintf(b, "%s  %s, %s: %.2f × as fast\n", title, t.Name, plural(n, "connection"), ratio)
			title = ""
		}
	}
}

// SecondCopy returns how many times faster a target takes data it has already stored than data it has not; ok is false
// if one of the two was not measured.
func (r *Report) SecondCopy(target string, connections int) (ratio float64, ok bool) {
	first, second := r.Row("put-4m-new", connections, target), r.Row("put-4m-dup", connections, target)
	if first == nil || second == nil || first.BytesPerSecond == 0 {
		return 0, false
	}
	return second.BytesPerSecond / first.BytesPerSecond, true
}

// connections returns the numbers of connections in the report, in order of appearance.
func (r *Report) connections() []int {
	var list []int
	for _, row := range r.Rows {
		if !slices.Contains(list, row.Connections) {
			list = append(list, row.Connections)
		}
	}
	return list
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
