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

// Groups puts cells side by side, in the order of the report. A parameter that all cells have is a condition; one that only some have, such
// as the interval of those that poll, belongs to the name of the series. Fixed names the conditions that are the same in all groups, where
// there is more than one group.
func Groups(f *compare.Finding) (fixed string, groups []Group) {
	have, values := map[string]int{}, map[string]map[string]bool{}
	for i := range f.Cells {
		for _, p := range f.Cells[i].Params {
			have[p.Name]++
			if values[p.Name] == nil {
				values[p.Name] = map[string]bool{}
			}
			values[p.Name][p.Value] = true
		}
	}
	at := map[string]int{}
	for i := range f.Cells {
		c := &f.Cells[i]
		var all, varied, steady []string
		named := Series{Name: c.Style, Cell: c}
		faultNamed := false
		for _, p := range c.Params {
			text := p.Name + " " + p.Value
			switch {
			case have[p.Name] < len(f.Cells):
				named.Name += ", " + p.Value
				continue
			case len(values[p.Name]) > 1:
				varied = append(varied, text)
			default:
				steady = append(steady, text)
			}
			all = append(all, text)
			faultNamed = faultNamed || p.Name == "fault"
		}
		faults := make([]string, len(c.Faults))
		for i, fault := range c.Faults {
			faults[i] = FaultName(fault)
		}
		key := strings.Join(all, "\x00") + "\x01" + strings.Join(faults, "\x00")
		n, ok := at[key]
		if !ok {
			n = len(groups)
			at[key] = n
			if !faultNamed {
				varied = append(varied, faults...)
			}
			if len(steady) > 0 && fixed == "" {
				fixed = strings.Join(steady, ", ")
			}
			groups = append(groups, Group{Name: strings.Join(varied, ", "), Faults: c.Faults})
		}
		groups[n].Series = append(groups[n].Series, named)
	}
	if len(groups) == 1 && fixed != "" {
		groups[0].Name = strings.TrimSuffix(fixed+", "+groups[0].Name, ", ")
		fixed = ""
	}
	return fixed, groups
}

// FaultName says what was done to whom and when.
func FaultName(f compare.Fault) string {
	text := f.Process + " " + f.Kind
	if name, value, ok := strings.Cut(f.Kind, "="); ok {
		text = f.Process + " " + name + " (" + value + ")"
	}
	return text + " from " + Span(f.At) + " for " + Span(f.For)
}

// Faults says, for each fault of a series, what followed its end.
func Faults(s Series) (lines []string) {
	for _, f := range s.Faults {
		name := s.Name
		if len(s.Faults) > 1 {
			name += ", " + FaultName(f)
		}
		lines = append(lines, name+": "+FaultEnd(f))
	}
	return lines
}

// FaultEnd says what followed the end of a fault.
func FaultEnd(f compare.Fault) string {
	text := "callers did not succeed as before within the run"
	if f.Recovered != nil {
		text = "callers succeeded as before " + after(Duration(*f.Recovered))
	}
	if f.Drained != nil {
		return text + "; all work that waited was done " + after(Duration(*f.Drained))
	}
	return text + "; work still waited at the end of the run"
}

func after(d string) string {
	if d == "" {
		return "at once"
	}
	return d + " after the fault ended"
}
