package tandem

import "time"

// Codes of a Reason.
const (
	WhyDelivered = "delivered"

	WhyNoTopic        = "no-topic"        // there is none of that name, or it was deleted
	WhyNoEvent        = "no-event"        // there is none, as far as was looked
	WhyNoSubscription = "no-subscription" // there is none of that name, or none that selects the topic
	WhyCallFailed     = "call-failed"     // a call of its request chain failed, so that it was not stored
	WhyDuplicate      = "duplicate"       // its id and source were used before: it is given to nobody

	WhyTopics    = "topics"      // the declaration in force then does not select the topic
	WhyFilter    = "filter"      // the filter of that declaration does not match
	WhyBefore    = "before"      // the subscription began after it
	WhySeek      = "seek"        // a seek went over it
	WhyReplayEnd = "replay-ends" // the replay ends before it

	WhyPaused   = "paused"
	WhyOrphan   = "orphan"      // the configuration file does not name the subscription any more
	WhyDisabled = "disabled"    // the endpoint's answer disabled the subscription, or another process took it over
	WhyDamaged  = "damaged"     // a record of the subscription cannot be read
	WhyCapped   = "capped"      // nothing more is read, since a limit is reached
	WhyStore    = "store-fails" // outcomes cannot be stored
	WhyEndpoint = "endpoint"    // the endpoint fails

	WhyUnread    = "unread"    // events before it are being read
	WhyQueued    = "queued"    // it waits for a slot, for the rate or, where clients pull, for one of them
	WhyBehind    = "behind"    // an event of its key that comes before it has no outcome
	WhySending   = "sending"   // an attempt is under way
	WhyLeased    = "leased"    // a client holds a lease
	WhyRetrying  = "retrying"  // it waits for its next attempt
	WhyRedriving = "redriving" // it was a dead letter, and is on its way again

	WhyDead      = "dead"
	WhyDiscarded = "discarded"
	WhyExpired   = "expired" // retention removed it
	WhyUnknown   = "unknown" // the ledger does not go back that far
)

// ExplainQuery names an event, by Event and Source or else by Position.
type ExplainQuery struct {
	Event, Source string
	Position      *Position
	Subscription  string // empty: every one that selects the topic of the event, or once did
}

// Explanation says why an event arrived or did not.
type Explanation struct {
	Events   []FlowEvent `json:"events"`             // that were found: an id may be in several topics
	Reasons  []Reason    `json:"reasons"`            // by event, then by the name of the subscription; at least one
	Searched *Searched   `json:"searched,omitempty"` // what was looked through in vain
}

// Searched is where an event was looked for by its id and source.
type Searched struct {
	Topics int       `json:"topics"`
	Since  time.Time `json:"since"`  // how far the index of flows goes back
	Behind uint64    `json:"behind"` // stored events that are not in it yet
}

// Reason is why one subscription got one event or did not, in a sentence and by the facts behind it. Those that a code has no use for are absent.
type Reason struct {
	Code         string   `json:"code"`
	Sentence     string   `json:"sentence"`
	Subscription string   `json:"subscription,omitempty"`
	Position     Position `json:"position,omitzero"`

	// Since is when it came to be so: the outcome; the pause, the failure of the endpoint, the lease; the seek; the declaration of Delivery.Version,
	// or of the subscription. Zero where that is not known.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // end of the lease
	By    string    `json:"by,omitempty"`   // who paused it, or holds the lease: the name of a token
	// NextAttempt is that of the event, or of the probe that finds out whether the endpoint is back.
	NextAttempt time.Time `json:"nextAttempt,omitzero"`

	Clause *FilterClause `json:"clause,omitempty"` // the part of the filter that is false
	Topics []string      `json:"topics,omitempty"` // that the declaration selects
	Behind *FlowEvent    `json:"behind,omitempty"` // the event of the same key that it waits for
	Unread uint64        `json:"unread,omitempty"` // stored events of its partition before it that are not read yet
	First  *Position     `json:"first,omitempty"`  // what a duplicate repeats
	// Conflict: the duplicate has other data than First.
	Conflict bool `json:"conflict,omitempty"`
	// Detail is what is known beside: why the subscription stands still, how the endpoint fails, what became of the call.
	Detail string `json:"detail,omitempty"`

	Delivery *Delivery  `json:"delivery,omitempty"` // as the ledger has it, with its attempts
	Earlier  []Delivery `json:"earlier,omitempty"`  // the outcomes that it got before a seek, newest first
}
