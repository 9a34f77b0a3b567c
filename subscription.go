package tandem

// Subscription is the declaration of a durable, named reader. Everything but Name and Topics has a default.
//
// A reference is env:NAME or, in the configuration file only, file:PATH: it names a secret that is read when it is used and never
// stored or shown. Through the API only variables whose names begin with SecretPrefix can be named by Headers and Auth, since
// what they hold is sent.
type Subscription struct {
	Name   string   `json:"name,omitempty"`
	Topics []string `json:"topics"`          // names or patterns
	Filter Filter   `json:"filter,omitzero"` // zero matches everything

	// Where deliveries go: a service of the configuration and a path on it, a URL of its own, an exchange or a queue, or whoever pulls.
	Service string `json:"service,omitempty"`
	Path    string `json:"path,omitempty"`
	URL     string `json:"url,omitempty"`
	AMQP    *AMQP  `json:"amqp,omitempty"`
	Pull    *Pull  `json:"pull,omitempty"`

	// Secret is the reference of the key that signs deliveries by Standard Webhooks: whsec_ and base64 for HMAC-SHA256 (v1), whsk_
	// and base64 for ed25519 (v1a). Empty sends them unsigned. OldSecrets sign beside it until their day.
	Secret     string            `json:"secret,omitempty"`
	OldSecrets []OldSecret       `json:"oldSecrets,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"` // on every request: text, or a reference
	Auth       *TargetAuth       `json:"auth,omitempty"`
	// Handshake asks the endpoint before the first delivery whether it wants any (CloudEvents HTTP Webhook 1.0, section 4).
	Handshake bool   `json:"handshake,omitempty"`
	Content   string `json:"content,omitempty"`   // ContentStructured (default), ContentBinary (default of AMQP) or ContentBatch
	BatchSize int    `json:"batchSize,omitempty"` // events in a request at most, with ContentBatch, or published together, with AMQP; zero means DefaultBatchSize

	Mode    string `json:"mode,omitempty"`    // DeliverEvent (default), or DeliverRequest: called before an event is stored
	From    string `json:"from,omitempty"`    // where a new subscription starts: latest (default), earliest, a time
	Replies string `json:"replies,omitempty"` // topic of reply events; empty means the topic of the cause
	// Parallel, with DeliverRequest, calls it at the same time as its neighbours in declared order that are parallel, too.
	Parallel bool `json:"parallel,omitempty"`

	Ordering    string   `json:"ordering,omitempty"`    // OrderingKey (default) or OrderingNone
	Concurrency int      `json:"concurrency,omitempty"` // requests at the same time, or leases; zero means DefaultConcurrency or DefaultLeases
	Rate        float64  `json:"rate,omitempty"`        // events sent a second at most, with those sent again; zero means no limit
	Timeout     Duration `json:"timeout,omitempty"`     // of one attempt; zero means the service's, else 10s
	Attempts    int      `json:"attempts,omitempty"`    // counted attempts before a delivery is dead; zero means DefaultAttempts
	Backoff     Backoff  `json:"backoff,omitzero"`
	// RetryAfter is how far the Retry-After of an answer is obeyed; zero means 1h.
	RetryAfter Duration `json:"retryAfter,omitempty"`
	// Answers says what a status means where it is not to mean what it does by default: by status ("404"), or by class ("4xx"), one of
	// AnswerDelivered, AnswerRetry, AnswerDead and AnswerDisable.
	Answers map[string]string `json:"answers,omitempty"`
	Breaker Breaker           `json:"breaker,omitzero"`
	// Exhausted is what follows the last attempt: ExhaustedDead (default), or ExhaustedPause: the event is tried on, and when it is
	// older than PauseAfter the subscription is paused before it.
	Exhausted  string   `json:"exhausted,omitempty"`
	PauseAfter Duration `json:"pauseAfter,omitempty"` // age of an event; zero means DefaultPauseAfter

	// Replay marks a temporary subscription that a replay is. It cannot be declared.
	Replay *Replay `json:"replay,omitempty"`
}

// Pull lets clients lease events in place of sending them.
type Pull struct {
	Visibility Duration `json:"visibility,omitempty"` // how long a lease holds unless the client says otherwise; zero means DefaultVisibility
}

// AMQP is an exchange or a queue of RabbitMQ (AMQP 0-9-1). Only the configuration file can declare it.
type AMQP struct {
	// URL is a reference that names amqp://user:password@host:5672/vhost, or amqps; or such a URL without user and password.
	URL        string   `json:"url"`
	Exchange   string   `json:"exchange,omitempty"`
	RoutingKey string   `json:"routingKey,omitempty"` // with Exchange: a template such as "orders.{type}"; empty means "{type}"
	Queue      string   `json:"queue,omitempty"`      // in place of Exchange
	TLS        *TLSAuth `json:"tls,omitempty"`
}

// OldSecret is a key that is being replaced.
type OldSecret struct {
	Secret string `json:"secret"` // a reference, as Subscription.Secret
	Until  string `json:"until"`  // RFC 3339: from then on it does not sign
}

// TargetAuth is how deliveries authenticate beside their signature: at most one of Basic and OAuth2, and TLS beside either.
type TargetAuth struct {
	Basic  *BasicAuth  `json:"basic,omitempty"`
	OAuth2 *OAuth2Auth `json:"oauth2,omitempty"`
	TLS    *TLSAuth    `json:"tls,omitempty"`
}

// BasicAuth is RFC 7617.
type BasicAuth struct {
	User     string `json:"user"`
	Password string `json:"password"` // a reference
}

// OAuth2Auth gets tokens with the client's own credentials (RFC 6749, section 4.4).
type OAuth2Auth struct {
	TokenURL     string   `json:"tokenUrl"`
	ClientID     string   `json:"clientId"`
	ClientSecret string   `json:"clientSecret"` // a reference
	Scopes       []string `json:"scopes,omitempty"`
	Audience     string   `json:"audience,omitempty"`
}

// TLSAuth is the client's certificate, and who may have signed the server's. The references name PEM.
type TLSAuth struct {
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	CA   string `json:"ca,omitempty"` // empty means the system's
}

// Backoff is the wait between attempts: base times two to the number of failures, capped, with full jitter; or a list, whose last
// wait is that of all further ones, each with up to a tenth more.
type Backoff struct {
	Base Duration   `json:"base,omitempty"` // zero means 1s
	Max  Duration   `json:"max,omitempty"`  // zero means 10m
	List []Duration `json:"list,omitempty"` // excludes Base and Max
}

// Breaker takes consecutive failed attempts for a failure of the endpoint, of whatever key they are.
type Breaker struct {
	Failures int      `json:"failures,omitempty"` // in a row; zero leaves it to the rule of three keys
	Wait     Duration `json:"wait,omitempty"`     // until the first probe; zero means the backoff
}

// Replay is what makes a subscription the replay of another one.
type Replay struct {
	Of         string `json:"of"`
	To         string `json:"to,omitempty"`         // RFC 3339: events accepted from then on are not replayed; empty: those after the replay began
	EvenIfSeen bool   `json:"evenIfSeen,omitempty"` // with ids that a receiver has not seen

	Number int    `json:"number,omitempty"` // rises with each replay of the subscription
	Epoch  uint64 `json:"epoch,omitempty"`  // of the subscription when the replay began
	Began  string `json:"began,omitempty"`  // RFC 3339
}

// Values of fields of a Subscription.
const (
	DeliverEvent   = "event"
	DeliverRequest = "request"

	ContentStructured = "structured"
	ContentBinary     = "binary"
	ContentBatch      = "batch"

	OrderingKey  = "key"
	OrderingNone = "none"

	AnswerDelivered = "delivered"
	AnswerRetry     = "retry"
	AnswerDead      = "dead"
	AnswerDisable   = "disable"

	ExhaustedDead  = "dead"
	ExhaustedPause = "pause"
)

// SecretPrefix begins the names of the environment variables that a declaration through the API may send.
const SecretPrefix = "TANDEM_SECRET_"

// MaxBatchSize is the largest BatchSize, and how many leases one pull returns at most.
const MaxBatchSize = 1000

// SubscriptionStatus is what a subscription is doing.
type SubscriptionStatus struct {
	Name  string `json:"name"`
	State string `json:"state"` // running, paused, disabled, orphan, failing (its endpoint), capped, ended (a replay), damaged (its records)
	// Reason says why the state is not running.
	Reason string `json:"reason,omitempty"`

	Lag                  uint64  `json:"lag"`                            // stored events that no outcome was recorded for, before filtering
	LagSeconds           float64 `json:"lagSeconds"`                     // age of the oldest of them
	InFlight             int     `json:"inFlight"`                       // attempts under way, or leases held
	Retrying             int     `json:"retrying"`                       // deliveries that wait for their next attempt
	ParkedKeys           int     `json:"parkedKeys"`                     // keys held back by a failing event
	Waiting              int     `json:"waiting"`                        // events held back behind those
	Dead                 int     `json:"dead"`                           // dead letters, until redriven or discarded
	Redriving            int     `json:"redriving"`                      // of those, on their way again or waiting for their turn
	OldestUnacknowledged string  `json:"oldestUnacknowledged,omitempty"` // RFC 3339, when it was accepted
	Delivered            uint64  `json:"delivered"`                      // since the process started
	Failed               uint64  `json:"failed"`                         // failed attempts since the process started
	Expired              uint64  `json:"expired"`                        // events that retention overtook, as far as the ledger goes back
	Cursor               Cursor  `json:"cursor,omitempty"`
}

// DeadLetter is a copy of an event whose delivery ran out of attempts or was refused for good.
type DeadLetter struct {
	ID           string `json:"id"` // names it within the subscription
	Subscription string `json:"subscription"`
	Event        Record `json:"event"`
	Reason       string `json:"reason"` // exhausted, refused, loop; damaged: the copy cannot be read
	Detail       string `json:"detail"` // of the last attempt
	Status       int    `json:"status,omitempty"`
	Attempts     int    `json:"attempts"` // counted
	// History has the attempts, those that did not count among them: at most MaxAttemptsRecorded.
	History []Attempt `json:"history,omitempty"`
	At      string    `json:"at"` // RFC 3339
}
