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
	page := tandem.FlowPage{Flows: []tandem.FlowSummary{}}
	if err := f.kept(); err != nil {
		return page, err
	}
	if err := Check(&q); err != nil {
		return page, err
	}
	if q.Limit == 0 {
		q.Limit = defaultListed
	}
	f.fresh(ctx)
	var err error
	switch {
	case q.Event != "":
		err = f.ofEvent(ctx, &q, &page)
	case q.Operation != "":
		err = f.ofOperation(ctx, q.Operation, &page)
	case q.Trace != "":
		err = f.ofTrace(ctx, q.Trace, &page)
	default:
		err = f.newest(ctx, &q, &page)
	}
	return page, tandem.Wrap("list flows", err)
}

// ofEvent finds the flows of an event by its id and source, in whichever topics it is.
func (f *Flows) ofEvent(ctx context.Context, q *tandem.FlowQuery, page *tandem.FlowPage) error {
	for _, t := range f.log.Topics() {
		key, place, ok, err := f.index.Find(tandem.Fingerprint(t.Name, q.Source, q.Event))
		if err != nil {
			return tandem.Errorf(tandem.CodeUnavailable, "read the index of flows: %w", err)
		}
		if !ok {
			continue
		}
		id, err := f.flowAt(ctx, key, place)
		if err != nil {
			return err
		}
		ref := tandem.Ref(t.Name, q.Source, q.Event)
		if err := f.found(ctx, page, id, key, func(e *event) bool { return e.node.Event.Ref == ref }); err != nil {
			return err
		}
		if len(page.Flows) == maxFound {
			break
		}
	}
	if len(page.Flows) == 0 {
		return f.unknown("event", q.Event)
	}
	return nil
}

func (f *Flows) ofOperation(ctx context.Context, id string, page *tandem.FlowPage) error {
	if f.opts.Operations == nil {
		return f.unknown("operation", id)
	}
	op, err := f.opts.Operations.Get(ctx, id)
	if err != nil {
		return err
	}
	err = f.found(ctx, page, op.Flow, flowindex.KeyOf(op.Flow), nil)
	if err == nil && len(page.Flows) == 0 {
		return f.unknown("operation", id)
	}
	return err
}

func (f *Flows) ofTrace(ctx context.Context, text string, page *tandem.FlowPage) error {
	trace, _ := flowindex.ParseTrace(text)
	keys, err := f.index.ByTrace(trace, maxFound)
	if err != nil {
		return tandem.Errorf(tandem.CodeUnavailable, "read the index of flows: %w", err)
	}
	for _, k := range keys {
		if err := f.found(ctx, page, "", k, nil); err != nil {
			return err
		}
	}
	for _, r := range f.requests.find(func(r *Request) bool { return r.Trace == text }) {
		if len(page.Flows) >= maxFound {
			break // whoever sends requests names their trace
		}
		if !slices.Contains(keys, flowindex.KeyOf(r.Flow)) {
			if err := f.found(ctx, page, r.Flow, flowindex.KeyOf(r.Flow), nil); err != nil {
				return err
			}
		}
	}
	if len(page.Flows) == 0 {
		return f.unknown("trace", text)
	}
	return nil
}

// newest lists flows by time. Those of which only a request is known are found by their id and trace alone.
func (f *Flows) newest(ctx context.Context, q *tandem.FlowQuery, page *tandem.FlowPage) error {
	after, _ := afterOf(q.After)
	looked, seen := 0, 0
	var bad error
	err := f.index.Newest(q.Until, after, func(k flowindex.Key) bool {
		if at, _ := k.Time(); at.Before(q.Since) {
			return false
		}
		if looked == maxLooked || seen >= maxLookedEvents || len(page.Flows) == q.Limit || ctx.Err() != nil {
			page.Next = after.String()
			return false
		}
		events, err := f.index.Events(k, maxEvents)
		if err != nil {
			bad = tandem.Errorf(tandem.CodeUnavailable, "read the index of flows: %w", err)
			return false
		}
		looked, seen, after = looked+1, seen+len(events), k
		bad = f.consider(ctx, q, k, events, page)
		return bad == nil
	})
	if bad != nil {
		return bad
	}
	if err != nil {
		return tandem.Errorf(tandem.CodeUnavailable, "read the index of flows: %w", err)
	}
	return ctx.Err()
}

// consider adds a flow if it is asked for. Its events are looked at before its graph is put together.
func (f *Flows) consider(ctx context.Context, q *tandem.FlowQuery, k flowindex.Key, events []flowindex.Event, page *tandem.FlowPage) error {
	if q.Key == "" && q.Type == "" {
		return f.foundIn(ctx, page, "", k, nil, q.State)
	}
	matches := func(rec *tandem.Record) bool {
		return rec != nil && (q.Key == "" || rec.Ordering() == q.Key) && (q.Type == "" || rec.Type == q.Type)
	}
	for _, e := range events {
		rec, err := f.read(ctx, e.Place)
		if err != nil {
			return err
		}
		if matches(rec) {
			return f.foundIn(ctx, page, "", k, func(e *event) bool { return matches(e.rec) }, q.State)
		}
	}
	return nil
}

func (f *Flows) found(ctx context.Context, page *tandem.FlowPage, id string, k flowindex.Key, first func(*event) bool) error {
	return f.foundIn(ctx, page, id, k, first, "")
}

// foundIn adds a flow to a page if it is in a state, "" for any, once. Its first event is the first that is asked for.
func (f *Flows) foundIn(ctx context.Context, page *tandem.FlowPage, id string, k flowindex.Key, first func(*event) bool, state string) error {
	if id == "" {
		id = k.String()
		if _, ok := k.Time(); !ok {
			events, err := f.index.Events(k, 1)
			if err != nil {
				return tandem.Errorf(tandem.CodeUnavailable, "read the index of flows: %w", err)
			}
			if len(events) > 0 {
				if id, err = f.flowAt(ctx, k, events[0].Place); err != nil {
					return err
				}
			}
		}
	}
	if slices.ContainsFunc(page.Flows, func(s tandem.FlowSummary) bool { return s.ID == id }) {
		return nil
	}
	g, err := f.graph(ctx, id, []flowindex.Key{k})
	if err != nil || len(g.flow.Nodes) == 0 || state != "" && g.flow.State != state {
		return err
	}
	s := tandem.FlowSummary{ID: id, State: g.flow.State, Started: g.flow.Started, Ended: g.flow.Ended, Events: len(g.events)}
	for i := range g.events {
		if e := &g.events[i]; first == nil || first(e) {
			s.First = e.node.Event
			break
		}
	}
	page.Flows = append(page.Flows, s)
	return nil
}
