package console

import (
	"fmt"
	"slices"
)

// layout places all nodes and draws the lines between them.
func (t *topology) layout() {
	// Routes that are answered at once stand above the topics, so that their lines have a lane of their own.
	y, lane := 0, 0
	for _, n := range t.columns[0] {
		y = n.place(0, y)
		if slices.ContainsFunc(t.links, func(l link) bool { return l.from == n && l.request }) {
			lane = y
		}
	}
	for column := 1; column < 4; column++ {
		t.centre(t.columns[column])
		y := 0
		if column < 3 {
			y = lane
		}
		for _, n := range t.columns[column] {
			n.measure()
			y = n.place(column, max(y, n.barycentre-n.H/2))
		}
	}
	for _, column := range t.columns {
		for _, n := range column {
			t.Width, t.Height = max(t.Width, n.X+nodeWidth+2), max(t.Height, n.Y+n.H+2)
			t.Nodes = append(t.Nodes, n)
		}
	}
	for _, l := range t.links {
		t.Edges = append(t.Edges, edge{l.path(), l.request})
	}
}

// centre orders the nodes of a column by the middle of what leads to each.
func (t *topology) centre(nodes []*node) {
	for _, l := range t.links {
		// What answers requests stands beside their routes, wherever events lead to it from.
		if slices.Contains(nodes, l.to) && (!t.answers(l.to) || slices.Contains(t.columns[0], l.from)) {
			l.to.barycentre += l.from.Y + l.from.H/2
			l.to.feeds++
		}
	}
	for _, n := range nodes {
		n.barycentre /= max(n.feeds, 1)
	}
	slices.SortStableFunc(nodes, func(a, b *node) int { return a.barycentre - b.barycentre })
}

// path is a curve from one box to the other.
func (l *link) path() string {
	x1, y1, x2, y2 := l.from.X+nodeWidth, l.from.Y+l.from.H/2, l.to.X, l.to.Y+l.to.H/2
	if l.back {
		x1, y1, x2, y2 = x2, y2, x1, y1
	}
	bend := (x2 - x1) / 2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
}

// answers reports whether a route leads to a node as a request.
func (t *topology) answers(n *node) bool {
	return slices.ContainsFunc(t.links, func(l link) bool { return l.to == n && l.request && slices.Contains(t.columns[0], l.from) })
}

func (n *node) measure() { n.H = nodeHead + len(n.Lines)*lineStep + nodeFoot }

// place puts a node into a column, and returns where the next one may begin.
func (n *node) place(column, y int) int {
	n.measure()
	n.X, n.Y = 1+column*columnStep, max(y, 1)
	return n.Y + n.H + nodeGap
}

// Label is the name as it is written in its box.
func (n *node) Label() string { return clean(n.Name, nameRunes) }

// Rows are the lines below the name, with the height of each.
func (n *node) Rows() (rows []row) {
	for i, line := range n.Lines {
		rows = append(rows, row{clean(line, lineRunes), n.Y + nodeHead + 12 + i*lineStep - 1})
	}
	return rows
}

type row struct {
	Text string
	Y    int
}
