package tandem

// Request and response headers of Tandem's own. They are honoured on the API listener and in services' answers, and
// removed from requests on the public listener.
const (
	HeaderFlow          = "Tandem-Flow"
	HeaderCause         = "Tandem-Cause"
	HeaderOperation     = "Tandem-Operation"
	HeaderAttempt       = "Tandem-Attempt"
	HeaderMaxAttempts   = "Tandem-Max-Attempts"
	HeaderPosition      = "Tandem-Position"
	HeaderCursor        = "Tandem-Cursor"
	HeaderID            = "Tandem-Id"
	HeaderDuplicate     = "Tandem-Duplicate"
	HeaderSubscription  = "Tandem-Subscription"
	HeaderTest          = "Tandem-Test"
	HeaderReplay        = "Tandem-Replay"
	HeaderPrincipal     = "Tandem-Principal"
	HeaderRequestMethod = "Tandem-Request-Method"
	HeaderRequestPath   = "Tandem-Request-Path"
	HeaderPrefix        = "Tandem-"
)

// CloudEvents extension attributes that Meta holds.
const (
	AttrFlow        = "tandemflow"
	AttrCause       = "tandemcause"
	AttrOperation   = "tandemoperation"
	AttrHops        = "tandemhops"
	AttrTraceParent = "traceparent"
	AttrTraceState  = "tracestate"
	// AttrReplyID keeps the id that a handler gave its reply; the stored id is derived.
	AttrReplyID = "replyid"
	// AttrLinks says, separated by spaces, which request links took an event before it was stored: NAME=SUM each. Whoever publishes
	// cannot set it: it is left out of what comes.
	AttrLinks = "tandemlinks"
	// AttrDelivery, AttrAttempt and AttrPosition tell of each event in a batch what the headers webhook-id, Tandem-Attempt and
	// Tandem-Position tell of an event that is sent alone.
	AttrDelivery = "tandemdelivery"
	AttrAttempt  = "tandemattempt"
	AttrPosition = "tandemposition"
)

// Media types.
const (
	MediaEvent   = "application/cloudevents+json"
	MediaBatch   = "application/cloudevents-batch+json"
	MediaNDJSON  = "application/x-ndjson"
	MediaProblem = "application/problem+json"
	MediaResults = "application/vnd.tandem.results+json" // what became of each event of a batch
	MediaSSE     = "text/event-stream"
)

// MaxHops is how many replies may lie between the first cause and an event. Beyond it a delivery is dead, reason "loop".
const MaxHops = 32

// DefaultMaxEventBytes is the largest event accepted by default, payload and attributes together.
const DefaultMaxEventBytes = 1 << 20
