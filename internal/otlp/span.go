package otlp

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Kind is the role of a span.
type Kind int

// Kinds of OTLP.
const (
	Server   Kind = 2
	Producer Kind = 4
	Consumer Kind = 5
)

// Span is one piece of a trace that is over.
type Span struct {
	Trace, ID  string // hexadecimal, 32 and 16 digits
	Parent     string // id of a span, or empty
	Name       string
	Kind       Kind
	Began      time.Time
	Ended      time.Time
	Failed     string // why; empty: it did not fail
	Links      []Link
	Attributes []Attribute
}

// Link names a span that is related and no parent.
type Link struct {
	Trace string `json:"traceId"`
	ID    string `json:"spanId"`
}

// Attribute is one attribute of a span.
type Attribute struct {
	key  string
	text string
	num  int64
	is   bool // a number
}

// Text is an attribute that is text. An empty one is left out.
func Text(key, value string) Attribute { return Attribute{key: key, text: value} }

// Number is an attribute that is a number.
func Number(key string, n int64) Attribute { return Attribute{key: key, num: n, is: true} }

const maxText = 500 // bytes

// own makes copies of the texts of a span, and bounds them: each may be a part of all that a client sent, which would be kept whole.
func (s *Span) own() {
	for _, text := range [...]*string{&s.Trace, &s.ID, &s.Parent, &s.Name} {
		*text = bounded(*text)
	}
	for i := range s.Attributes {
		a := &s.Attributes[i]
		a.text = bounded(a.text)
	}
}

func bounded(s string) string { return strings.Clone(s[:min(len(s), maxText)]) }

// What follows is ExportTraceServiceRequest of opentelemetry/proto/collector/trace/v1 in JSON, as far as it is used.
type (
	request struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   resource     `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resource struct {
		Attributes []keyValue `json:"attributes"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	span struct {
		TraceID           string     `json:"traceId"`
		SpanID            string     `json:"spanId"`
		ParentSpanID      string     `json:"parentSpanId,omitempty"`
		Name              string     `json:"name"`
		Kind              Kind       `json:"kind"`
		StartTimeUnixNano string     `json:"startTimeUnixNano"`
		EndTimeUnixNano   string     `json:"endTimeUnixNano"`
		Attributes        []keyValue `json:"attributes,omitempty"`
		Links             []Link     `json:"links,omitempty"`
		Status            status     `json:"status"`
	}
	status struct {
		Code    int    `json:"code,omitempty"` // 2: it failed
		Message string `json:"message,omitempty"`
	}
	keyValue struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"` // 64 bits are text in the JSON of Protobuf
	}
)

func nano(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func keyValues(attributes []Attribute) (all []keyValue) {
	for _, a := range attributes {
		switch text := a.text; {
		case a.is:
			text = strconv.FormatInt(a.num, 10)
			all = append(all, keyValue{a.key, value{Int: &text}})
		case text != "":
			all = append(all, keyValue{a.key, value{String: &text}})
		}
	}
	return all
}

func (e *Exporter) encode(batch []Span) []byte {
	spans := make([]span, len(batch))
	for i := range batch {
		s := &batch[i]
		spans[i] = span{TraceID: s.Trace, SpanID: s.ID, ParentSpanID: s.Parent, Name: s.Name, Kind: s.Kind,
			StartTimeUnixNano: nano(s.Began), EndTimeUnixNano: nano(s.Ended), Attributes: keyValues(s.Attributes), Links: s.Links}
		if s.Failed != "" {
			spans[i].Status = status{2, s.Failed}
		}
	}
	body, err := json.Marshal(request{[]resourceSpans{{
		Resource:   resource{keyValues([]Attribute{Text("service.name", e.opts.Service), Text("service.version", e.opts.Version)})},
		ScopeSpans: []scopeSpans{{scope{"github.com/tandem-hybrid/tandem", e.opts.Version}, spans}},
	}}})
	if err != nil {
		panic(err) // there is nothing in it that JSON has not
	}
	return body
}
