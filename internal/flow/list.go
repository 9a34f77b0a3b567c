package flow

import (
	"context"
	"slices"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

const (
	defaultListed = 100
	maxListed     = 1000
	// maxLooked is how many flows one page looks at; it ends earlier where they have more events than maxLookedEvents.
	maxLooked       = 1000
	maxLookedEvents = 10_000
	// maxFound is how many flows one event id or trace leads to at most.
	maxFound = 100
)

// States are those that a flow can have.
var States = []string{tandem.FlowRunning, tandem.FlowDone, tandem.FlowFailed}

// Check reports what is wrong with a query. Code: Invalid.
func Check(q *tandem.FlowQuery) error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the query of flows is invalid")
	exact := 0
	for _, v := range []string{q.Event, q.Operation, q.Trace} {
		if v != "" {
			exact++
		}
	}
	if exact > 1 || exact == 1 && (q.Key != "" || q.Type != "" || q.State != "" || !q.Since.IsZero() || !q.Until.IsZero() || q.After != "") {
		bad.WithField("", "event, operation and trace stand alone: each leads to its flows")
	}
	if (q.Source == "") != (q.Event == "") {
		bad.WithField("source", "goes with event: an event is known by both")
	}
	if _, ok := flowindex.ParseTrace(q.Trace); q.Trace != "" && !ok {
		bad.WithField("trace", "must be a W3C trace id: 32 hexadecimal digits in lower case")
	}
	if q.State != "" && !slices.Contains(States, q.State) {
		bad.WithField("state", "must be running, done or failed")
	}
	if !q.Until.IsZero() && !q.Until.After(q.Since) {
		bad.WithField("until", "must be after since")
	}
	if q.Limit < 0 || q.Limit > maxListed {
		bad.WithField("limit", "must be from 1 to %d", maxListed)
	}
	if _, ok := afterOf(q.After); !ok {
		bad.WithField("after", "is not the next of a page")
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// afterOf reads the Next of a page: the id of a flow, which has a time.
func afterOf(after string) (k flowindex.Key, ok bool) {
	if after == "" {
		return k, true
	}
	k = flowindex.KeyOf(after)
	_, ok = k.Time()
	return k, ok
}

// List returns a page of flows. By Event, Operation or Trace it has all flows that it leads to, and there is one at least; otherwise those
// whose ids have a time, the newest first. Codes: Invalid, NotFound, Unavailable, Unsupported (no index is kept).
func (f *Flows) List(ctx context.Context, q tandem.FlowQuery) (tandem.FlowPage, error) {
	l := listing{Flows: f, q: &q, page: tandem.FlowPage{Flows: []tandem.FlowSummary{}}}
	if err := f.kept(); err != nil {
		return l.page, err
	}
	if err := Check(&q); err != nil {
		return l.page, err
	}
	if q.Limit == 0 {
		q.Limit = defaultListed
	}
	f.fresh(ctx)
	var err error
	switch {
	case q.Event != "":
		err = l.ofEvent(ctx)
	case q.Operation != "":
		err = l.ofOperation(ctx)
	case q.Trace != "":
		err = l.ofTrace(ctx)
	default:
		err = l.newest(ctx)
	}
	return l.page, tandem.Wrap("list flows", err)
}

// listing is a page that is put together.
type listing struct {
	*Flows
	q     *tandem.FlowQuery
	page  tandem.FlowPage
	calls failedCalls
}

// ofEvent finds the flows of an event by its id and source, in whichever topics it is.
func (l *listing) ofEvent(ctx context.Context) error {
	for _, t := range l.log.Topics() {
		key, place, ok, err := l.index.Find(tandem.Fingerprint(t.Name, l.q.Source, l.q.Event))
		if err != nil {
			return errIndex(err)
		}
		if !ok {
			continue
		}
		id, err := l.flowAt(ctx, key, place)
		if err != nil {
			return err
		}
		ref := tandem.Ref(t.Name, l.q.Source, l.q.Event)
		if err := l.add(ctx, id, key, func(e *event) bool { return e.node.Event.Ref == ref }); err != nil {
			return err
		}
		if len(l.page.Flows) == maxFound {
			break
		}
	}
	if len(l.page.Flows) == 0 {
		return l.unknown("event", l.q.Event)
	}
	return nil
}

func (l *listing) ofOperation(ctx context.Context) error {
	id := l.q.Operation
	if l.opts.Operations == nil {
		return l.unknown("operation", id)
	}
	op, err := l.opts.Operations.Get(ctx, id)
	if err != nil {
		return err
	}
	err = l.add(ctx, op.Flow, flowindex.KeyOf(op.Flow), nil)
	if err == nil && len(l.page.Flows) == 0 {
		return l.unknown("operation", id)
	}
	return err
}

func (l *listing) ofTrace(ctx context.Context) error {
	trace, _ := flowindex.ParseTrace(l.q.Trace)
	keys, err := l.index.ByTrace(trace, maxFound)
	if err != nil {
		return errIndex(err)
	}
	for _, k := range keys {
		if err := l.add(ctx, "", k, nil); err != nil {
			return err
		}
	}
	for _, r := range l.requests.find(func(r *Request) bool { return r.Trace == l.q.Trace }) {
		if len(l.page.Flows) >= maxFound {
			break // whoever sends requests names their trace
		}
		if !slices.Contains(keys, flowindex.KeyOf(r.Flow)) {
			if err := l.add(ctx, r.Flow, flowindex.KeyOf(r.Flow), nil); err != nil {
				return err
			}
		}
	}
	if len(l.page.Flows) == 0 {
		return l.unknown("trace", l.q.Trace)
	}
	return nil
}

// newest lists flows by time. Those of which only a request is known are found by their id and trace alone.
func (l *listing) newest(ctx context.Context) error {
	after, _ := afterOf(l.q.After)
	most := maxLooked
	if l.q.Key == "" && l.q.Type == "" && l.q.State == "" {
		most = l.q.Limit
	}
	var keys []flowindex.Key // and one more, if there is one
	err := l.index.Newest(l.q.Until, after, func(k flowindex.Key) bool {
		if at, _ := k.Time(); at.Before(l.q.Since) {
			return false
		}
		keys = append(keys, k)
		return len(keys) <= most && ctx.Err() == nil
	})
	if err != nil {
		return errIndex(err)
	}
	if l.calls, err = l.callsOf(ctx, keys); err != nil {
		return err
	}
	seen := 0
	for i, k := range keys {
		if i == most || seen >= maxLookedEvents || len(l.page.Flows) == l.q.Limit {
			l.page.Next = keys[i-1].String()
			break
		}
		events, err := l.index.Events(k, maxEvents)
		if err != nil {
			return errIndex(err)
		}
		seen += len(events)
		if err := l.consider(ctx, k, events); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// consider adds a flow if it is asked for. Its events are looked at before its graph is put together.
func (l *listing) consider(ctx context.Context, k flowindex.Key, events []flowindex.Event) error {
	if l.q.Key == "" && l.q.Type == "" {
		return l.add(ctx, "", k, nil)
	}
	matches := func(rec *tandem.Record) bool {
		return rec != nil && (l.q.Key == "" || rec.Ordering() == l.q.Key) && (l.q.Type == "" || rec.Type == l.q.Type)
	}
	for _, e := range events {
		rec, err := l.read(ctx, e.Place)
		if err != nil {
			return err
		}
		if matches(rec) {
			return l.add(ctx, "", k, func(e *event) bool { return matches(e.rec) })
		}
	}
	return nil
}

// add adds a flow, once, if it is in the state that is asked for. Its first event is the first for which first.
func (l *listing) add(ctx context.Context, id string, k flowindex.Key, first func(*event) bool) error {
	if id == "" {
		id = k.String()
		if _, ok := k.Time(); !ok {
			events, err := l.index.Events(k, 1)
			if err != nil {
				return errIndex(err)
			}
			if len(events) > 0 {
				if id, err = l.flowAt(ctx, k, events[0].Place); err != nil {
					return err
				}
			}
		}
	}
	if slices.ContainsFunc(l.page.Flows, func(s tandem.FlowSummary) bool { return s.ID == id }) {
		return nil
	}
	g, err := l.graph(ctx, id, []flowindex.Key{k}, l.calls)
	if err != nil || len(g.flow.Nodes) == 0 || l.q.State != "" && g.flow.State != l.q.State {
		return err
	}
	s := tandem.FlowSummary{ID: id, State: g.flow.State, Started: g.flow.Started, Ended: g.flow.Ended, Events: len(g.events)}
	for i := range g.events {
		if e := &g.events[i]; first == nil || first(e) {
			s.First = e.node.Event
			break
		}
	}
	l.page.Flows = append(l.page.Flows, s)
	return nil
}
