package bench

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
)

// Where things stand in the pictures, in the units of their viewBox, which are pixels at their natural size.
const (
	plotWidth = 620.0
	plotLeft  = 150.0 // room for the names of targets
	plotRight = 20.0
	barHeight = 14.0
	rowHeight = 22.0
	headRoom  = 22.0 // above a group: its number of connections
	axisRoom  = 26.0
	seriesMax = 8 // colors of the page; further targets share them
)

// rowsOf returns the rows of a workload by connections, in the order of the report.
func (r *Report) rowsOf(workload string) (groups [][]*Row) {
	last := 0
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Workload != workload {
			continue
		}
		if len(groups) == 0 || row.Connections != last {
			groups, last = append(groups, nil), row.Connections
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], row)
	}
	return groups
}

// colorOf returns the class of a target's color.
func (r *Report) colorOf(target string) string {
	for i, t := range r.Targets {
		if t.Name == target {
			return "c" + strconv.Itoa(i%seriesMax)
		}
	}
	return "c0"
}

// unitOf returns what a workload's rates are shown in, and how much one of it is.
func unitOf(groups [][]*Row) (name string, one float64) {
	for _, g := range groups {
		for _, row := range g {
			if row.BytesPerSecond > 0 {
				return "MB/s", 1e6
			}
		}
	}
	return "ops/s", 1
}

// plotThroughput draws a bar for each row, and from the slowest to the fastest round a line across its end.
func (r *Report) plotThroughput(workload string) template.HTML {
	groups := r.rowsOf(workload)
	unit, one := unitOf(groups)
	most := 0.0
	for _, g := range groups {
		for _, row := range g {
			_, fastest := row.extremes()
			most = max(most, fastest/one, row.rate()/one)
		}
	}
	s, bottom := newRowPlot(groups)
	x := linear(most, plotLeft, plotWidth-plotRight-60) // and room for the figure
	s.gridX(x, bottom, unit)
	eachRow(s, groups, func(row *Row, y float64) {
		slowest, fastest := row.extremes()
		v := row.rate() / one
		s.rect("bar "+r.colorOf(row.Target), plotLeft, y-barHeight/2, x.at(v)-plotLeft, barHeight,
			fmt.Sprintf("%s, %s: %s %s, rounds from %s to %s", row.Target, plural(row.Connections, "connection"), figure(v), unit, figure(slowest/one), figure(fastest/one)))
		end := x.at(v)
		if fastest > slowest {
			end = max(end, x.at(fastest/one))
			s.line("whisker", x.at(slowest/one), y, x.at(fastest/one), y)
			for _, v := range []float64{slowest / one, fastest / one} {
				s.line("whisker", x.at(v), y-4, x.at(v), y+4)
			}
		}
		s.text("figure", "start", end+6, y, figure(v))
	})
	return s.html("throughput of " + workload + " by target")
}

// percentiles are drawn in this order, from the largest dot to the smallest.
var percentiles = []struct {
	name  string
	nanos func(*Row) int64
}{
	{"p50", func(r *Row) int64 { return r.P50Nanos }},
	{"p90", func(r *Row) int64 { return r.P90Nanos }},
	{"p99", func(r *Row) int64 { return r.P99Nanos }},
	{"p99.9", func(r *Row) int64 { return r.P999Nanos }},
}

// plotLatency draws for each row a line with a dot at each percentile.
func (r *Report) plotLatency(workload string) template.HTML {
	groups := r.rowsOf(workload)
	least, most := math.Inf(1), 0.0
	for _, g := range groups {
		for _, row := range g {
			for _, p := range percentiles {
				if n := p.nanos(row); n > 0 {
					least, most = min(least, float64(n)/1e6), max(most, float64(n)/1e6)
				}
			}
		}
	}
	s, bottom := newRowPlot(groups)
	x := logarithmic(least, most, plotLeft+6, plotWidth-plotRight-16)
	s.gridX(x, bottom, "ms")
	eachRow(s, groups, func(row *Row, y float64) {
		color, end := r.colorOf(row.Target), row.P50Nanos
		for _, p := range percentiles {
			end = max(end, p.nanos(row))
		}
		s.line("range "+color, x.at(float64(row.P50Nanos)/1e6), y, x.at(float64(end)/1e6), y)
		for i := len(percentiles) - 1; i >= 0; i-- {
			p := percentiles[i]
			if n := p.nanos(row); n > 0 {
				s.circle("dot "+color, x.at(float64(n)/1e6), y, 6-1.2*float64(i),
					fmt.Sprintf("%s, %s: %s %s ms", row.Target, plural(row.Connections, "connection"), p.name, millis(n)))
			}
		}
	})
	return s.html("latencies of " + workload + " by target")
}

// newRowPlot returns a picture with room for all rows, and where they end.
func newRowPlot(groups [][]*Row) (s *svg, bottom float64) {
	for _, g := range groups {
		bottom += headRoom + rowHeight*float64(len(g))
	}
	return &svg{width: plotWidth, height: bottom + axisRoom}, bottom + 2
}

// eachRow writes the names and calls fn with the middle of each row.
func eachRow(s *svg, groups [][]*Row, fn func(row *Row, y float64)) {
	y := 0.0
	for _, g := range groups {
		s.text("group", "start", 0, y+headRoom/2, plural(g[0].Connections, "connection"))
		y += headRoom
		for _, row := range g {
			s.text("name", "end", plotLeft-8, y+rowHeight/2, shortName(row.Target))
			fn(row, y+rowHeight/2)
			y += rowHeight
		}
	}
}

// shortName fits the room for names.
func shortName(name string) string {
	if r := []rune(name); len(r) > 22 {
		return string(r[:21]) + "…"
	}
	return name
}

// gridX draws the lines of a horizontal axis and its figures below.
func (s *svg) gridX(x *axis, bottom float64, unit string) {
	for i, v := range x.ticks {
		s.line("grid", x.at(v), 0, x.at(v), bottom)
		text := tick(v)
		if i == len(x.ticks)-1 {
			text += " " + unit
		}
		s.text("tick", "middle", x.at(v), bottom+12, text)
	}
}

// tick shows a value of an axis without needless zeros.
func tick(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// plotScaling draws a line for each target over the numbers of connections. It is empty if there is one number only.
func (r *Report) plotScaling(workload string) template.HTML {
	groups := r.rowsOf(workload)
	if len(groups) < 2 {
		return ""
	}
	const height, top = 240.0, 10.0
	unit, one := unitOf(groups)
	most, fewest, largest := 0.0, math.Inf(1), 0.0
	for _, g := range groups {
		fewest, largest = min(fewest, float64(g[0].Connections)), max(largest, float64(g[0].Connections))
		for _, row := range g {
			_, fastest := row.extremes()
			most = max(most, fastest/one)
		}
	}
	s := &svg{width: plotWidth, height: height + axisRoom}
	x := &axis{log: true, low: fewest, high: largest, from: 96, to: plotWidth - plotRight - 10}
	y := linear(most, height, top)
	for i, v := range y.ticks {
		s.line("grid", x.from-8, y.at(v), plotWidth-plotRight, y.at(v))
		text := tick(v)
		if i == len(y.ticks)-1 {
			text += " " + unit
		}
		s.text("tick", "end", x.from-14, y.at(v), text)
	}
	for _, g := range groups {
		s.text("tick", "middle", x.at(float64(g[0].Connections)), height+14, strconv.Itoa(g[0].Connections))
	}
	for _, t := range r.Targets {
		r.scalingLine(s, x, y, groups, t.Name, unit, one)
	}
	return s.html("throughput of " + workload + " over connections")
}

func (r *Report) scalingLine(s *svg, x, y *axis, groups [][]*Row, target, unit string, one float64) {
	color := r.colorOf(target)
	var points [][2]float64
	for _, g := range groups {
		for _, row := range g {
			if row.Target != target {
				continue
			}
			at := x.at(float64(row.Connections))
			slowest, fastest := row.extremes()
			s.line("error "+color, at, y.at(slowest/one), at, y.at(fastest/one))
			s.circle("dot "+color, at, y.at(row.rate()/one), 4, fmt.Sprintf("%s, %s: %s %s", target,
				plural(row.Connections, "connection"), figure(row.rate()/one), unit))
			points = append(points, [2]float64{at, y.at(row.rate() / one)})
		}
	}
	s.polyline("curve "+color, points)
}
