package tandem

import (
	"strconv"
	"strings"
	"time"
)

// Event is a CloudEvents 1.0 event: a fact that somebody states. Attributes are kept as they were sent; Data is kept
// byte for byte.
//
// Source and ID together are the identity of an event within a topic. Retry, redrive and replay keep it.
type Event struct {
	ID      string // required by CloudEvents; the log gives an event without one a new UUIDv7
	Source  string // required; URI reference
	Type    string // required
	Subject string // optional; the key of the event unless Meta.Key is set
	Time    string // optional; RFC 3339, as sent

	DataContentType string // optional; empty means JSON (CloudEvents JSON format, section 3.1)
	DataSchema      string // optional

	// Extensions are the extension attributes, in the order sent, without those that Meta holds (the tandem…
	// attributes, traceparent and tracestate).
	Extensions []Extension

	// Data is the payload, nil when there is none. An Event that was read from the log or parsed from a request shares
	// these bytes with its neighbours of the same read: treat them as read-only.
	Data     []byte
	Encoding DataEncoding

	Meta Meta
}

// Extension is one CloudEvents extension attribute.
type Extension struct {
	Name  string // [a-z0-9]+, not an attribute of the specification
	Value string // canonical text: "true", "42", or the string itself
	Kind  ExtensionKind
}

// ExtensionKind is the type of an extension attribute in the JSON format; in HTTP headers all are text.
type ExtensionKind uint8

// The kinds of extension attributes. URIs, timestamps and binary values are strings in JSON.
const (
	ExtensionString ExtensionKind = iota
	ExtensionInteger
	ExtensionBoolean
)

// DataEncoding says how Data appears in the JSON format of an event.
type DataEncoding uint8

const (
	// DataAuto decides by the content type: a JSON value where it declares JSON or is absent, text where it declares text
	// or XML and Data is UTF-8, otherwise base64. CheckEvent settles it, and checks the JSON. Leave it unless you know better.
	DataAuto DataEncoding = iota
	// DataJSON is a JSON value, embedded as it is under "data". Whoever sets it vouches for the JSON.
	DataJSON
	// DataText is UTF-8 text, a JSON string under "data".
	DataText
	// DataBinary is anything, base64 under "data_base64".
	DataBinary
)

// Meta is what Tandem knows of an event beside its CloudEvents attributes. It is stored with the event from the first
// day on. Flow, Causes, Operation and Hops are the extension attributes tandemflow, tandemcause (references, separated by
// a space), tandemoperation and tandemhops on the wire; TraceParent and TraceState are the attributes of the CloudEvents distributed
// tracing extension. The rest is not shown in the event.
type Meta struct {
	// Key orders events: those of one key are kept, and delivered, in order. Empty means Subject; an event with neither
	// is spread over the partitions without order.
	Key string

	Flow      string   // id of the flow (UUIDv7)
	Causes    []string // references (Ref) of the events, or the request, that caused this one
	Operation string   // id of the operation that this event belongs to
	Hops      int      // replies between the first cause and this event

	Producer string // who published: token name, principal or subscription
	Route    string // public route or API resource that it came through

	TraceParent string // W3C trace context
	TraceState  string

	Accepted time.Time // when Tandem accepted it; the log sets it
}

// Ordering returns the key that orders the event: Meta.Key, else Subject, else "" (no order).
func (e *Event) Ordering() string {
	if e.Meta.Key != "" {
		return e.Meta.Key
	}
	return e.Subject
}

// Extension returns the value of an extension attribute and whether it is present. It does not see the attributes
// that Meta holds.
func (e *Event) Extension(name string) (string, bool) {
	for i := range e.Extensions {
		if e.Extensions[i].Name == name {
			return e.Extensions[i].Value, true
		}
	}
	return "", false
}

// Position is the place of one stored event. Offsets rise within a partition and are not dense.
type Position struct {
	Topic     string
	Partition int
	Offset    uint64
}

// String returns topic/partition/offset, the form of Tandem-Position.
func (p Position) String() string {
	b := make([]byte, 0, len(p.Topic)+24)
	b = append(b, p.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(p.Partition), 10)
	b = append(b, '/')
	b = strconv.AppendUint(b, p.Offset, 10)
	return string(b)
}

// MarshalText writes the form of String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form of String. Code: Invalid.
func (p *Position) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePosition(string(b))
	return err
}

// ParsePosition reads the form that String gives. Code: Invalid.
func ParsePosition(s string) (Position, error) {
	topic, rest, ok := strings.Cut(s, "/")
	part, off, ok2 := strings.Cut(rest, "/")
	p, err1 := strconv.ParseUint(part, 10, 31)
	o, err2 := strconv.ParseUint(off, 10, 64)
	if !ok || !ok2 || err1 != nil || err2 != nil || topic == "" {
		return Position{}, Errorf(CodeInvalid, "position %q is not topic/partition/offset", s)
	}
	return Position{Topic: topic, Partition: int(p), Offset: o}, nil
}

// Record is an event as the log holds it. In JSON it is its event: where it lies is no part of that.
type Record struct {
	Event
	Position Position
	// Seq counts the events of the partition, from 1. The difference of two is a number of events, or on some engines at most
	// that.
	Seq uint64
	// Assigned says that Tandem gave the event its id, so that no repeat of it can come. It is set only where the engine does
	// not recognise repeats for good when it stores events.
	Assigned bool
}
