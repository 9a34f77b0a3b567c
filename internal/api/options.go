package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// options is what a publish says beside its body.
type options struct {
	topic    string
	accepted bool   // ack=accepted
	minimal  bool   // Prefer: return=minimal
	key      string // orders every event of the request
	idem     string // Idempotency-Key

	plain   tandem.Event // what plain JSON becomes the data of
	missing *tandem.Error

	flow        string // of the request; NDJSON gives each line its own unless the client named one
	clientFlow  bool
	causes      []string
	operation   string
	traceParent string
	traceState  string
	producer    string
}

// publishRoute is Meta.Route of what is published here.
const publishRoute = "/v1/topics/{topic}/events"

func (a *API) parseOptions(c *call, mode tandem.Mode, o *options) error {
	o.topic, o.producer = c.arg, c.who.Name
	bad := faults{text: "the request to publish is invalid"}
	o.headers(c.r.Header, &bad)
	c.flow = o.flow
	plain := mode == tandem.ModePlain || mode == tandem.ModeNDJSON
	if plain {
		o.plain.Time = c.begin.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if c.r.URL.RawQuery != "" {
		values, err := url.ParseQuery(c.r.URL.RawQuery)
		if err != nil {
			return tandem.Errorf(tandem.CodeInvalid, "the query cannot be read: %w", err)
		}
		o.query(values, plain, &bad)
	}
	if bad.err != nil {
		slices.SortFunc(bad.err.Fields, func(a, b tandem.FieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
		return bad.err
	}
	if plain {
		a.defaults(o)
	}
	return nil
}

// defaults completes what plain JSON becomes by the topic's declaration, and notes what is still missing.
func (a *API) defaults(o *options) {
	if o.plain.Type == "" || o.plain.Source == "" {
		t := a.declared.get(o.topic)
		if o.plain.Type == "" {
			o.plain.Type = t.Type
		}
		if o.plain.Source == "" {
			o.plain.Source = t.Source
		}
	}
	if o.plain.Type != "" && o.plain.Source != "" {
		return
	}
	o.missing = tandem.Errorf(tandem.CodeInvalid, "plain JSON needs a type and a source")
	if o.plain.Type == "" {
		o.missing.WithField("type", "is required: the topic %s declares none", o.topic)
	}
	if o.plain.Source == "" {
		o.missing.WithField("source", "is required: the topic %s declares none", o.topic)
	}
	_ = o.missing.WithHint("add ?type=…&source=… to the address, declare them on the topic, or send the event as %s", tandem.MediaEvent)
}

func (o *options) query(values url.Values, plain bool, bad *faults) {
	for name, list := range values {
		value := list[0]
		switch {
		case len(list) > 1:
			bad.add(name, "must be there once")
		case name == "ack":
			if o.accepted = value == "accepted"; value != "accepted" && value != "stored" {
				bad.add("ack", "must be stored (the default) or accepted")
			}
		case name == "key":
			if o.key = value; value == "" {
				bad.add("key", "must not be empty: leave it out")
			}
		case !plain && tandem.ValidAttributeName(name):
			bad.add(name, "is for plain JSON: this event says it itself")
		default:
			o.attribute(name, value, bad)
		}
	}
	// In the order of their names, so that a repeat is the same event.
	slices.SortFunc(o.plain.Extensions, func(a, b tandem.Extension) int { return strings.Compare(a.Name, b.Name) })
}

// attribute takes an attribute of plain JSON from the query.
func (o *options) attribute(name, value string, bad *faults) {
	e := &o.plain
	var field *string
	switch name {
	case "id":
		field = &e.ID
	case "source":
		field = &e.Source
	case "type":
		field = &e.Type
	case "subject":
		field = &e.Subject
	case "time":
		field = &e.Time
	case "dataschema":
		field = &e.DataSchema
	case "datacontenttype":
		bad.add(name, "is what Content-Type says")
		return
	case "specversion", "data_base64":
		bad.add(name, "cannot be given here")
		return
	case tandem.AttrFlow, tandem.AttrCause, tandem.AttrOperation, tandem.AttrHops, tandem.AttrTraceParent, tandem.AttrTraceState:
		bad.add(name, "is given by its header")
		return
	}
	switch {
	case field == nil && !tandem.ValidAttributeName(name):
		bad.add(shorten(name), "is neither a parameter nor the name of an attribute")
	case field == nil:
		e.Extensions = append(e.Extensions, tandem.Extension{Name: name, Value: value})
	case value == "":
		bad.add(name, "must not be empty: leave it out")
	default:
		*field = value
	}
}

func (o *options) headers(h http.Header, bad *faults) {
	o.minimal = len(h["Prefer"]) > 0 && httpx.ParsePrefer(h).Return == "minimal"
	if v := h["Idempotency-Key"]; len(v) > 0 {
		// A string of structured fields by the draft; many clients send it without the quotes.
		o.idem = strings.TrimSuffix(strings.TrimPrefix(v[0], `"`), `"`)
		if len(v) > 1 || o.idem == "" || len(o.idem) > 255 {
			bad.add("Idempotency-Key", "must be there once, in 1 to 255 characters")
		}
	}
	if o.flow = word(h, tandem.HeaderFlow, 200, bad); o.flow == "" {
		o.flow = tandem.NewID()
	} else {
		o.clientFlow = true
	}
	o.operation = word(h, tandem.HeaderOperation, 200, bad)
	if v := h[tandem.HeaderCause]; len(v) > 0 {
		if o.causes = strings.Fields(v[0]); len(v) > 1 || len(v[0]) > tandem.MaxAttributeBytes {
			bad.add(tandem.HeaderCause, "must be there once, in at most %d bytes", tandem.MaxAttributeBytes)
		}
	}
	o.traceParent, o.traceState = tracecontext.FromHeader(h)
}

// word reads a header of Tandem's own.
func word(h http.Header, name string, max int, bad *faults) string {
	v := h[name]
	if len(v) == 0 || v[0] == "" {
		return ""
	}
	if len(v) > 1 || len(v[0]) > max || strings.ContainsFunc(v[0], func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		bad.add(name, "must be there once, in at most %d printable ASCII characters without spaces", max)
		return ""
	}
	return v[0]
}

// plainEvent makes an event of plain JSON.
func (p *publishing) plainEvent(contentType string, body []byte) (tandem.Event, error) {
	empty := len(body) == 0 && contentType == "" // an event without data
	if !empty && !tandem.JSONValid(body) {
		return tandem.Event{}, malformed(body)
	}
	if p.missing != nil {
		if tandem.IsEventJSON(body) {
			_ = p.missing.WithHint("the body is a CloudEvent: send it with Content-Type: %s", tandem.MediaEvent)
		}
		return tandem.Event{}, p.missing
	}
	e := p.plain
	if empty {
		return e, nil
	}
	e.DataContentType, e.Data, e.Encoding = contentType, body, tandem.DataJSON
	return e, nil
}

// stamp completes the i-th event of the request. What the event says itself stands.
func (o *options) stamp(e *tandem.Event, i int, flow string) {
	m := &e.Meta
	if m.Flow == "" {
		m.Flow = flow
	}
	if len(m.Causes) == 0 {
		m.Causes = o.causes
	}
	if m.Operation == "" {
		m.Operation = o.operation
	}
	tracecontext.Adopt(m, o.traceParent, o.traceState)
	m.Key, m.Producer, m.Route = o.key, o.producer, publishRoute
	if o.idem != "" && e.ID == "" {
		e.ID = tandem.DerivedID("idempotency-key", o.producer, o.topic, o.idem, strconv.Itoa(i))
	}
}

// events0Flow is the flow to name in the answer: that of the first event, which may have named one itself.
func (p *publishing) events0Flow() string {
	if len(p.events) > 0 {
		return p.events[0].Meta.Flow
	}
	return p.flow
}

// faults gathers what is wrong with a request. It allocates nothing for one that is right.
type faults struct {
	text string // of the error
	err  *tandem.Error
}

func (f *faults) add(pointer, format string, args ...any) {
	if f.err == nil {
		f.err = tandem.Errorf(tandem.CodeInvalid, "%s", f.text)
	}
	f.err.WithField(pointer, format, args...)
}
