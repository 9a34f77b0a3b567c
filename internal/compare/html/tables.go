package html

import (
	"html/template"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

type table struct {
	Caption, Note string
	Spans         []span // over the heads; nil when there are none
	Heads         []head
	Bodies        []body
}

type span struct {
	Text string
	Wide int
}

type head struct {
	Text string
	Axis template.HTML // instead of a text
}

type body struct {
	Name string
	Rows []row
}

type row struct {
	Name, Class string
	Whole       string // instead of places
	Places      []place
}

type place struct {
	figure.Value
	Bar template.HTML
}

// Wide is how many columns there are, with that of the names.
func (t *table) Wide() int { return len(t.Heads) + 1 }

// figures makes a table of columns; nil when no cell has any. With a scale, the first column draws the latencies. The first table of a scenario
// says why a cell was not reachable, also where there are no columns at all.
func figures(caption, note string, columns []figure.Column, groups []figure.Group, scale *axis, colours map[string]string, first bool) *table {
	columns = figure.Measured(columns, groups)
	if len(columns) == 0 && !(first && unreachable(groups)) {
		return nil
	}
	t := &table{Caption: caption, Note: note}
	if scale != nil {
		t.Spans, t.Heads = []span{{"", 1}}, []head{{Axis: barAxis(*scale)}}
	}
	for _, c := range columns {
		if n := len(t.Spans); n > 0 && t.Spans[n-1].Text == c.Of {
			t.Spans[n-1].Wide++
		} else {
			t.Spans = append(t.Spans, span{c.Of, 1})
		}
		t.Heads = append(t.Heads, head{Text: c.Name})
	}
	for _, g := range groups {
		b := body{Name: g.Name}
		for _, s := range g.Series {
			r := row{Name: s.Name, Class: colours[s.Style]}
			if s.NotReachable != "" {
				if r.Whole = "Not reachable here"; first {
					r.Whole += ": " + s.NotReachable
				}
				b.Rows = append(b.Rows, r)
				continue
			}
			if scale != nil {
				r.Places = append(r.Places, place{Bar: bar(s.Cell, *scale, r.Class)})
			}
			for _, c := range columns {
				r.Places = append(r.Places, place{Value: c.Get(s.Cell)})
			}
			b.Rows = append(b.Rows, r)
		}
		t.Bodies = append(t.Bodies, b)
	}
	return t
}

func unreachable(groups []figure.Group) bool {
	for _, g := range groups {
		for _, s := range g.Series {
			if s.NotReachable != "" {
				return true
			}
		}
	}
	return false
}

// behind is the table behind the plots over time.
func behind(g *figure.Group) *table {
	t := &table{Caption: "Behind the plots over time"}
	series := make([][]bin, len(g.Series))
	var starts []time.Duration
	for i, s := range g.Series {
		if series[i] = bins(s.Cell); len(series[i]) == 0 {
			continue
		}
		t.Spans = append(t.Spans, span{s.Name, 4})
		t.Heads = append(t.Heads, head{Text: "p99"}, head{Text: "done/s"}, head{Text: "accepted"}, head{Text: "backlog"})
		for _, b := range series[i] {
			starts = append(starts, b.At)
		}
	}
	slices.Sort(starts)
	only := body{}
	for _, at := range slices.Compact(starts) {
		r := row{Name: "from " + figure.Span(at)}
		for i, s := range g.Series {
			if len(series[i]) == 0 {
				continue
			}
			n, ok := slices.BinarySearchFunc(series[i], at, func(b bin, at time.Duration) int { return int(b.At - at) })
			if !ok {
				r.Places = append(r.Places, make([]place, 4)...)
				continue
			}
			b := series[i][n]
			p99 := figure.Duration(b.P99)
			if s.NotReachable != "" {
				p99 = ""
			}
			rate, backlog := "", ""
			if finished(series[i]) {
				rate, backlog = figure.Number(b.throughput()), figure.Count(compare.Counted(b.Backlog))
			}
			for _, text := range []string{p99, rate, figure.Percent(min(b.Accepted, b.Due), b.Due), backlog} {
				r.Places = append(r.Places, place{Value: figure.Value{Text: text}})
			}
		}
		only.Rows = append(only.Rows, r)
	}
	t.Bodies = []body{only}
	if len(only.Rows) == 0 {
		return nil
	}
	return t
}

// processes is the table of what each process used; nil when that was not measured.
func processes(g *figure.Group) *table {
	t := &table{Caption: "What the processes used"}
	only := body{}
	var names []string
	for _, s := range g.Series {
		if s.NotReachable != "" || len(s.Processes) == 0 {
			continue
		}
		t.Spans = append(t.Spans, span{s.Name, 2})
		t.Heads = append(t.Heads, head{Text: "CPU"}, head{Text: "memory"})
		for _, p := range s.Processes {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	for _, name := range names {
		r := row{Name: name}
		for _, s := range g.Series {
			if s.NotReachable != "" || len(s.Processes) == 0 {
				continue
			}
			cpu, memory := "", ""
			if i := slices.IndexFunc(s.Processes, func(p compare.Process) bool { return p.Name == name }); i >= 0 {
				if cpu = figure.Duration(s.Processes[i].CPU); cpu == "" {
					cpu = "0 s"
				}
				if n := s.Processes[i].MemoryBytes; n > 0 {
					memory = figure.Bytes(float64(n))
				}
			}
			r.Places = append(r.Places, place{Value: figure.Value{Text: cpu}}, place{Value: figure.Value{Text: memory}})
		}
		only.Rows = append(only.Rows, r)
	}
	if t.Bodies = []body{only}; len(names) == 0 {
		return nil
	}
	return t
}
