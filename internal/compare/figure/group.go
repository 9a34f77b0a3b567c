package figure

import (
	"strings"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// Group is the cells of a scenario that ran under the same conditions: what a reader compares.
type Group struct {
	Name   string // the conditions, such as "rate 200/s, payments down from 10 s for 10 s"; empty when there are none
	Series []Series
	Faults []compare.Fault // of the first cell that has any
}

// Series is a cell under the name that tells it from the others of its group: its style, and what only some cells have.
type Series struct {
	Name string
	*compare.Cell
}

// Groups puts cells side by side, in the order of the report. A parameter is a condition, but for one that is only of one style, such as the interval
// of those that poll: it belongs to the name of the series. Fixed names the conditions that are the same in all groups, where there is more than
// one group.
func Groups(f *compare.Finding) (fixed string, groups []Group) {
	own, steady := params(f)
	var conditions []string
	at := map[string]int{}
	for i := range f.Cells {
		c := &f.Cells[i]
		named := Series{Name: c.Style, Cell: c}
		var same, varied []string
		for _, p := range c.Params {
			switch {
			case p.Name == "fault" && len(c.Faults) > 0: // the faults say it better
			case own[p.Name]:
				named.Name += ", " + p.Value
			case steady[p.Name]:
				same = append(same, p.Name+" "+p.Value)
			default:
				varied = append(varied, p.Name+" "+p.Value)
			}
		}
		if c.BrokenOff {
			named.Name += ", broken off"
		}
		for _, fault := range c.Faults {
			varied = append(varied, FaultName(fault))
		}
		key := strings.Join(varied, "\x00")
		n, ok := at[key]
		if !ok {
			n = len(groups)
			at[key] = n
			groups = append(groups, Group{Name: strings.Join(varied, ", "), Faults: c.Faults})
			conditions = same
		}
		groups[n].Series = append(groups[n].Series, named)
	}
	fixed = strings.Join(conditions, ", ")
	if len(groups) == 1 && fixed != "" {
		groups[0].Name = strings.TrimSuffix(fixed+", "+groups[0].Name, ", ")
		fixed = ""
	}
	return fixed, groups
}

// params tells the parameters that all cells of one style have, and no other style, and those that all cells have with one value.
func params(f *compare.Finding) (own, steady map[string]bool) {
	type use struct {
		cells  int
		styles map[string]bool
		values map[string]bool
	}
	uses, cellsOf := map[string]use{}, map[string]int{}
	for _, c := range f.Cells {
		cellsOf[c.Style]++
		for _, p := range c.Params {
			u, ok := uses[p.Name]
			if !ok {
				u = use{styles: map[string]bool{}, values: map[string]bool{}}
			}
			u.cells++
			u.styles[c.Style], u.values[p.Value] = true, true
			uses[p.Name] = u
		}
	}
	own, steady = map[string]bool{}, map[string]bool{}
	for name, u := range uses {
		for style := range u.styles {
			own[name] = len(u.styles) == 1 && len(cellsOf) > 1 && u.cells == cellsOf[style]
		}
		steady[name] = !own[name] && u.cells == len(f.Cells) && len(u.values) == 1
	}
	return own, steady
}

// FaultName says what was done to whom and when.
func FaultName(f compare.Fault) string {
	text := f.Process + " " + f.Kind
	if name, value, ok := strings.Cut(f.Kind, "="); ok {
		text = f.Process + " " + name + " (" + value + ")"
	}
	return text + " from " + Span(f.At) + " for " + Span(f.For)
}

// Faults says, for each fault of a series, what followed its end: nothing of a cell that was not reachable, since these are times, too, and of a fault
// that had not ended when the cell was broken off.
func Faults(s Series) (lines []string) {
	if s.NotReachable != "" {
		return nil
	}
	for _, f := range s.Faults {
		if s.BrokenOff && s.Took < f.At+f.For {
			continue
		}
		name := s.Name
		if len(s.Faults) > 1 {
			name += ", " + FaultName(f)
		}
		lines = append(lines, name+": "+faultEnd(f, s.Outcome.Lost != nil))
	}
	return lines
}

// faultEnd says what followed the end of a fault; nothing of the work where it is not known whether it was done.
func faultEnd(f compare.Fault, known bool) string {
	text := "callers did not succeed as before within the run"
	if f.Recovered != nil {
		text = "callers succeeded as before " + after(Duration(*f.Recovered))
	}
	switch {
	case !known:
		return text
	case f.Drained == nil:
		return text + "; some of the work that was accepted before the fault ended was never done"
	case *f.Drained == 0:
		return text + "; no work waited for its end"
	}
	return text + "; all work that waited was done " + after(Duration(*f.Drained))
}

func after(d string) string {
	if d == "" {
		return "at once"
	}
	return d + " after the fault ended"
}
