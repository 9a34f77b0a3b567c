package table

import (
	"math"
	"slices"

	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

type column struct {
	figure.Column
	wide  int // with the space before it
	bare  int // the same without notes
	notes bool
}

// busy takes away the columns of counts that are zero in all cells, and names them.
func busy(all []figure.Column, groups []figure.Group) (kept []figure.Column, never []string) {
	for _, c := range all {
		zero := true
		for _, g := range groups {
			for _, s := range g.Series {
				text := c.Get(s.Cell).Text
				zero = zero && (text == "0" || s.NotReachable != "" && text == "")
			}
		}
		if zero {
			never = append(never, c.Name)
		} else {
			kept = append(kept, c)
		}
	}
	return kept, never
}

// fit returns the columns for which there is room, in their order, and the names of those that are left out. A column that would take more than half
// of the room is the first to go.
func fit(all []figure.Column, groups []figure.Group, room int) (columns []column, left []string) {
	for _, c := range figure.Measured(all, groups) {
		sized := column{Column: c, bare: width(c.Name) + 2}
		notes := 0
		for _, g := range groups {
			for _, s := range g.Series {
				if s.NotReachable != "" {
					continue
				}
				v := c.Get(s.Cell)
				sized.bare = max(sized.bare, width(v.Text)+2)
				notes = max(notes, width(clean(v.Note))+2)
				if v.Bad {
					sized.Rank = -1
				}
			}
		}
		sized.wide, sized.notes = max(sized.bare, notes), notes > 2
		if sized.Rank >= 0 && sized.bare > room/2 {
			sized.Rank = math.MaxInt
		}
		columns = append(columns, sized)
	}
	for total(columns) > room {
		last := 0 // of the highest rank
		for i, c := range columns {
			if c.Rank >= columns[last].Rank {
				last = i
			}
		}
		if c := &columns[last]; c.notes {
			c.wide, c.notes = c.bare, false
			continue
		}
		if columns[last].Rank < 0 {
			break // rather too wide than silent
		}
		left = append(left, columns[last].Of+" "+columns[last].Name)
		columns = slices.Delete(columns, last, last+1)
	}
	slices.Reverse(left)
	widen(columns, room)
	return columns, left
}

// widen makes room for what stands over columns.
func widen(columns []column, room int) {
	for i := 0; i < len(columns); {
		first := &columns[i]
		more := width(first.Of) + 2
		for ; i < len(columns) && columns[i].Of == first.Of; i++ {
			more -= columns[i].wide
		}
		if more > 0 && total(columns)+more <= room {
			first.wide += more
		}
	}
}

func total(columns []column) (wide int) {
	for _, c := range columns {
		wide += c.wide
	}
	return wide
}
