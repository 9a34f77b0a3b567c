package tandem

// Subscription is the declaration of a durable, named reader.
type Subscription struct {
	Name   string   `json:"name,omitempty"`
	Topics []string `json:"topics"`          // names or patterns
	Filter Filter   `json:"filter,omitzero"` // zero matches everything

	// Where deliveries go: a service of the configuration and a path on it, or a URL of its own.
	Service string `json:"service,omitempty"`
	Path    string `json:"path,omitempty"`
	URL     string `json:"url,omitempty"`
	// Secret signs deliveries by Standard Webhooks: "env:NAME" or, in the configuration file only, "file:PATH", whose value
	// is whsec_ and base64. Empty sends them unsigned.
	Secret string `json:"secret,omitempty"`

	Mode     string   `json:"mode,omitempty"`     // "event" (default); "request" is not supported yet
	From     string   `json:"from,omitempty"`     // where a new subscription starts: latest (default), earliest, a time
	Replies  string   `json:"replies,omitempty"`  // topic of reply events; empty means the topic of the cause
	Attempts int      `json:"attempts,omitempty"` // counted attempts before a delivery is dead; zero means DefaultAttempts
	Timeout  Duration `json:"timeout,omitempty"`  // of one attempt; zero means the service's, else 10s
	Backoff  Backoff  `json:"backoff,omitzero"`

	Concurrency int `json:"concurrency,omitempty"` // deliveries at the same time, each of another key; zero means DefaultConcurrency
}

// Backoff is the wait between attempts: base times two to the number of failures, capped, with full jitter.
type Backoff struct {
	Base Duration `json:"base,omitempty"` // zero means 1s
	Max  Duration `json:"max,omitempty"`  // zero means 10m
}

// Defaults of a Subscription.
const (
	DefaultAttempts    = 12
	DefaultConcurrency = 32
)

// SubscriptionStatus is what a subscription is doing.
type SubscriptionStatus struct {
	Name  string `json:"name"`
	State string `json:"state"` // running, paused, disabled, orphan, failing (its endpoint), capped
	// Reason says why the state is not running.
	Reason string `json:"reason,omitempty"`

	Lag                  uint64  `json:"lag"`                            // stored events that no outcome was recorded for, before filtering
	LagSeconds           float64 `json:"lagSeconds"`                     // age of the oldest of them
	InFlight             int     `json:"inFlight"`                       // attempts under way
	Retrying             int     `json:"retrying"`                       // deliveries that wait for their next attempt
	ParkedKeys           int     `json:"parkedKeys"`                     // keys held back by a failing event
	Waiting              int     `json:"waiting"`                        // events held back behind those
	Dead                 int     `json:"dead"`                           // dead letters, until redriven or discarded
	OldestUnacknowledged string  `json:"oldestUnacknowledged,omitempty"` // RFC 3339, when it was accepted
	Delivered            uint64  `json:"delivered"`                      // since the process started
	Failed               uint64  `json:"failed"`                         // failed attempts since the process started
	Cursor               Cursor  `json:"cursor,omitempty"`
}

// DeadLetter is a copy of an event whose delivery ran out of attempts or was refused for good.
type DeadLetter struct {
	ID           string `json:"id"` // names it within the subscription
	Subscription string `json:"subscription"`
	Event        Record `json:"event"`
	Reason       string `json:"reason"` // exhausted, refused, loop
	Detail       string `json:"detail"` // of the last attempt
	Status       int    `json:"status,omitempty"`
	Attempts     int    `json:"attempts"`
	At           string `json:"at"` // RFC 3339
}
