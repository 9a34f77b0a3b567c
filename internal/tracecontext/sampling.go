package tracecontext

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// Sampling says how traces begin, and whether what Tandem does are spans of its own, which are exported. The zero value exports none: a trace
// that comes in is passed on as it is, and one that begins is marked sampled.
type Sampling struct {
	Exports bool
	Share   float64 // of the traces that begin here, those that are sampled; the others are if their parents are
}

// Begin is the function Begin, but that a trace that is not of the share is marked so. Which are depends on nothing but the trace id.
func (s Sampling) Begin(flow string) string {
	parent := Begin(flow)
	if !s.Exports {
		return parent
	}
	// The last 7 bytes, which are random in a UUIDv7, too (W3C Trace Context level 2, section 3.2.2.5.2). The eighth is not.
	if n, _ := strconv.ParseUint(parent[21:35], 16, 64); float64(n) >= s.Share*(1<<56) {
		return parent[:53] + "00"
	}
	return parent
}

// Enter returns the context within a span.
func (s Sampling) Enter(parent, span string) string {
	if !s.Exports || !Sampled(parent) {
		return parent
	}
	return "00-" + parent[3:35] + "-" + span + "-" + parent[53:parentLen]
}

// EnterRequest returns the context within the request that began a flow.
func (s Sampling) EnterRequest(parent, flow string) string {
	if !s.Exports {
		return parent
	}
	return s.Enter(parent, Span(Begin(flow)))
}

// Ensure gives an event that has no valid trace one that begins with it: in the span of the event, where that is exported.
func (s Sampling) Ensure(topic string, ev *tandem.Event) {
	m := &ev.Meta
	if Adopt(m, "", ""); m.TraceParent != "" {
		return
	}
	flow := m.Flow
	if flow == "" {
		flow = tandem.NewID()
	}
	if m.TraceParent = s.Begin(flow); s.Exports {
		m.TraceParent = s.Enter(m.TraceParent, EventSpan(topic, ev.Source, ev.ID))
	}
}

// Sampled reports whether a trace is to be recorded. One that is not valid is not.
func Sampled(parent string) bool {
	return valid(parent) && strings.Contains("13579bdf", parent[54:55])
}

// Span returns the span id of a valid traceparent.
func Span(parent string) string { return parent[36:52] }

// EventSpan returns the id of the span in which an event was stored. It depends on nothing else, so that a delivery need not be told.
func EventSpan(topic, source, id string) string {
	sum := tandem.Fingerprint("span", topic, source, id)
	return spanID(sum[:8])
}

// NewSpan returns a new id of a span.
func NewSpan() string {
	var b [8]byte
	rand.Read(b[:])
	return spanID(b[:])
}

// spanID keeps clear of zeros, which are no id.
func spanID(b []byte) string {
	b[0] |= 1
	return hex.EncodeToString(b)
}
