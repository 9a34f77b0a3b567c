package outbox

import (
	"net/http"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// Origin is what an event takes over from the request that set it off: its flow, what caused it, the operation that it
// belongs to and the trace.
type Origin struct {
	Flow        string
	Causes      []string
	Operation   string
	TraceParent string
	TraceState  string
}

// FromRequest reads the origin from the headers that Tandem sets on requests and deliveries: Tandem-Flow, Tandem-Cause,
// Tandem-Operation and the W3C trace context. A service that is reached past Tandem must not trust them: whoever can
// reach it can set them. A request without them has the zero Origin, which stamps nothing. A trace context that is not
// valid is left out.
func FromRequest(r *http.Request) Origin {
	o := Origin{
		Flow:      r.Header.Get(tandem.HeaderFlow),
		Causes:    strings.Fields(r.Header.Get(tandem.HeaderCause)),
		Operation: r.Header.Get(tandem.HeaderOperation),
	}
	o.TraceParent, o.TraceState = tracecontext.FromHeader(r.Header)
	return o
}

// Stamp returns e with the parts of the origin that e does not have.
func (o Origin) Stamp(e tandem.Event) tandem.Event {
	m := &e.Meta
	if m.Flow == "" {
		m.Flow = o.Flow
	}
	if len(m.Causes) == 0 {
		m.Causes = o.Causes
	}
	if m.Operation == "" {
		m.Operation = o.Operation
	}
	if m.TraceParent == "" {
		m.TraceParent, m.TraceState = o.TraceParent, o.TraceState
	}
	return e
}
