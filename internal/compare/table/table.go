package table

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// Options say where the report is read.
type Options struct {
	Width  int  // columns; zero means 80, and fewer than 40 are taken as 40
	Colour bool // whether escape sequences are understood and wanted
}

// Write writes the report. Control characters in names and texts are replaced, so that they cannot command the terminal.
func Write(w io.Writer, r *compare.Report, o Options) error {
	if o.Width == 0 {
		o.Width = 80
	}
	o.Width = max(o.Width, 40)
	p := &printer{Options: o}
	p.report(r)
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (p *printer) report(r *compare.Report) {
	when := []string{"Request or event?"}
	if !r.Began.IsZero() {
		when = append(when, r.Began.Format("2 January 2006, 15:04 MST"))
	}
	if r.Took > 0 {
		when = append(when, figure.Span(r.Took.Round(100*time.Millisecond)))
	}
	if r.Machine.CPU != "" {
		when = append(when, r.Machine.CPU)
	}
	if n := r.Machine.Cores; n > 0 {
		when = append(when, map[bool]string{true: "1 core", false: fmt.Sprint(n, " cores")}[n == 1])
	}
	p.say(0, bold, strings.Join(when, " · "))
	if r.Partial != "" {
		p.say(0, yellow, "This run is partial: "+r.Partial)
	}
	p.heading("The answer")
	for _, a := range r.Advice {
		as := map[string]string{"request": "as a request", "event": "as an event", "either": "either way"}[a.Style]
		if as == "" {
			as = a.Style
		}
		p.line(2, p.style(bold, clean(a.Link))+"  "+p.style(colour(a.Style), clean(as)))
		p.say(4, "", a.Reason)
		p.say(4, faint, a.Figure)
	}
	if len(r.Advice) == 0 {
		p.say(2, "", "This run recommends nothing.")
	}
	for i := range r.Findings {
		p.finding(&r.Findings[i])
	}
	p.heading("What was not measured")
	for _, s := range r.NotMeasured {
		p.say(2, "", s)
	}
	if len(r.NotMeasured) == 0 {
		p.say(2, "", "The run names nothing.")
	}
	p.heading("How to repeat it")
	p.line(2, clean(r.Command)) // in one line, to be copied
	repeat := fmt.Sprint("seed ", r.Seed)
	if r.Repeats > 0 {
		repeat += fmt.Sprint(", runs of each cell: ", r.Repeats)
	}
	if r.Repeats >= 3 {
		repeat += "; ± is the half width of the 95 % confidence interval"
	}
	p.say(2, faint, repeat)
}

func (p *printer) finding(f *compare.Finding) {
	p.heading(f.Title)
	p.say(2, "", f.Question)
	for _, e := range f.Expected {
		p.b.WriteByte('\n')
		p.say(2, "", e.Claim+" ("+e.Source+")")
		verdict, code := string(e.Agreed), faint
		switch e.Agreed {
		case compare.Yes:
			verdict, code = "agreed", green
		case compare.No:
			verdict, code = "did not agree", red
		case compare.Partly:
			verdict, code = "agreed in part", yellow
		}
		p.sayAfter(4, 0, p.style(code, clean(verdict)), width(clean(verdict)), strings.TrimSuffix(": "+e.Figure, ": "))
	}
	fixed, groups := figure.Groups(f)
	if fixed != "" {
		p.b.WriteByte('\n')
		p.say(2, faint, "In all of what follows: "+fixed+".")
	}
	p.cells(groups, figure.Latencies, true)
	p.cells(groups, figure.OutcomesOf(groups), false)
	p.cells(groups, figure.Costs, false)
}

// cells writes one table for all groups. The first one of a scenario also says why a cell was not reachable, and how faults ended.
func (p *printer) cells(groups []figure.Group, all []figure.Column, first bool) {
	names := 0
	for _, g := range groups {
		for _, s := range g.Series {
			names = max(names, width(clean(s.Name)))
		}
	}
	names = min(names, p.Width/3)
	unknown := figure.Unmeasured(all, groups)
	all, never := busy(figure.Measured(all, groups), groups)
	columns, left := fit(all, groups, p.Width-2-names)
	if len(columns) == 0 && len(never) == 0 && !first {
		return
	}
	p.heads(columns, names)
	for i := range groups {
		p.group(&groups[i], columns, names, first)
	}
	if len(never) > 0 {
		p.say(2, faint, "In no cell: "+strings.Join(never, ", ")+".")
	}
	if len(unknown) > 0 && len(columns) > 0 {
		p.say(2, faint, "Not measured: "+strings.Join(unknown, ", ")+".")
	}
	if len(left) > 0 {
		p.say(2, faint, "Left out for want of room: "+strings.Join(left, ", ")+".")
	}
}

func (p *printer) heads(columns []column, names int) {
	p.b.WriteByte('\n')
	if len(columns) == 0 {
		return
	}
	above, below := strings.Repeat(" ", 2+names), strings.Repeat(" ", 2+names)
	for i := 0; i < len(columns); {
		wide, of := 0, columns[i].Of
		for ; i < len(columns) && columns[i].Of == of; i++ {
			wide += columns[i].wide
			below += pad(columns[i].Name, -columns[i].wide)
		}
		// A title wider than its columns is cut: what it says is in the columns' names, too.
		above += pad("  "+cut(of, wide-2), wide)
	}
	p.line(0, p.style(faint, strings.TrimRight(above, " ")))
	p.line(0, p.style(faint, below))
}

func (p *printer) group(g *figure.Group, columns []column, names int, first bool) {
	if g.Name != "" {
		p.say(2, bold, g.Name)
	}
	for _, s := range g.Series {
		name := p.style(colour(s.Style), pad(cut(clean(s.Name), names), names))
		if s.NotReachable != "" {
			why := "  not reachable here"
			if first {
				why += ": " + s.NotReachable
			}
			p.sayAfter(2, names+2, name, names, why)
			continue
		}
		row, notes := "", ""
		for _, c := range columns {
			v := c.Get(s.Cell)
			switch {
			case v.Text == "":
				row += p.style(faint, pad("–", -c.wide))
			case v.Bad:
				row += p.style(red, pad(v.Text, -c.wide))
			default:
				row += pad(v.Text, -c.wide)
			}
			if !c.notes {
				v.Note = ""
			}
			notes += pad(clean(v.Note), -c.wide)
		}
		p.line(2, name+row)
		if notes = strings.TrimRight(notes, " "); notes != "" {
			p.line(2+names, p.style(faint, notes))
		}
	}
	for _, s := range g.Series {
		for _, line := range figure.Faults(s) {
			if first {
				p.say(4, faint, line+".")
			}
		}
	}
}
