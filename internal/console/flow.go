package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	nodesPerPage = 150
	maxJumps     = 30 // to what one node caused, or to other flows
	maxLevels    = 12 // by which the list is set in
)

// flowPage is one flow: as a graph, and as a list on an axis of time, of which one node is unfolded.
type flowPage struct {
	tandem.Flow
	Head     string // what began it
	Counts   string
	Graph    *flowGraph
	Axis     *axis
	Rows     []flowRow
	From, To int // of the rows, counted from 1
	Total    int
	Folded   string // where none is unfolded
	Before   string
	Next     string
	Others   []jump // to other flows
	More     int    // of them that are not shown
	Curl     string
}

// flowRow is a node in the list.
type flowRow struct {
	*step
	Href     string
	Bars     []bar
	Unfolded *flowNode // nil: it is not
}

// Indent is how far a row is set in.
func (r *flowRow) Indent() int { return min(r.Depth, maxLevels) }

// Whole is how long the flow took.
func (p *flowPage) Whole() string { return durationText(p.Ended.Sub(p.Started)) }

// After is when it was, from the beginning of the flow.
func (p *flowPage) After(r *flowRow) string {
	if r.At.IsZero() {
		return "–"
	}
	return "+" + durationText(max(0, r.At.Sub(p.Started)))
}

// Lasted is how long it took.
func (r *flowRow) Lasted() string {
	switch {
	case r.Took > 0:
		return durationText(time.Duration(r.Took))
	case r.open():
		return "open"
	}
	return ""
}

// Divided says where the time of a delivery went, if it was not called once and at once.
func (r *flowRow) Divided() string {
	t := r.Time
	if t == nil || len(r.attempts) < 2 {
		return ""
	}
	return dividedText(t)
}

func dividedText(t *tandem.FlowTime) string {
	return "waiting " + durationText(time.Duration(t.Waiting)) + " · service " + durationText(time.Duration(t.Service)) + " · backoff " + durationText(time.Duration(t.Backoff))
}

// jump leads to a node of this flow or of another one.
type jump struct{ What, Name, Href string }

func (v *visit) flow() error {
	id, q := v.r.PathValue("id"), v.r.URL.Query()
	f, err := v.api.Flow(v.r.Context(), id)
	if err != nil {
		return err
	}
	all := treeOf(&f)
	p := flowPage{Flow: f, Head: headOf(all), Counts: countsOf(&f), Axis: axisOf(&f), Total: len(all), Curl: v.curl(http.MethodGet, "/v1/flows/"+url.PathEscape(id))}
	href := func(n *step) string { return flowHref(id, n.ID) }
	p.Graph = graphOf(all, href)
	chosen := slices.IndexFunc(all, func(n *step) bool { return n.is(q.Get("node")) })
	if !q.Has("node") && !q.Has("from") {
		chosen = slices.IndexFunc(all, func(n *step) bool { return n.Event != nil })
	}
	from, _ := strconv.Atoi(q.Get("from"))
	if !q.Has("from") && chosen >= 0 {
		from = chosen / nodesPerPage * nodesPerPage
	}
	from = min(max(from, 0), len(all))
	to := min(from+nodesPerPage, len(all))
	for i, n := range all[from:to] {
		row := flowRow{step: n, Href: href(n), Bars: p.Axis.bars(n)}
		if from+i == chosen {
			row.Unfolded = v.flowNode(&f, n, all)
		}
		p.Rows = append(p.Rows, row)
	}
	p.From, p.To = from+1, to
	page := func(from int) string { return v.r.URL.EscapedPath() + query("from", from) + "#sequence" }
	p.Folded = page(from)
	if from > 0 {
		p.Before = page(max(from-nodesPerPage, 0))
	}
	if to < len(all) {
		p.Next = page(to)
	}
	p.Others = jumpsOf(f.Links)
	p.More = max(0, len(p.Others)-maxJumps)
	p.Others = p.Others[:len(p.Others)-p.More]
	v.show(http.StatusOK, "flow", "Flow of "+clean(p.Head, 60), &p)
	return nil
}

// headOf names a flow by what began it.
func headOf(all []*step) string {
	if len(all) == 0 {
		return "nothing"
	}
	return all[0].Name()
}

// countsOf says how much there is in a flow.
func countsOf(f *tandem.Flow) string {
	events, deliveries, attempts := 0, 0, 0
	for i := range f.Nodes {
		switch n := (step{FlowNode: &f.Nodes[i]}); {
		case n.Event != nil:
			events++
		case n.isDelivery() && !n.decided():
			deliveries++
		case n.Attempt != nil:
			attempts++
		}
	}
	return plural(events, "event") + " · " + plural(deliveries, "delivery") + " · " + plural(attempts, "attempt")
}

// jumpsOf leads to other flows, each once for every event.
func jumpsOf(links []tandem.FlowLink) (all []jump) {
	for i := range links {
		l := &links[i]
		j := jump{What: "was caused by", Name: l.Ref}
		if l.Kind == tandem.FlowEffect {
			j.What = "caused"
		}
		if l.Position.Topic != "" {
			j.Name = l.Position.String()
		}
		if l.Flow != "" {
			j.Href = flowHref(l.Flow, cmp.Or(l.Ref, j.Name))
		}
		all = append(all, j)
	}
	return all
}
