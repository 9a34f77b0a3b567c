package html

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"sort"
	"strconv"
	"strings"
)

// A plot's size and margins, in pixels of the page on a desktop. The right margin holds the names of the lines.
const (
	plotWidth, plotHeight                    = 440.0, 236.0
	plotLeft, plotRight, plotTop, plotBottom = 54.0, 92.0, 20.0, 26.0
	lineOfText                               = 14.0
	longestLabel                             = 15 // characters that the right margin holds
)

type point struct{ x, y float64 } // a gap where y is not a number

// mark is a dot that tells its figure when it is pointed at.
type mark struct {
	point
	says string
}

type line struct {
	name   string // written at its end
	class  string // of its colour
	points []point
	marks  []mark
}

// shade is a time on the horizontal axis during which something was the matter.
type shade struct {
	from, to float64
	says     string
}

type plot struct {
	id       string
	title    string
	describe string
	x, y     axis
	shades   []shade
	lines    []line
}

// svg draws a plot. Every text is escaped, so that the result may be put into a page.
func (p *plot) svg() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" id="%s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		p.id, number(plotWidth), number(plotHeight), p.id, p.id, p.id, html.EscapeString(p.title), p.id, html.EscapeString(p.describe))
	left, right, top, bottom := plotLeft, plotWidth-plotRight, plotTop, plotHeight-plotBottom
	x := func(v float64) float64 { return p.x.at(v, left, right) }
	y := func(v float64) float64 { return p.y.at(v, bottom, top) }
	for _, s := range p.shades {
		from, to := x(math.Max(s.from, p.x.lo)), x(math.Min(s.to, p.x.hi))
		fmt.Fprintf(&b, `<rect class="fault" x="%s" y="%s" width="%s" height="%s"/>`, number(from), number(top), number(to-from), number(bottom-top))
		anchor, at := "start", from
		if from > (left+right)/2 {
			anchor, at = "end", to
		}
		fmt.Fprintf(&b, `<text class="fault-name" x="%s" y="%s" text-anchor="%s">%s</text>`, number(at), number(top-6), anchor, html.EscapeString(s.says))
	}
	for _, t := range p.y.ticks {
		fmt.Fprintf(&b, `<path class="grid" d="M%s %sH%s"/><text x="%s" y="%s" text-anchor="end">%s</text>`,
			number(left), number(y(t.at)), number(right), number(left-7), number(y(t.at)+4), html.EscapeString(t.says))
	}
	for _, t := range p.x.ticks {
		fmt.Fprintf(&b, `<path class="tick" d="M%s %sv4"/><text x="%s" y="%s" text-anchor="middle">%s</text>`,
			number(x(t.at)), number(bottom), number(x(t.at)), number(bottom+17), html.EscapeString(t.says))
	}
	for i, l := range p.lines {
		// Lines that cover each other stay visible, since the lower one is wider.
		width := math.Max(1.6, 3.1-0.8*float64(i))
		for _, run := range runs(l.points) {
			fmt.Fprintf(&b, `<polyline class="line %s" stroke-width="%s" points="`, l.class, number(width))
			for n, q := range run {
				if n > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(number(x(q.x)) + "," + number(y(q.y)))
			}
			b.WriteString(`"/>`)
		}
		for _, m := range l.marks {
			fmt.Fprintf(&b, `<circle class="dot %s" cx="%s" cy="%s" r="3.2"><title>%s</title></circle>`, l.class, number(x(m.x)), number(y(m.y)), html.EscapeString(m.says))
		}
	}
	for _, l := range labels(p.lines, x, y, top, bottom) {
		if math.Abs(l.at-l.end.y) > 3 || right-l.end.x > 3 {
			fmt.Fprintf(&b, `<path class="lead %s" d="M%s %sL%s %s"/>`, l.class, number(l.end.x+2), number(l.end.y), number(right+7), number(l.at))
		}
		fmt.Fprintf(&b, `<text class="name %s" x="%s" y="%s">%s</text>`, l.class, number(right+9), number(l.at+4), html.EscapeString(shortened(l.name)))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // made here of numbers, names of classes, and text that was escaped
}

// runs cuts a line at its gaps. A point that stands alone becomes a dash that can be seen.
func runs(points []point) (all [][]point) {
	var run []point
	for _, q := range append(points[:len(points):len(points)], point{0, math.NaN()}) {
		if !math.IsNaN(q.y) {
			run = append(run, q)
			continue
		}
		if len(run) == 1 {
			run = append(run, run[0])
		}
		if run != nil {
			all, run = append(all, run), nil
		}
	}
	return all
}

type label struct {
	name, class string
	end         point   // of the line, in pixels
	at          float64 // height of the text's middle
}

// labels puts the names of lines beside their ends, apart from each other.
func labels(lines []line, x, y func(float64) float64, top, bottom float64) (all []label) {
	for _, l := range lines {
		for i := len(l.points) - 1; i >= 0 && l.name != ""; i-- {
			if q := l.points[i]; !math.IsNaN(q.y) {
				all = append(all, label{l.name, l.class, point{x(q.x), y(q.y)}, y(q.y)})
				break
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].end.y < all[j].end.y })
	for i := range all { // down, until none covers the one above
		if i > 0 {
			all[i].at = math.Max(all[i].at, all[i-1].at+lineOfText)
		}
	}
	for i, limit := len(all)-1, bottom; i >= 0 && all[i].at > limit; i-- { // and back, where they left the plot
		all[i].at = limit
		limit -= lineOfText
	}
	return all
}

func shortened(name string) string {
	if r := []rune(name); len(r) > longestLabel {
		return string(r[:longestLabel-1]) + "…"
	}
	return name
}

// number writes a coordinate with at most one digit behind the point.
func number(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}
