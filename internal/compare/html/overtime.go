package html

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// mostBins keeps plots and the tables behind them readable, and the page small.
const mostBins = 45

// bin is one or more samples in a row.
type bin struct {
	compare.Sample
	lasts time.Duration
}

func (b bin) middle() float64 { return (b.At + b.lasts/2).Seconds() }

// available is the share of what was due that callers were told is accepted; not a number when nothing was due.
func (b bin) available() float64 {
	if b.Due <= 0 {
		return math.NaN()
	}
	return math.Min(float64(b.Accepted)/float64(b.Due), 1)
}

func (b bin) throughput() float64 { return float64(compare.Counted(b.Done)) / b.lasts.Seconds() }
func (b bin) accepted() float64   { return float64(b.Accepted) / b.lasts.Seconds() }
func (b bin) waiting() float64    { return float64(compare.Counted(b.Backlog)) }
func (b bin) offered() float64    { return float64(b.Due) / b.lasts.Seconds() }

// finished says whether it is known when work was done.
func finished(all []bin) bool { return len(all) > 0 && all[0].Done != nil }

// bins joins samples in a row until there are few. Counts add up, the backlog is that of the end, and the 99th percentile the worst one.
func bins(c *compare.Cell) (all []bin) {
	each := (len(c.Samples) + mostBins - 1) / mostBins
	for from := 0; from < len(c.Samples); from += each {
		to := min(from+each, len(c.Samples))
		b := bin{Sample: c.Samples[from]}
		done := compare.Counted(b.Done)
		for _, s := range c.Samples[from+1 : to] {
			b.Due += s.Due
			b.Accepted += s.Accepted
			b.Refused += s.Refused
			done += compare.Counted(s.Done)
			b.P99 = max(b.P99, s.P99)
			b.Backlog = s.Backlog
		}
		if b.Done != nil {
			b.Done = &done
		}
		b.lasts = endOf(c, to) - b.At
		if b.lasts > 0 {
			all = append(all, b)
		}
	}
	return all
}

// endOf returns the end of the sample before n: the beginning of the next, or for the last one as much as the one before lasted, or the end of
// the cell.
func endOf(c *compare.Cell, n int) time.Duration {
	switch last := len(c.Samples) - 1; {
	case n <= last:
		return c.Samples[n].At
	case last > 0:
		end := 2*c.Samples[last].At - c.Samples[last-1].At
		if c.Took > c.Samples[last].At && c.Took < end {
			return c.Took // the last sample is shorter
		}
		return end
	}
	return max(c.Took, c.Samples[0].At)
}

// overTime plots what happened during the cells of a group: answers, throughput, availability and backlog. It returns nothing when none of them has samples.
func overTime(id string, g *figure.Group, colours map[string]string) (plots []*plot) {
	end, mostDone, mostBacklog := 0.0, 0.0, 0.0
	least, slowest := math.Inf(1), 0.0
	series := make([][]bin, len(g.Series))
	worked := false
	for i, s := range g.Series {
		series[i] = bins(s.Cell)
		worked = worked || finished(series[i])
		for _, b := range series[i] {
			end = math.Max(end, (b.At + b.lasts).Seconds())
			mostDone = math.Max(mostDone, math.Max(b.throughput(), b.offered()))
			mostBacklog = math.Max(mostBacklog, b.waiting())
			if b.P99 > 0 {
				least, slowest = math.Min(least, float64(b.P99)), math.Max(slowest, float64(b.P99))
			}
		}
	}
	if end == 0 {
		return nil
	}
	x := clock(end)
	add := func(kind, title string, y axis, offered bool, value func(bin) float64, says func(all []bin) string) {
		p := &plot{id: id + "-" + kind, title: title, x: x, y: y}
		for _, f := range g.Faults {
			p.shades = append(p.shades, shade{f.At.Seconds(), (f.At + f.For).Seconds(), f.Process + " " + f.Kind})
		}
		var described []string
		for i, s := range g.Series {
			unknown := worked && !finished(series[i]) && (kind == "throughput" || kind == "backlog")
			if len(series[i]) == 0 || s.NotReachable != "" && kind == "p99" || unknown {
				continue
			}
			p.lines = append(p.lines, line{name: s.Name, class: colours[s.Style], points: pointsOf(series[i], value)})
			described = append(described, s.Name+": "+says(series[i])+".")
		}
		if offered {
			p.lines = append(p.lines, line{name: "offered", class: "offered", points: pointsOf(series[longest(series)], bin.offered)})
		}
		p.describe = strings.Join(described, " ")
		plots = append(plots, p)
	}
	if slowest > 0 {
		add("p99", "99 % answered within", logTime(least, slowest, 6), false, func(b bin) float64 {
			if b.P99 <= 0 {
				return math.NaN()
			}
			return float64(b.P99)
		}, func(all []bin) string {
			worst := time.Duration(0)
			for _, b := range all {
				worst = max(worst, b.P99)
			}
			return "at worst " + figure.Duration(worst)
		})
	}
	title, throughput := "Throughput: work done, a second", bin.throughput
	if !worked {
		title, throughput = "Throughput: accepted, a second", bin.accepted
	}
	add("throughput", title, linear(mostDone, figure.Number), true, throughput, func(all []bin) string {
		low, high := math.Inf(1), 0.0
		for _, b := range all {
			low, high = math.Min(low, throughput(b)), math.Max(high, throughput(b))
		}
		return fmt.Sprintf("between %s and %s a second", figure.Number(low), figure.Number(high))
	})
	percent := func(v float64) string { return figure.Number(v*100) + " %" }
	add("available", "Availability: share of what was due that was accepted", linear(1, percent), false, bin.available, func(all []bin) string {
		low := 1.0
		for _, b := range all {
			if a := b.available(); a < low {
				low = a
			}
		}
		return "at least " + percent(low)
	})
	if !worked {
		return plots
	}
	add("backlog", "Backlog: accepted and not done", linear(math.Max(mostBacklog, 4), figure.Number), false, bin.waiting, func(all []bin) string {
		high := int64(0)
		for _, b := range all {
			high = max(high, compare.Counted(b.Backlog))
		}
		return "at most " + figure.Count(high)
	})
	return plots
}

func longest(series [][]bin) (at int) {
	for i := range series {
		if len(series[i]) > len(series[at]) {
			at = i
		}
	}
	return at
}

func pointsOf(all []bin, value func(bin) float64) []point {
	points := make([]point, len(all))
	for i, b := range all {
		points[i] = point{b.middle(), value(b)}
	}
	return points
}
