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
	HeaderSubscription  = "Tandem-Subscription"
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
)

// Media types.
const (
	MediaEvent   = "application/cloudevents+json"
	MediaBatch   = "application/cloudevents-batch+json"
	MediaNDJSON  = "application/x-ndjson"
	MediaProblem = "application/problem+json"
	MediaSSE     = "text/event-stream"
)

// MaxHops is how many replies may lie between the first cause and an event. Beyond it a delivery is dead, reason "loop".
const MaxHops = 32

// DefaultMaxEventBytes is the largest event accepted by default, payload and attributes together.
const DefaultMaxEventBytes = 1 << 20
