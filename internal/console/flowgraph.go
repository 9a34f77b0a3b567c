package console

import (
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// maxDrawnNodes is how many boxes the graph of a flow has at most; its list has all nodes.
const maxDrawnNodes = 60

// flowGraph draws a flow as boxes, each to the right of its first cause. Attempts are part of their delivery's box, and deliveries that
// are none by a decision of their event's.
type flowGraph struct {
	drawing
	Left  int // boxes that are not drawn
	boxes map[*step]*node
	free  []int // where the next box of each column may be
}

func graphOf(all []*step, href func(*step) string) *flowGraph {
	g := &flowGraph{drawing: drawing{Says: "What caused what in the flow"}, boxes: map[*step]*node{}}
	byID := map[string]*step{}
	for _, n := range all {
		byID[n.ID] = n
		switch {
		case n.Kind == tandem.NodeAttempt || n.isDelivery() && n.decided():
			if n.cause != nil {
				g.boxes[n] = g.boxes[n.cause]
			}
		case len(g.Nodes) == maxDrawnNodes:
			g.Left++
		default:
			g.add(n, href(n))
		}
	}
	for _, n := range all {
		to := g.boxes[n]
		for _, id := range n.Causes {
			if cause := byID[id]; cause != nil && to != nil && g.boxes[cause] != nil && g.boxes[cause] != to {
				l := link{from: g.boxes[cause], to: to}
				g.Edges = append(g.Edges, edge{l.path(), cause.Kind == tandem.NodeRequest || cause.Kind == tandem.NodeCall || n.Kind == tandem.NodeCall})
			}
		}
	}
	return g
}

func (g *flowGraph) add(n *step, href string) {
	b := &node{Name: n.Name(), Lines: linesOf(n), Href: href, Class: stateClass(n.State)}
	column, y := 0, 0
	if n.cause != nil {
		if cause := g.boxes[n.cause]; cause != nil {
			column, y = (cause.X-1)/columnStep+1, cause.Y
		}
	}
	for len(g.free) <= column {
		g.free = append(g.free, 0)
	}
	g.free[column] = b.place(column, max(y, g.free[column]))
	full := []string{clean(n.Kind+" "+b.Name, 300)}
	for _, line := range append(b.Lines, n.Reason) {
		full = append(full, clean(line, 300))
	}
	b.Full = strings.TrimSpace(strings.Join(full, "\n"))
	g.boxes[n] = b
	g.Nodes = append(g.Nodes, b)
	g.Width, g.Height = max(g.Width, b.X+nodeWidth+2), max(g.Height, b.Y+b.H+2)
}

// linesOf says in a box what a node is beside its name.
func linesOf(n *step) (lines []string) {
	state := n.State
	if n.Took > 0 {
		state += " · " + durationText(time.Duration(n.Took))
	}
	switch {
	case n.Event != nil:
		lines = append(lines, n.Event.Position.String())
		if n.Event.Key != "" {
			lines = append(lines, "key "+clean(n.Event.Key, 22)) // which may be of wide letters
		}
		skipped := 0
		for _, d := range n.effects {
			if d.isDelivery() && d.decided() {
				skipped++
			}
		}
		if skipped > 0 {
			lines = append(lines, "not for "+plural(skipped, "subscription"))
		}
		if n.State != "stored" {
			lines = append(lines, n.State)
		}
	case n.Request != nil && n.Request.Status > 0:
		lines = append(lines, "status "+count(n.Request.Status)+" · "+durationText(time.Duration(n.Took)))
	case n.isDelivery() && len(n.attempts) > 1:
		lines = append(lines, state, plural(len(n.attempts), "attempt"))
	default:
		lines = append(lines, state)
	}
	return lines
}
