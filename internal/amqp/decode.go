package amqp

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// Defaults complete a message that is no CloudEvent. Without Type such messages are refused.
type Defaults struct{ Type, Source string }

// Decode returns the event of a message: structured by its content type, binary by its headers, else its body as data, with the defaults
// and the message id as id, which is empty when there is none. It shares the body. The event has passed tandem.CheckEvent, but for an id
// that is not there. Its trace is its own, or else that of the headers traceparent and tracestate. Code: Invalid, MediaType (a format of CloudEvents other than JSON, or a body that is compressed); Fields name the header
// ("cloudEvents:type"), the property ("message_id") or "/data".
func Decode(m *amqp091.Delivery, d Defaults) (tandem.Event, error) {
	e, err := decode(m, d)
	if err != nil {
		return tandem.Event{}, err
	}
	// Senders with OpenTelemetry put the trace into headers without a prefix.
	parent, _, _ := headerText(m.Headers[tandem.AttrTraceParent])
	state, _, _ := headerText(m.Headers[tandem.AttrTraceState])
	tracecontext.Adopt(&e.Meta, parent, state)
	return e, nil
}

func decode(m *amqp091.Delivery, d Defaults) (tandem.Event, error) {
	if m.ContentEncoding != "" && !isCharset(m.ContentEncoding) {
		return tandem.Event{}, tandem.Errorf(tandem.CodeMediaType, "the content encoding %q is not supported", cut(m.ContentEncoding))
	}
	media, _, _ := strings.Cut(m.ContentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case media == tandem.MediaEvent:
		return tandem.ParseEventJSON(m.Body)
	case strings.HasPrefix(media, "application/cloudevents"):
		return tandem.Event{}, tandem.Errorf(tandem.CodeMediaType, "the format %q of CloudEvents is not supported", cut(media)).
			WithHint("send %s", tandem.MediaEvent)
	}
	if p := binaryPrefix(m.Headers); p != "" {
		return decodeBinary(m, p)
	}
	return decodePlain(m, d)
}

// isCharset reports whether a content encoding is one that some senders put there without encoding anything.
func isCharset(s string) bool {
	switch strings.ToLower(s) {
	case "utf-8", "utf8", "identity", "us-ascii", "binary":
		return true
	}
	return false
}

// binaryPrefix returns the prefix of the attributes in headers, "" when there are none.
func binaryPrefix(h amqp091.Table) string {
	for _, p := range prefixes {
		for _, name := range [...]string{"specversion", "id", "source", "type"} {
			if _, ok := h[p+name]; ok {
				return p
			}
		}
	}
	return ""
}

func decodePlain(m *amqp091.Delivery, d Defaults) (tandem.Event, error) {
	if d.Type == "" {
		return tandem.Event{}, tandem.Errorf(tandem.CodeInvalid, "the message is no CloudEvent, and the source declares no type for such")
	}
	e := tandem.Event{ID: m.MessageId, Source: d.Source, Type: d.Type, DataContentType: m.ContentType, Data: body(m)}
	if !m.Timestamp.IsZero() {
		e.Time = m.Timestamp.UTC().Format(time.RFC3339)
	}
	if e.DataContentType == "" && e.Data != nil {
		e.DataContentType = "application/octet-stream" // nobody has said that it is JSON
	}
	return e, check(&e, "")
}

func body(m *amqp091.Delivery) []byte {
	if len(m.Body) == 0 {
		return nil
	}
	return m.Body
}

func decodeBinary(m *amqp091.Delivery, prefix string) (tandem.Event, error) {
	e := tandem.Event{DataContentType: m.ContentType, Data: body(m)}
	bad := tandem.Errorf(tandem.CodeInvalid, "not a valid CloudEvent in binary mode")
	version := ""
	for _, header := range slices.Sorted(maps.Keys(m.Headers)) { // so that faults and extensions have an order
		name, ok := strings.CutPrefix(header, prefix)
		if !ok {
			continue
		}
		value, kind, ok := headerText(m.Headers[header])
		switch {
		case !ok:
			bad.WithField(cut(header), "must be text, a number or a time")
		case name == "specversion":
			version = value
		case name == "datacontenttype" || name == "data" || name == "data_base64":
			bad.WithField(cut(header), "must not be there: content_type and the body take its place")
		case setAttribute(&e, name, value, bad, header):
		case len(e.Extensions) == tandem.MaxExtensions:
			bad.WithField(cut(header), "is one too many: an event has at most %d extension attributes", tandem.MaxExtensions)
			return tandem.Event{}, bad
		default:
			e.Extensions = append(e.Extensions, tandem.Extension{Name: name, Value: value, Kind: kind})
		}
	}
	if version != "1.0" {
		bad.WithField(prefix+"specversion", "must be 1.0")
	}
	if len(bad.Fields) > 0 {
		return tandem.Event{}, bad
	}
	if e.ID == "" {
		bad.WithField(prefix+"id", "is required")
		return tandem.Event{}, bad
	}
	return e, check(&e, prefix)
}

// setAttribute sets an attribute that has a field of its own, and reports whether name is that of one.
func setAttribute(e *tandem.Event, name, value string, bad *tandem.Error, header string) bool {
	var into *string
	switch name {
	case "id":
		into = &e.ID
	case "source":
		into = &e.Source
	case "type":
		into = &e.Type
	case "subject":
		into = &e.Subject
	case "time":
		into = &e.Time
	case "dataschema":
		into = &e.DataSchema
	case tandem.AttrFlow:
		into = &e.Meta.Flow
	case tandem.AttrOperation:
		into = &e.Meta.Operation
	case tandem.AttrTraceParent:
		into = &e.Meta.TraceParent
	case tandem.AttrTraceState:
		into = &e.Meta.TraceState
	}
	switch {
	case into != nil:
		*into = value
		if value == "" {
			bad.WithField(cut(header), "must not be empty")
		}
	case name == tandem.AttrCause:
		e.Meta.Causes = strings.Fields(value)
	case name == tandem.AttrHops:
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			bad.WithField(cut(header), "must be a number from 0 on")
		}
		e.Meta.Hops = n
	default:
		return false
	}
	return true
}

// headerText returns the text of a header in the canonical form of CloudEvents.
func headerText(v any) (text string, kind tandem.ExtensionKind, ok bool) {
	integer := func(n int64) (string, tandem.ExtensionKind, bool) {
		kind := tandem.ExtensionInteger
		if int64(int32(n)) != n {
			kind = tandem.ExtensionString // an Integer of CloudEvents has 32 bits
		}
		return strconv.FormatInt(n, 10), kind, true
	}
	switch v := v.(type) {
	case string:
		return v, tandem.ExtensionString, true
	case []byte:
		return string(v), tandem.ExtensionString, true
	case bool:
		return strconv.FormatBool(v), tandem.ExtensionBoolean, true
	case int8:
		return integer(int64(v))
	case byte:
		return integer(int64(v))
	case int16:
		return integer(int64(v))
	case uint16:
		return integer(int64(v))
	case int32:
		return integer(int64(v))
	case uint32:
		return integer(int64(v))
	case int64:
		return integer(v)
	case int:
		return integer(int64(v))
	case time.Time:
		return v.UTC().Format(time.RFC3339), tandem.ExtensionString, true
	}
	return "", 0, false
}

// check is tandem.CheckEvent with pointers into the message: headers with a prefix, or, without one, properties. A missing id is no fault.
func check(e *tandem.Event, prefix string) error {
	id := e.ID
	if id == "" {
		e.ID = "-"
	}
	err := tandem.CheckEvent(e)
	e.ID = id
	if err == nil {
		return nil
	}
	out := tandem.Errorf(tandem.CodeInvalid, "not a valid event")
	for _, f := range tandem.ProblemOf(err).Errors {
		name := strings.TrimPrefix(f.Pointer, "/")
		switch {
		case name == "datacontenttype":
			name = "content_type"
		case name == "data":
			name = f.Pointer
		case name == "id" && prefix == "":
			name = "message_id"
		default:
			name = prefix + name
		}
		out.WithField(name, "%s", f.Detail)
	}
	return out
}

// cut makes a text of a message short and printable enough to be shown.
func cut(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
