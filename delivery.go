package tandem

import "time"

// States of a Delivery. The first five are outcomes.
const (
	DeliveryDelivered = "delivered"
	DeliveryDead      = "dead"
	DeliveryExpired   = "expired"
	DeliveryDiscarded = "discarded"
	DeliveryFailed    = "failed" // of a request chain that was not stored: nothing follows

	DeliveryUnread   = "unread"   // not read yet: the subscription is behind, paused or stopped
	DeliveryQueued   = "queued"   // read; waits for a slot, the rate or an earlier event of its key that is under way
	DeliverySending  = "sending"  // an attempt is under way, or a lease is held
	DeliveryRetrying = "retrying" // waits for its next attempt
	DeliveryWaiting  = "waiting"  // behind a failing event of its key
	DeliverySkipped  = "skipped"  // the filter or the topics of the declaration of its time do not match
	DeliveryPassed   = "passed"   // a seek went over it, or the subscription began after it
	DeliveryUnknown  = "unknown"  // the ledger does not go back that far
)

// Delivery is a row of the ledger: one event for one subscription.
type Delivery struct {
	Subscription string    `json:"subscription"`
	Epoch        uint64    `json:"epoch"`             // rises with each seek
	Position     Position  `json:"position,omitzero"` // none of a request whose chain failed, since its event is not stored
	Topic        string    `json:"topic,omitempty"`   // of a delivery without Position
	Flow         string    `json:"flow,omitempty"`
	ID           string    `json:"id,omitempty"` // of the event, as Source, Type and Key; empty when it is not stored any more
	Source       string    `json:"source,omitempty"`
	Type         string    `json:"type,omitempty"`
	Key          string    `json:"key,omitempty"`
	State        string    `json:"state"`
	Reason       string    `json:"reason,omitempty"`   // in a sentence, where State alone does not say it
	Attempts     int       `json:"attempts,omitempty"` // counted
	Probes       int       `json:"probes,omitempty"`   // attempts that did not count, since the endpoint failed
	History      []Attempt `json:"history,omitempty"`  // at most MaxAttemptsRecorded; of a delivery at the first attempt only when it ended
	NextAttempt  string    `json:"nextAttempt,omitempty"`
	Behind       *Position `json:"behind,omitempty"`     // the event that it waits for
	DeadLetter   string    `json:"deadLetter,omitempty"` // its id
	Version      int       `json:"version,omitempty"`    // of the declaration that judged it, from 1
	Accepted     string    `json:"accepted,omitempty"`   // RFC 3339
	Ended        string    `json:"ended,omitempty"`      // RFC 3339, when it got its outcome
	// To and Count make the row one for all events from Position up to offset To: they expired, or a seek went over them, before they
	// were read. Count is before filtering.
	To    uint64 `json:"to,omitempty"`
	Count uint64 `json:"count,omitempty"`
}

// Attempt is one attempt of a delivery.
type Attempt struct {
	Number int       `json:"number"` // among the counted ones; zero for one that did not count
	At     time.Time `json:"at"`     // its start
	Wait   Duration  `json:"wait"`   // before it, since the event was stored or the attempt before ended
	Took   Duration  `json:"took"`
	Status int       `json:"status,omitempty"` // of the answer; zero when there was none
	Detail string    `json:"detail,omitempty"` // bounded and redacted
}

// DeliveryQuery selects rows of the ledger. Zero fields select everything.
type DeliveryQuery struct {
	ID, Source string // of the event
	Key        string
	Flow       string
	Position   *Position // that event alone, whatever its state
	State      string
	Since      time.Time // of the outcome, or of the last attempt of a delivery without one
	Until      time.Time
	After      string // Next of the page before
	Limit      int    // zero means 100, at most 1,000
}

// DeliveryPage is a page of the ledger. Next is empty at the end; a page may hold fewer rows than Limit, or none, and still
// have a Next, since one call looks at a bounded part of the ledger.
type DeliveryPage struct {
	Deliveries []Delivery `json:"deliveries"`
	Next       string     `json:"next,omitempty"`
}

// Lease is an event that a client of a pull subscription works on.
type Lease struct {
	Token       string `json:"lease"` // opaque
	Until       string `json:"until"` // RFC 3339: after it somebody else may get the event
	Attempt     int    `json:"attempt"`
	MaxAttempts int    `json:"maxAttempts"`
	ID          string `json:"deliveryId"` // as webhook-id: the same for every attempt
	Event       Record `json:"event"`
}

// PullRequest asks for leases.
type PullRequest struct {
	Max        int      `json:"max,omitempty"`        // zero means 1, at most MaxBatchSize
	Wait       Duration `json:"wait,omitempty"`       // until there is at least one, at most MaxPullWait; zero answers at once
	Visibility Duration `json:"visibility,omitempty"` // zero means the subscription's, at most MaxVisibility
}

// Outcomes of a LeaseResult.
const (
	LeaseAcknowledged = "acknowledged"
	LeaseReleased     = "released"
	LeaseExtended     = "extended"
	LeaseLost         = "lost"    // it ended, and the event went to somebody else, was sought over or has its outcome
	LeaseInvalid      = "invalid" // not a token of this subscription
)

// LeaseResult is what became of one lease that was acknowledged, released or extended.
type LeaseResult struct {
	Token   string `json:"lease"`
	Outcome string `json:"outcome"`
	Until   string `json:"until,omitempty"` // RFC 3339, of an extended one
}

// DeadLetterSelection says which dead letters are meant: those of IDs, or all that match the rest.
type DeadLetterSelection struct {
	IDs    []string  `json:"ids,omitempty"`
	Filter Filter    `json:"filter,omitzero"`
	Reason string    `json:"reason,omitempty"` // exhausted, refused, loop
	Since  time.Time `json:"since,omitzero"`   // when they died
	Until  time.Time `json:"until,omitzero"`
	Rate   float64   `json:"rate,omitempty"`   // of a redrive: events a second at most; zero means no limit
	DryRun bool      `json:"dryRun,omitempty"` // counts, and does nothing
}

// DeadLetterCount is how many dead letters a selection met.
type DeadLetterCount struct {
	Count  int  `json:"count"`
	DryRun bool `json:"dryRun,omitempty"`
}

// SeekPlan is what a seek does, or would do.
type SeekPlan struct {
	DryRun bool   `json:"dryRun,omitempty"`
	Again  uint64 `json:"again"`  // stored events before the present place that are read again, before filtering
	Over   uint64 `json:"over"`   // stored events without outcome that are gone over, before filtering
	Parked int    `json:"parked"` // of those, parked or waiting behind a parked one
}

// ReplayRequest begins a replay.
type ReplayRequest struct {
	From       Start   // a zero Start is refused
	To         string  // as Replay.To
	Filter     Filter  // beside the subscription's own
	EvenIfSeen bool    // as Replay.EvenIfSeen
	Rate       float64 // as Subscription.Rate
}

// TestExchange is what a test of a target sent and got. Values of headers that could be secrets are masked.
type TestExchange struct {
	Sent     TestMessage  `json:"sent"`
	Received *TestMessage `json:"received,omitempty"`
	Outcome  string       `json:"outcome"` // what the answer would mean for a delivery: delivered, retry, dead, disable
	Detail   string       `json:"detail,omitempty"`
	Took     Duration     `json:"took"`
}

// TestMessage is one side of a TestExchange.
type TestMessage struct {
	Method  string            `json:"method,omitempty"`
	URL     string            `json:"url,omitempty"`
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"` // at most 64 KiB
}
