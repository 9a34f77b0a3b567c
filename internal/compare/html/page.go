package html

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// page is what the template shows.
type page struct {
	*compare.Report
	Policy   string
	Style    template.CSS
	Styles   []styleName
	Agreed   string // how the literature fared, in a sentence
	Advices  []advice
	Sections []section
}

type styleName struct{ Name, Class string }

type advice struct {
	compare.Advice
	Class string
	As    string // "as a request"
}

type section struct {
	*compare.Finding
	ID         string
	Fixed      string
	Expects    []expectation
	Tables     []*table
	Conditions []condition
}

type expectation struct {
	compare.Expectation
	Class, Verdict string
}

// condition is what one group of cells shows over time.
type condition struct {
	Name         string
	Open         bool
	Faults       []string
	Unreachable  []string
	Figures      []fig
	Behind, Used *table
}

type fig struct {
	Title string
	SVG   template.HTML
}

// mostOpen is how many conditions of a scenario show their plots at once. The others are folded.
const mostOpen = 3

// colourClasses is how many colours the style sheet has.
const colourClasses = 11

func pageOf(r *compare.Report) *page {
	colours, styles := coloursOf(r)
	p := &page{Report: r, Policy: policy, Style: template.CSS(style), Styles: styles, Agreed: agreedOf(r)} //nolint:gosec // a file of this package
	for _, a := range r.Advice {
		as := map[string]string{"request": "as a request", "event": "as an event", "either": "either way"}[a.Style]
		if as == "" {
			as = a.Style
		}
		p.Advices = append(p.Advices, advice{a, colours[a.Style], as})
	}
	for i := range r.Findings {
		p.Sections = append(p.Sections, sectionOf(fmt.Sprint("s", i+1), &r.Findings[i], colours))
	}
	return p
}

// coloursOf gives each style a class of the style sheet: requests and events always the same, the others in the order of the report. When there are
// more styles than colours, a colour is used again where it meets its first style least.
func coloursOf(r *compare.Report) (colours map[string]string, styles []styleName) {
	colours = map[string]string{"request": "c0", "event": "c1"}
	named := map[string]bool{}
	var used [colourClasses]int
	for i := range r.Findings {
		var here [colourClasses]bool
		for n := range here {
			for _, c := range r.Findings[i].Cells {
				here[n] = here[n] || colours[c.Style] == fmt.Sprint("c", n)
			}
		}
		for _, c := range r.Findings[i].Cells {
			if colours[c.Style] == "" {
				best := 2
				for n := 2; n < colourClasses; n++ {
					if !here[n] && here[best] || here[n] == here[best] && used[n] < used[best] {
						best = n
					}
				}
				used[best]++
				here[best] = true
				colours[c.Style] = fmt.Sprint("c", best)
			}
			if !named[c.Style] {
				named[c.Style] = true
				styles = append(styles, styleName{c.Style, colours[c.Style]})
			}
		}
	}
	return colours, styles
}

func agreedOf(r *compare.Report) string {
	count, all := map[compare.Agreement]int{}, 0
	for _, f := range r.Findings {
		for _, e := range f.Expected {
			count[e.Agreed]++
			all++
		}
	}
	if all == 0 {
		return ""
	}
	var parts []string
	for _, v := range []struct {
		is   compare.Agreement
		says string
	}{{compare.Yes, "agreed with %d"}, {compare.Partly, "agreed in part with %d"}, {compare.No, "did not agree with %d"}, {compare.Unmeasured, "did not measure %d"}} {
		if n := count[v.is]; n > 0 {
			parts = append(parts, fmt.Sprintf(v.says, n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	last := parts[len(parts)-1]
	if len(parts) > 1 {
		last = strings.Join(parts[:len(parts)-1], ", ") + " and " + last
	}
	things := "things"
	if all == 1 {
		things = "thing"
	}
	return fmt.Sprintf("Of %d %s that the literature says, this run %s.", all, things, last)
}

func verdict(e compare.Expectation) expectation {
	switch e.Agreed {
	case compare.Yes:
		return expectation{e, "yes", "agreed"}
	case compare.No:
		return expectation{e, "no", "did not agree"}
	case compare.Partly:
		return expectation{e, "partly", "agreed in part"}
	}
	return expectation{e, "unknown", string(e.Agreed)}
}

func sectionOf(id string, f *compare.Finding, colours map[string]string) section {
	fixed, groups := figure.Groups(f)
	s := section{Finding: f, ID: id, Fixed: fixed}
	for _, e := range f.Expected {
		s.Expects = append(s.Expects, verdict(e))
	}
	scale, both, timed := timeScale(groups, 5)
	var drawn *axis
	note := ""
	if timed {
		drawn = &scale
		note = "From the time at which a unit of work was due. The dot is p50; the thick line ends at p99, the thin one at the maximum."
		if both {
			note += " Where there are two, the lower one is the time until all work was done."
		}
	}
	counted, unknown := figure.OutcomesOf(groups), ""
	if names := figure.Unmeasured(counted, groups); len(names) > 0 {
		unknown = "Not measured: " + strings.Join(names, ", ") + "."
	}
	for _, t := range []*table{
		figures("How long it took", note, figure.Latencies, groups, drawn, colours, true),
		figures("What became of the work", unknown, counted, groups, nil, colours, false),
		figures("What it cost", "", figure.Costs, groups, nil, colours, false),
	} {
		if t != nil {
			s.Tables = append(s.Tables, t)
		}
	}
	open := 0
	for i := range groups {
		c := conditionOf(fmt.Sprintf("%s-%d", id, i+1), &groups[i], groups, colours)
		if len(c.Figures) == 0 && c.Used == nil {
			continue
		}
		// Faults first: that is where the styles differ most.
		if rest := len(groups) - i; open < mostOpen && (len(groups[i].Faults) > 0 || open == 0 || rest <= mostOpen-open) {
			c.Open = true
			open++
		}
		s.Conditions = append(s.Conditions, c)
	}
	return s
}

func conditionOf(id string, g *figure.Group, all []figure.Group, colours map[string]string) condition {
	c := condition{Name: g.Name}
	if c.Name == "" {
		c.Name = "Without conditions"
	}
	for _, s := range g.Series {
		if s.NotReachable != "" {
			c.Unreachable = append(c.Unreachable, s.Name+": not reachable here, "+s.NotReachable)
		}
		c.Faults = append(c.Faults, figure.Faults(s)...)
	}
	plots := make([]*plot, 0, 6)
	if scale, _, ok := timeScale(all, 7); ok {
		plots = append(plots,
			distribution(id+"-answered", "Answered within, by percentile", g, answered, scale, colours),
			distribution(id+"-done", "All work done within, by percentile", g, done, scale, colours))
	}
	for _, p := range append(plots, overTime(id, g, colours)...) {
		if p != nil {
			c.Figures = append(c.Figures, fig{p.title, p.svg()})
		}
	}
	c.Behind, c.Used = behind(g), processes(g)
	return c
}
