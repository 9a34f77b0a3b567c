package flow

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// States of nodes, beside those of deliveries and operations.
const (
	stateStored    = "stored"
	stateRemoved   = "removed"
	stateAnswered  = "answered"
	stateFailed    = "failed"
	stateSucceeded = "succeeded"
	stateUncounted = "uncounted"
)

func eventNode(e *event) tandem.FlowNode {
	about := &tandem.FlowEvent{Position: e.at, Ref: refText(e.Ref)}
	n := tandem.FlowNode{ID: e.at.String(), Kind: tandem.NodeEvent, At: e.Accepted, State: stateStored, Event: about}
	if !e.live {
		n.ID = fmt.Sprintf("%s@%d/%d/%d", e.at.Topic, e.Topic, e.Partition, e.Offset) // another topic may have the name now
	}
	if e.rec == nil {
		n.State, n.Reason = stateRemoved, "retention, or the end of its topic, removed the event"
		return n
	}
	describe(about, e.rec)
	return n
}

func describe(into *tandem.FlowEvent, rec *tandem.Record) {
	m := &rec.Meta
	into.ID, into.Source, into.Type, into.Key, into.DataContentType, into.DataBytes = rec.ID, rec.Source, rec.Type, rec.Ordering(), rec.DataContentType, len(rec.Data)
	into.Hops, into.Producer, into.Route, into.Operation, into.TraceParent = m.Hops, m.Producer, m.Route, m.Operation, m.TraceParent
}

func refText(ref [16]byte) string { return base64.RawURLEncoding.EncodeToString(ref[:]) }

// addRequests adds the requests of the flow that are remembered, or else the one that its first event was.
func (g *graph) addRequests(context.Context, []flowindex.Key) error {
	found := g.f.requests.find(func(r *Request) bool { return r.Flow == g.flow.ID })
	for i := range found {
		r := &found[i]
		n := tandem.FlowNode{ID: "request/" + strconv.Itoa(i), Kind: tandem.NodeRequest, At: r.Began.UTC().Round(0), Took: tandem.Duration(r.Took), State: stateAnswered,
			Request: &r.FlowRequest}
		switch {
		case r.Status == 0:
			n.State, n.Reason = stateFailed, "the client left before there was an answer"
		case r.Status >= 500:
			n.State, n.Reason = stateFailed, fmt.Sprintf("status %d", r.Status)
		}
		g.failed = g.failed || n.State == stateFailed
		if g.flow.Trace == "" {
			g.flow.Trace = r.Trace
		}
		g.add(n)
	}
	for i := range g.events {
		rec := g.events[i].rec
		if rec == nil {
			continue
		}
		if p := rec.Meta.TraceParent; g.flow.Trace == "" && len(p) >= 35 {
			g.flow.Trace = p[3:35]
		}
		if m := &rec.Meta; len(found) == 0 && len(m.Causes) == 0 && m.Hops == 0 && m.Route != "" && !isAPI(m.Route) {
			g.add(tandem.FlowNode{ID: "request/0", Kind: tandem.NodeRequest, At: m.Accepted, State: stateAnswered,
				Request: &tandem.FlowRequest{Route: m.Route, Principal: m.Producer, Operation: m.Operation}})
			break
		}
	}
	return nil
}

// requestBefore returns the newest request that had begun at a time, else the first; "" when there is none.
func (g *graph) requestBefore(at time.Time) (id string) {
	for i := range g.flow.Nodes {
		n := &g.flow.Nodes[i]
		if n.Kind == tandem.NodeRequest && (id == "" || !n.At.After(at.Add(time.Millisecond))) { // acceptance is in milliseconds
			id = n.ID
		}
	}
	return id
}

// openStates are those of deliveries that go on.
var openStates = []string{tandem.DeliveryUnread, tandem.DeliveryQueued, tandem.DeliverySending, tandem.DeliveryRetrying, tandem.DeliveryWaiting}

// badStates are outcomes without success.
var badStates = []string{tandem.DeliveryDead, tandem.DeliveryExpired, tandem.DeliveryDiscarded, tandem.DeliveryFailed}

// addDelivery adds a delivery, or a call, and its attempts.
func (g *graph) addDelivery(kind, id, cause string, row *tandem.Delivery) delivery {
	d := *row
	d.History = nil
	n := tandem.FlowNode{ID: id, Kind: kind, State: d.State, Reason: d.Reason, Delivery: &d}
	if cause != "" {
		n.Causes = []string{cause}
	}
	open := slices.Contains(openStates, d.State)
	g.open = g.open || open
	g.failed = g.failed || slices.Contains(badStates, d.State)
	n.At, _ = tandem.ParseTime(d.Accepted)
	history := row.History
	if len(history) > 0 && (n.At.IsZero() || kind == tandem.NodeCall) {
		n.At = history[0].At // it was called before the event was stored
	}
	end, _ := tandem.ParseTime(d.Ended)
	if last := len(history) - 1; last >= 0 && (end.IsZero() || kind == tandem.NodeCall) {
		end = history[last].At.Add(time.Duration(history[last].Took))
	}
	whole := tandem.Duration(0)
	if !n.At.IsZero() && end.After(n.At) {
		whole = tandem.Duration(end.Sub(n.At))
	}
	if !open {
		n.Took = whole
	}
	n.Time = timeOf(n.At, whole, history)
	g.add(n)
	answered := id
	for i := range history {
		a := history[i]
		if d.State == tandem.DeliveryFailed && a.Number == 0 {
			continue // nobody was called
		}
		at := tandem.FlowNode{ID: id + "/" + strconv.Itoa(i+1), Kind: tandem.NodeAttempt, Causes: []string{id}, At: a.At, Took: a.Took, State: stateFailed, Reason: a.Detail, Attempt: &a}
		switch {
		case d.State == tandem.DeliveryDelivered && i == len(history)-1, a.Status/100 == 2 && a.Detail == "":
			at.State, answered = stateSucceeded, at.ID
		case a.Number == 0:
			at.State = stateUncounted
		}
		g.add(at)
	}
	return delivery{n, answered}
}

// timeOf divides the time of a delivery up to the end of its last attempt, or its outcome; nil where there was no attempt.
func timeOf(from time.Time, whole tandem.Duration, history []tandem.Attempt) *tandem.FlowTime {
	if len(history) == 0 {
		return nil
	}
	t := &tandem.FlowTime{Waiting: tandem.Duration(max(0, history[0].At.Sub(from)))}
	for i := range history {
		t.Service += history[i].Took
	}
	if len(history) > 1 {
		t.Backoff = max(0, whole-t.Waiting-t.Service)
	}
	return t
}
