package flow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// The bounds of one graph. What is beyond them is told.
const (
	maxEvents  = 1000
	maxNodes   = 10_000
	maxEffects = 100 // of one event, in other flows
)

// Get returns a flow. What was stored before is in it, or its Missing says that it is not. Codes: NotFound, Unavailable, Unsupported (no index
// is kept).
func (f *Flows) Get(ctx context.Context, id string) (tandem.Flow, error) {
	if err := f.kept(); err != nil {
		return tandem.Flow{}, err
	}
	fresh := f.fresh(ctx)
	g, err := f.graph(ctx, id, flowindex.KeysOf(id), nil)
	if err != nil {
		return tandem.Flow{}, tandem.Wrap("flow "+id, err)
	}
	if len(g.flow.Nodes) == 0 {
		return tandem.Flow{}, f.unknown("flow", id)
	}
	if s := f.Status(ctx); !fresh && s.Behind > 0 {
		g.lack("%d stored events are not in the index yet: it is %s behind", s.Behind, time.Duration(s.Lag).Round(time.Millisecond))
	}
	return g.flow, nil
}

func (f *Flows) kept() error {
	if f.index == nil {
		return tandem.Errorf(tandem.CodeUnsupported, "no index of flows is kept").WithHint("the configuration says flows: {size: 0}")
	}
	return nil
}

func errIndex(err error) error {
	return tandem.Errorf(tandem.CodeUnavailable, "read the index of flows: %w", err)
}

// unknown says that there is no flow with something.
func (f *Flows) unknown(what, id string) error {
	return tandem.Errorf(tandem.CodeNotFound, "there is no flow of %s %q", what, id).
		WithHint("the index of flows goes back to %s; requests that caused no event are forgotten earlier", f.index.Horizon().Format(time.RFC3339))
}

// graph is a flow that is put together.
type graph struct {
	f      *Flows
	calls  failedCalls
	flow   tandem.Flow
	events []event
	byRef  map[string]int // index in events
	topics map[string]driver.ID
	open   bool // something has no end yet
	failed bool
}

// event is an event of the flow with its node.
type event struct {
	flowindex.Event
	at         tandem.Position
	node       tandem.FlowNode
	rec        *tandem.Record // nil: it is not stored any more
	live       bool           // its topic is there
	deliveries []delivery
}

// delivery is a node of the graph, and the id of the attempt that delivered it, or its own where that is not known.
type delivery struct {
	tandem.FlowNode
	answered string
}

func (f *Flows) graph(ctx context.Context, id string, keys []flowindex.Key, calls failedCalls) (*graph, error) {
	g := &graph{f: f, calls: calls, byRef: map[string]int{}, topics: map[string]driver.ID{}}
	g.flow.ID, g.flow.Nodes = id, []tandem.FlowNode{}
	for _, t := range f.log.Topics() {
		g.topics[t.Name] = t.ID
	}
	for _, step := range []func(context.Context, []flowindex.Key) error{g.addEvents, g.addRequests, g.addDeliveries, g.addCalls, g.addOperations, g.addLinks} {
		if err := step(ctx, keys); err != nil {
			return nil, err
		}
	}
	g.finish(keys)
	return g, nil
}

// lack notes what the graph may lack.
func (g *graph) lack(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(g.flow.Missing, text) {
		g.flow.Missing = append(g.flow.Missing, text)
	}
}

func (g *graph) add(n tandem.FlowNode) {
	if len(g.flow.Nodes) >= maxNodes {
		g.lack("the flow has more than %d nodes", maxNodes)
		return
	}
	g.flow.Nodes = append(g.flow.Nodes, n)
}

// addEvents finds the events. Their nodes are added when it is known what caused them.
func (g *graph) addEvents(ctx context.Context, keys []flowindex.Key) error {
	for _, k := range keys {
		found, err := g.f.index.Events(k, maxEvents+1)
		if err != nil {
			return errIndex(err)
		}
		for _, e := range found {
			g.events = append(g.events, event{Event: e})
		}
	}
	slices.SortFunc(g.events, func(a, b event) int {
		return cmp.Or(a.Accepted.Compare(b.Accepted), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	if len(g.events) > maxEvents {
		g.events = g.events[:maxEvents]
		g.lack("the flow has more than %d events", maxEvents)
	}
	for i := range g.events {
		e := &g.events[i]
		rec, err := g.f.read(ctx, e.Place)
		if err != nil {
			return err
		}
		e.rec = rec
		name := g.f.index.TopicName(e.Topic)
		e.live = g.topics[name] == e.Topic
		e.at = tandem.Position{Topic: name, Partition: e.Partition, Offset: e.Offset}
		e.node = eventNode(e)
		if rec != nil {
			rec.Data = nil // all events of a large flow may be more than memory holds
		}
		g.byRef[e.node.Event.Ref] = i
	}
	return nil
}

// read returns an event, nil when it is not stored any more.
func (f *Flows) read(ctx context.Context, p flowindex.Place) (*tandem.Record, error) {
	recs, err := f.log.ReadPartition(ctx, p.Topic, p.Partition, p.Offset, 1, nil)
	if tandem.CodeOf(err) == tandem.CodeNotFound || err == nil && (len(recs) == 0 || recs[0].Position.Offset != p.Offset) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &recs[0], nil
}

// addDeliveries adds the deliveries of the events, with their attempts, and then the events by what caused them.
func (g *graph) addDeliveries(ctx context.Context, _ []flowindex.Key) error {
	for i := range g.events {
		e := &g.events[i]
		if !e.live {
			g.lack("the topic %s was deleted, and what became of its deliveries with it", cmp.Or(e.at.Topic, "of an event"))
			continue
		}
		if g.f.opts.Ledger == nil {
			continue
		}
		rows, err := g.f.opts.Ledger.DeliveriesAt(ctx, e.at)
		if err != nil {
			return err
		}
		for j := range rows {
			kind := tandem.NodeDelivery
			if e.rec != nil && g.f.opts.Ledger.Called(e.rec, rows[j].Subscription) {
				kind = tandem.NodeCall
			}
			d := g.addDelivery(kind, fmt.Sprintf("%s/%s/%d", e.node.ID, rows[j].Subscription, rows[j].Epoch), e.node.ID, &rows[j])
			e.deliveries = append(e.deliveries, d)
		}
	}
	for i := range g.events {
		e := &g.events[i]
		e.node.Causes, e.node.Kind = g.causes(e)
		g.add(e.node)
	}
	return nil
}

// causes returns the nodes that caused an event, and its kind.
func (g *graph) causes(e *event) (ids []string, kind string) {
	kind = tandem.NodeEvent
	if e.rec == nil {
		return nil, kind
	}
	for _, ref := range e.rec.Meta.Causes {
		i, ok := g.byRef[ref]
		if !ok {
			continue // see addLinks
		}
		id := g.events[i].node.ID
		if d := g.events[i].answered(e.rec); d != nil {
			id, kind = d.answered, tandem.NodeReply
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(e.rec.Meta.Causes) == 0 {
		if r := g.requestBefore(e.Accepted); r != "" {
			ids = append(ids, r)
		}
	}
	return ids, kind
}

// answered returns the delivery of e that an event replies to, nil when it is not the reply of a subscription. Of deliveries in several
// epochs it is the newest that had begun.
func (e *event) answered(reply *tandem.Record) *delivery {
	if e.rec == nil || reply.Meta.Hops != e.rec.Meta.Hops+1 {
		return nil
	}
	var best *delivery
	for i := range e.deliveries {
		d := &e.deliveries[i]
		if d.Delivery.Subscription != reply.Meta.Producer {
			continue
		}
		if best == nil || d.Delivery.Epoch > best.Delivery.Epoch && began(d).Before(reply.Meta.Accepted.Add(time.Millisecond)) {
			best = d
		}
	}
	return best
}

// began is the start of the first attempt of a delivery that ended, else the time of its event.
func began(n *delivery) time.Time {
	if n.Time == nil {
		return n.At
	}
	return n.At.Add(time.Duration(n.Time.Waiting))
}

// finish orders the nodes and says how the flow stands.
func (g *graph) finish(keys []flowindex.Key) {
	f := &g.flow
	f.Nodes = ordered(f.Nodes)
	for i := range f.Nodes {
		n := &f.Nodes[i]
		if !n.At.IsZero() && (f.Started.IsZero() || n.At.Before(f.Started)) {
			f.Started = n.At
		}
		if end := n.At.Add(time.Duration(n.Took)); !n.At.IsZero() && end.After(f.Ended) {
			f.Ended = end
		}
	}
	switch {
	case g.open:
		f.State, f.Ended = tandem.FlowRunning, time.Time{}
	case g.failed:
		f.State = tandem.FlowFailed
	default:
		f.State = tandem.FlowDone
	}
	if len(f.Nodes) == 0 {
		return
	}
	if n := g.f.lost.Load(); n > 0 {
		g.lack("events that retention removed before they were in the index: %d", n)
	}
	horizon := g.f.index.Horizon()
	if at, ok := keys[0].Time(); ok && at.Before(horizon) || f.Started.Before(horizon) {
		g.lack("the index goes back to %s, and the flow began before that", horizon.Format(time.RFC3339))
	}
}

// ordered returns nodes in order of time, but none before one that caused it.
func ordered(nodes []tandem.FlowNode) []tandem.FlowNode {
	slices.SortStableFunc(nodes, func(a, b tandem.FlowNode) int { return a.At.Compare(b.At) })
	byID := make(map[string]int, len(nodes))
	for i := range nodes {
		byID[nodes[i].ID] = i
	}
	out := make([]tandem.FlowNode, 0, len(nodes))
	seen := make([]bool, len(nodes))
	var emit func(int)
	emit = func(i int) {
		if seen[i] { // also where clients claim causes in a circle
			return
		}
		seen[i] = true
		for _, c := range nodes[i].Causes {
			if j, ok := byID[c]; ok {
				emit(j)
			}
		}
		out = append(out, nodes[i])
	}
	for i := range nodes {
		emit(i)
	}
	return out
}
