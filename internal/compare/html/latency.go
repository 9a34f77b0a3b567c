package html

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// answered and done return a latency that may be shown, or nil: what was not measured, had no answers, or was not reachable has none.
func answered(c *compare.Cell) *compare.Latency { return shown(c, c.Answered) }
func done(c *compare.Cell) *compare.Latency     { return shown(c, c.Done) }

func shown(c *compare.Cell, l *compare.Latency) *compare.Latency {
	if c.NotReachable != "" || l == nil || l.Count == 0 {
		return nil
	}
	return l
}

// distribution plots, for each series, how long each share of all took at most. Scale is of the vertical axis, so that plots that stand beside
// each other can be compared. It returns nil when nothing was measured.
func distribution(id, title string, g *figure.Group, get func(*compare.Cell) *compare.Latency, scale axis, colours map[string]string) *plot {
	p := &plot{id: id, title: title, y: scale}
	most := 0.0
	var says []string
	for _, s := range g.Series {
		l := get(s.Cell)
		if l == nil {
			continue
		}
		// The last nines of few units say nothing: one unit is the end of the curve.
		end := atNines(1 - 1/math.Max(float64(l.Count), 10))
		drawn := line{name: s.Name, class: colours[s.Style], points: curve(l, end)}
		for _, q := range []struct {
			name string
			at   float64
			took time.Duration
		}{{"p50", .5, l.P50}, {"p90", .9, l.P90}, {"p99", .99, l.P99}, {"p99.9", .999, l.P999}} {
			if x := atNines(q.at); x <= end && q.took > 0 {
				drawn.marks = append(drawn.marks, mark{point{x, float64(q.took)}, s.Name + ", " + q.name + ": " + figure.Duration(q.took)})
			}
		}
		if len(drawn.points) == 0 {
			continue
		}
		most = math.Max(most, drawn.points[len(drawn.points)-1].x)
		p.lines = append(p.lines, drawn)
		says = append(says, fmt.Sprintf("%s: half within %s, 99 %% within %s, all within %s.", s.Name, figure.Duration(l.P50), figure.Duration(l.P99), figure.Duration(l.Max)))
	}
	if p.lines == nil {
		return nil
	}
	p.x = nines(most)
	p.describe = strings.Join(says, " ")
	return p
}

// curve returns at most about 120 points.
func curve(l *compare.Latency, end float64) (points []point) {
	quantiles := l.Curve
	if len(quantiles) == 0 {
		quantiles = []compare.Quantile{{At: .5, Took: l.P50}, {At: .9, Took: l.P90}, {At: .99, Took: l.P99}, {At: .999, Took: l.P999}, {At: 1, Took: l.Max}}
	}
	for i, q := range quantiles {
		x := end
		if q.At < 1 {
			x = atNines(math.Max(q.At, 0))
		}
		n := len(points)
		if q.Took <= 0 || x > end || n > 0 && x-points[n-1].x < end/120 && i < len(quantiles)-1 {
			continue
		}
		points = append(points, point{x, float64(q.Took)})
	}
	return points
}

// timeScale is a logarithmic axis that holds the latencies of all cells. Both says that some of them have two; ok, that there are any.
func timeScale(groups []figure.Group, maxTicks int) (a axis, both, ok bool) {
	least, most := math.Inf(1), 0.0
	for _, g := range groups {
		for _, s := range g.Series {
			both = both || answered(s.Cell) != nil && done(s.Cell) != nil
			for _, l := range []*compare.Latency{answered(s.Cell), done(s.Cell)} {
				if l == nil {
					continue
				}
				took := []time.Duration{l.P50, l.P90, l.P99, l.P999, l.Max}
				for _, q := range l.Curve {
					took = append(took, q.Took)
				}
				for _, d := range took {
					if d > 0 {
						least, most = math.Min(least, float64(d)), math.Max(most, float64(d))
					}
				}
			}
		}
	}
	if most == 0 {
		return axis{}, false, false
	}
	return logTime(least, most, maxTicks), both, true
}

const barWidth, barHeight = 180.0, 20.0

// bar draws a row's latencies in a table: the answer, and below it the time until all was done.
func bar(c *compare.Cell, scale axis, class string) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="bar %s" width="%s" height="%s" aria-hidden="true">`, class, number(barWidth), number(barHeight))
	x := func(d time.Duration) string { return number(scale.at(float64(d), 8, barWidth-16)) }
	for _, t := range scale.ticks {
		fmt.Fprintf(&b, `<path class="grid" d="M%s 0V%s"/>`, x(time.Duration(t.at)), number(barHeight))
	}
	both := answered(c) != nil && done(c) != nil
	for i, l := range []*compare.Latency{answered(c), done(c)} {
		if l == nil {
			continue
		}
		y, kind := "10", [...]string{"answered", "done"}[i]
		if both {
			y = [...]string{"6", "14"}[i]
		}
		if l.P99 > 0 && l.Max > 0 {
			fmt.Fprintf(&b, `<path class="reach" d="M%s %sH%s"/>`, x(l.P99), y, x(l.Max))
		}
		if l.P50 > 0 && l.P99 > 0 {
			fmt.Fprintf(&b, `<path class="most" d="M%s %sH%s"/>`, x(l.P50), y, x(l.P99))
		}
		if l.P50 > 0 {
			fmt.Fprintf(&b, `<circle class="%s" cx="%s" cy="%s" r="3"/>`, kind, x(l.P50), y)
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // made here of numbers and names of classes
}

// barAxis is the head of a column of bars.
func barAxis(scale axis) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="bar" width="%s" height="16" aria-hidden="true">`, number(barWidth))
	room := 0.0
	for _, t := range scale.ticks {
		x := math.Max(scale.at(t.at, 8, barWidth-16), 14)
		if x < room {
			continue
		}
		room = x + 48
		fmt.Fprintf(&b, `<text x="%s" y="12" text-anchor="middle">%s</text>`, number(x), template.HTMLEscapeString(t.says))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // made here of numbers and durations
}
