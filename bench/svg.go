package bench

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// svg is a picture in the making. Colors and sizes of letters come from the page, by classes.
type svg struct {
	body          strings.Builder
	width, height float64
}

func (s *svg) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(&s.body, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2">%s</rect>`, class, x, y, max(w, 0), h, titleOf(title))
}

func (s *svg) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&s.body, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (s *svg) circle(class string, x, y, r float64, title string) {
	fmt.Fprintf(&s.body, `<circle class="%s" cx="%.1f" cy="%.1f" r="%.1f">%s</circle>`, class, x, y, r, titleOf(title))
}

// text puts text at a point that is its start, middle or end, at the height of its middle.
func (s *svg) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(&s.body, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, class, anchor, x, y+4, template.HTMLEscapeString(text))
}

func (s *svg) polyline(class string, points [][2]float64) {
	var list []string
	for _, p := range points {
		list = append(list, fmt.Sprintf("%.1f,%.1f", p[0], p[1]))
	}
	fmt.Fprintf(&s.body, `<polyline class="%s" points="%s"/>`, class, strings.Join(list, " "))
}

func titleOf(text string) string {
	if text == "" {
		return ""
	}
	return "<title>" + template.HTMLEscapeString(text) + "</title>"
}

// html returns the picture, which label describes for those who do not see it.
func (s *svg) html(label string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg role="img" aria-label="%s" viewBox="0 0 %.0f %.0f">%s</svg>`,
		template.HTMLEscapeString(label), s.width, s.height, s.body.String()))
}

// axis maps values to places.
type axis struct {
	low, high float64 // values at its ends
	from, to  float64 // places of its ends
	log       bool
	ticks     []float64
}

func (a *axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log(max(v, a.low)), math.Log(low), math.Log(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// linear returns an axis from 0 to a round value not below most, with three to five ticks.
func linear(most, from, to float64) *axis {
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	switch n := most / step; {
	case n <= 1:
		step /= 4
	case n <= 2:
		step /= 2
	case n > 5:
		step *= 2
	}
	a := &axis{from: from, to: to}
	for v := 0.0; ; v += step {
		a.ticks = append(a.ticks, v)
		if a.high = v; v >= most*0.999 {
			return a
		}
	}
}

// logarithmic returns an axis over whole powers of ten.
func logarithmic(least, most, from, to float64) *axis {
	if least <= 0 {
		least = most / 10
	}
	if most <= 0 {
		least, most = 1, 10
	}
	a := &axis{log: true, from: from, to: to, low: math.Pow(10, math.Floor(math.Log10(least)))}
	for v := a.low; ; v *= 10 {
		a.ticks = append(a.ticks, v)
		if a.high = v; v >= most*0.999 && v > a.low {
			return a
		}
	}
}
