package tandem

import "time"

// States of a Flow.
const (
	FlowRunning = "running" // a delivery has no outcome yet, or an operation runs
	FlowDone    = "done"    // all that followed is done
	FlowFailed  = "failed"  // nothing is open, and something failed: a request, a call, a delivery, an operation
)

// Kinds of a FlowNode.
const (
	NodeRequest   = "request"   // through the public listener
	NodeEvent     = "event"     // as a reply, but published by anybody
	NodeReply     = "reply"     // an event that a subscription answered with
	NodeDelivery  = "delivery"  // of an event to a subscription that selects its topic, whatever became of it
	NodeCall      = "call"      // of a subscription with mode request, before the event was stored
	NodeAttempt   = "attempt"   // of a delivery or a call
	NodeOperation = "operation" // its beginning, and another node for its end
)

// Flow is everything that one cause set off, as a graph: the edges are the Causes of its nodes.
type Flow struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Started time.Time `json:"started,omitzero"` // of the first node
	Ended   time.Time `json:"ended,omitzero"`   // of the last one; none while the flow runs
	Trace   string    `json:"trace,omitempty"`  // W3C trace id, of the first event that has one
	// Nodes are in order of time, a cause before what it caused.
	Nodes []FlowNode `json:"nodes"`
	Links []FlowLink `json:"links,omitempty"` // to other flows
	// Missing says, in sentences, what the graph may lack and why. Empty: nothing.
	Missing []string `json:"missing,omitempty"`
}

// FlowNode is one thing that happened. The member named like its kind says more of it; a reply has Event, a call Delivery.
type FlowNode struct {
	ID     string    `json:"id"` // in this flow; the same whenever it is asked for
	Kind   string    `json:"kind"`
	Causes []string  `json:"causes,omitempty"` // ids of nodes; none: it began the flow, its cause is in Links, or the event that names it is removed
	At     time.Time `json:"at,omitzero"`
	Took   Duration  `json:"took,omitempty"` // until its end; none of what is open, and of what took no time
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"` // of State, in a sentence

	Request   *FlowRequest `json:"request,omitempty"`
	Event     *FlowEvent   `json:"event,omitempty"`
	Delivery  *Delivery    `json:"delivery,omitempty"` // without its History, whose attempts are nodes
	Attempt   *Attempt     `json:"attempt,omitempty"`
	Operation *Operation   `json:"operation,omitempty"` // without its Result
	Time      *FlowTime    `json:"time,omitempty"`      // of a delivery or a call with attempts
}

// FlowRequest is a request through the public listener. Of one that is known only by the event that it became, there are Route and
// Principal alone.
type FlowRequest struct {
	Method    string `json:"method,omitempty"`
	Path      string `json:"path,omitempty"`
	Route     string `json:"route"` // its match; empty: none
	Service   string `json:"service,omitempty"`
	Principal string `json:"principal,omitempty"`
	Status    int    `json:"status,omitempty"` // of the answer; zero when the client left before there was one
	Trace     string `json:"trace,omitempty"`  // W3C trace id
	Operation string `json:"operation,omitempty"`
}

// FlowEvent is an event without its data. When it is not stored any more there are Topic, Position and the time of acceptance alone.
type FlowEvent struct {
	Position        Position `json:"position"`
	Ref             string   `json:"ref"` // see Ref
	ID              string   `json:"id,omitempty"`
	Source          string   `json:"source,omitempty"`
	Type            string   `json:"type,omitempty"`
	Key             string   `json:"key,omitempty"`
	DataContentType string   `json:"datacontenttype,omitempty"`
	DataBytes       int      `json:"dataBytes,omitempty"`
	Hops            int      `json:"hops,omitempty"`
	Producer        string   `json:"producer,omitempty"`
	Route           string   `json:"route,omitempty"`
	Operation       string   `json:"operation,omitempty"`
	TraceParent     string   `json:"traceparent,omitempty"`
}

// FlowTime is where the time of a delivery went, up to its outcome or else the end of its last attempt.
type FlowTime struct {
	Waiting Duration `json:"waiting"` // for Tandem, before the first attempt: behind other events, a limit, a pause
	Service Duration `json:"service"` // during attempts
	Backoff Duration `json:"backoff"` // between attempts, or as a dead letter
}

// FlowLink is an event of another flow that caused an event of this one, or was caused by it.
type FlowLink struct {
	Node     string   `json:"node"`              // of this flow
	Kind     string   `json:"kind"`              // cause or effect
	Ref      string   `json:"ref"`               // of the other event
	Flow     string   `json:"flow,omitempty"`    // its flow; empty: it is not known
	Position Position `json:"position,omitzero"` // none: it is not known
}

// Kinds of a FlowLink.
const (
	FlowCause  = "cause"
	FlowEffect = "effect"
)

// FlowQuery selects flows: exactly one of Event, Operation and Trace, or else what the rest says.
type FlowQuery struct {
	Event, Source string // of an event, which is known by both
	Operation     string
	Trace         string    // W3C trace id
	Key, Type     string    // of any event of the flow
	State         string    // of the flow
	Since, Until  time.Time // of the beginning of the flow
	After         string    // Next of the page before
	Limit         int       // zero means 100, at most 1,000
}

// FlowSummary is a flow in a list.
type FlowSummary struct {
	ID      string     `json:"id"`
	State   string     `json:"state"`
	Started time.Time  `json:"started,omitzero"`
	Ended   time.Time  `json:"ended,omitzero"`
	Events  int        `json:"events"`
	First   *FlowEvent `json:"first,omitempty"` // that which was asked for, else the first of the flow
}

// FlowPage is a page of flows, the newest first. It may hold fewer than Limit, or none, and still have a Next, since one call looks at a
// bounded number of flows.
type FlowPage struct {
	Flows []FlowSummary `json:"flows"`
	Next  string        `json:"next,omitempty"`
}

// FlowIndexStatus is how the index of flows stands.
type FlowIndexStatus struct {
	Kept   bool      `json:"kept"`           // false: there is none
	Behind uint64    `json:"behind"`         // stored events that are not in it yet; on some engines at most that
	Lag    Duration  `json:"lag"`            // how long ago it had all that was stored; zero while it has
	Lost   uint64    `json:"lost,omitempty"` // events that retention removed before they were in it, since the start
	Bytes  int64     `json:"bytes"`          // before compression
	Since  time.Time `json:"since,omitzero"` // nothing accepted since is missing
}
