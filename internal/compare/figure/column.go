package figure

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// Value is what a table says in one place. An empty Text says that nothing was measured.
type Value struct {
	Text string
	Note string // beside it and smaller, such as "± 0.1 ms"
	Bad  bool   // nobody wants this
}

// Column is one measure of a cell.
type Column struct {
	Of   string // what it is about, such as "answered"; columns of the same stand together
	Name string
	// Rank says what a narrow table leaves out first: the highest.
	Rank int
	Get  func(*compare.Cell) Value
}

// Latencies are the columns of time. A cell that was not reachable has none, whatever it holds.
var Latencies = []Column{
	latency("answered", "p50", 0, answered, func(l *compare.Latency) (took, interval time.Duration) { return l.P50, l.P50Interval }),
	latency("answered", "p90", 6, answered, func(l *compare.Latency) (took, interval time.Duration) { return l.P90, 0 }),
	latency("answered", "p99", 1, answered, func(l *compare.Latency) (took, interval time.Duration) { return l.P99, l.P99Interval }),
	latency("answered", "p99.9", 4, answered, func(l *compare.Latency) (took, interval time.Duration) { return l.P999, 0 }),
	latency("answered", "max", 5, answered, func(l *compare.Latency) (took, interval time.Duration) { return l.Max, 0 }),
	latency("all done", "p50", 3, allDone, func(l *compare.Latency) (took, interval time.Duration) { return l.P50, l.P50Interval }),
	latency("all done", "p99", 2, allDone, func(l *compare.Latency) (took, interval time.Duration) { return l.P99, l.P99Interval }),
	latency("all done", "max", 7, allDone, func(l *compare.Latency) (took, interval time.Duration) { return l.Max, 0 }),
}

func answered(c *compare.Cell) *compare.Latency { return c.Answered }
func allDone(c *compare.Cell) *compare.Latency  { return c.Done }

func latency(of, name string, rank int, get func(*compare.Cell) *compare.Latency, figure func(*compare.Latency) (took, interval time.Duration)) Column {
	return Column{Of: of, Name: name, Rank: rank, Get: func(c *compare.Cell) Value {
		l := get(c)
		if l == nil || l.Count == 0 || c.NotReachable != "" {
			return Value{}
		}
		took, interval := figure(l)
		v := Value{Text: Duration(took)}
		if v.Text != "" && interval > 0 {
			v.Note = "± " + Duration(interval)
		}
		return v
	}}
}

// Outcomes are the columns of what became of the work.
var Outcomes = []Column{
	{Of: "offered", Name: "units", Rank: 8, Get: func(c *compare.Cell) Value {
		if c.Load.Units == 0 {
			return Value{}
		}
		return Value{Text: Count(c.Load.Units)}
	}},
	{Of: "offered", Name: "a second", Rank: 7, Get: func(c *compare.Cell) Value {
		if c.Load.Rate == 0 {
			return Value{}
		}
		v := Value{Text: Number(c.Load.Rate)}
		// Arrivals are random: what is missing must be more than chance explains, three deviations of their number.
		if c.Load.Reached > 0 && c.Load.Reached < c.Load.Rate*(1-3/math.Sqrt(float64(max(c.Load.Units, 9)))) {
			v.Note = "reached " + Number(c.Load.Reached)
		}
		return v
	}},
	outcome("accepted", 2, false, func(o *compare.Outcome) *int64 { return &o.Accepted }),
	outcome("refused", 3, false, func(o *compare.Outcome) *int64 { return &o.Refused }),
	outcome("unknown", 5, false, func(o *compare.Outcome) *int64 { return &o.Unknown }),
	outcome("lost", 4, true, func(o *compare.Outcome) *int64 { return o.Lost }),
	outcome("twice", 4, true, func(o *compare.Outcome) *int64 { return o.Twice }),
	outcome("half done", 4, true, func(o *compare.Outcome) *int64 { return o.HalfDone }),
}

// OutcomesOf are Outcomes and what only this scenario measures.
func OutcomesOf(groups []Group) []Column {
	columns := slices.Clone(Outcomes)
	known := map[string]bool{}
	for _, g := range groups {
		for _, s := range g.Series {
			for _, p := range s.Also {
				if known[p.Name] {
					continue
				}
				known[p.Name] = true
				columns = append(columns, Column{Of: "also", Name: p.Name, Rank: 1, Get: func(c *compare.Cell) Value {
					for _, q := range c.Also {
						if q.Name == p.Name {
							return Value{Text: q.Value}
						}
					}
					return Value{}
				}})
			}
		}
	}
	return columns
}

const outcomes = "outcome"

func outcome(name string, rank int, bad bool, get func(*compare.Outcome) *int64) Column {
	return Column{Of: outcomes, Name: name, Rank: rank, Get: func(c *compare.Cell) Value {
		whole := c.Outcome.Accepted + c.Outcome.Refused + c.Outcome.Unknown
		count := get(&c.Outcome)
		if whole == 0 || count == nil {
			return Value{} // nothing was counted
		}
		n := *count
		v := Value{Text: Count(n), Bad: bad && n > 0}
		if !bad && n > 0 && n < whole {
			v.Note = Percent(n, whole)
		}
		return v
	}}
}

// Costs are the columns of what one unit of work takes, and of what must be up.
var Costs = []Column{
	{Of: "for one accepted unit", Name: "requests", Rank: 9, Get: func(c *compare.Cell) Value { return cost(c.PerUnit.Requests, Number) }},
	{Of: "for one accepted unit", Name: "on the wire", Rank: 9, Get: func(c *compare.Cell) Value { return cost(c.PerUnit.WireBytes, Bytes) }},
	{Of: "for one accepted unit", Name: "on disk", Rank: 9, Get: func(c *compare.Cell) Value { return cost(c.PerUnit.DiskBytes, Bytes) }},
	{Of: "for one accepted unit", Name: "CPU", Rank: 9, Get: func(c *compare.Cell) Value {
		if c.PerUnit.CPU == nil {
			return Value{}
		}
		if *c.PerUnit.CPU <= 0 {
			return Value{Text: "0 µs"}
		}
		return Value{Text: Duration(*c.PerUnit.CPU)}
	}},
	{Of: "to succeed", Name: "must be up", Rank: 10, Get: func(c *compare.Cell) Value {
		if len(c.MustBeUp) == 0 {
			return Value{}
		}
		return Value{Text: Count(int64(len(c.MustBeUp))), Note: strings.Join(c.MustBeUp, ", ")}
	}},
}

func cost(v *float64, text func(float64) string) Value {
	if v == nil {
		return Value{}
	}
	return Value{Text: text(*v)}
}

// Measured returns the columns in which one of the cells has a value.
func Measured(columns []Column, groups []Group) (kept []Column) {
	for _, column := range columns {
		if measured(column, groups) {
			kept = append(kept, column)
		}
	}
	return kept
}

// Unmeasured names the outcomes of which no cell tells anything, such as lost work where it is not known what services did.
func Unmeasured(columns []Column, groups []Group) (names []string) {
	for _, column := range columns {
		if column.Of == outcomes && !measured(column, groups) {
			names = append(names, column.Name)
		}
	}
	return names
}

func measured(column Column, groups []Group) bool {
	for _, g := range groups {
		for _, s := range g.Series {
			if column.Get(s.Cell).Text != "" {
				return true
			}
		}
	}
	return false
}
