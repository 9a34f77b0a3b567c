package amqp

import (
	"cmp"
	"strconv"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

// Prefixes of the headers that hold attributes in binary mode: the one that is written, and the others that are read, too. The second is
// that of later versions of the binding, the third that of HTTP, which senders to RabbitMQ use as well.
const prefix = "cloudEvents:"

var prefixes = [...]string{prefix, "cloudEvents_", "ce-"}

const (
	// maxHeaderBytes keeps the headers of a message within one frame, which RabbitMQ takes up to 128 KiB; an event with more goes structured.
	maxHeaderBytes = 64 << 10
	// maxShort is how long a short string of AMQP may be: content type, message id, type, routing key and the name of a header.
	maxShort = 255
)

// Attempt is one attempt to deliver an event.
type Attempt struct {
	Record       *tandem.Record
	ID           string // the same for every attempt
	Subscription string
	Replay       int // zero for none
	Attempt      int // from 1
	MaxAttempts  int
	Test         bool   // marked as one that is no delivery
	TraceParent  string // of the attempt, in place of that of the event; empty for none
	Structured   bool
	App          string // who sends
}

// Encode returns the message of an attempt, in the binary or the structured mode of CloudEvents. It shares the event's data.
func Encode(a *Attempt) amqp091.Publishing {
	e := &a.Record.Event
	m := amqp091.Publishing{Headers: make(amqp091.Table, 20), DeliveryMode: amqp091.Persistent, MessageId: a.ID, AppId: a.App}
	if len(e.Type) <= maxShort {
		m.Type = e.Type
	}
	if at, ok := tandem.ParseTime(e.Time); ok {
		m.Timestamp = at
	}
	a.tell(m.Headers)
	if a.Structured || !fitsBinary(e) {
		m.ContentType = tandem.MediaEvent
		m.Body = tandem.AppendEventJSON(make([]byte, 0, 512+len(e.Data)), e)
		return m
	}
	m.ContentType, m.Body = contentType(e), e.Data
	writeAttributes(m.Headers, e)
	return m
}

// tell adds what the headers of a webhook tell, too.
func (a *Attempt) tell(h amqp091.Table) {
	set := func(name, value string) {
		if value != "" {
			h[name] = value
		}
	}
	rec := a.Record
	if rec.Position.Topic != "" { // a test has no place
		h[tandem.HeaderCause] = tandem.Ref(rec.Position.Topic, rec.Source, rec.ID)
		h[tandem.HeaderPosition] = rec.Position.String()
	}
	set(tandem.HeaderFlow, rec.Meta.Flow)
	set(tandem.HeaderOperation, rec.Meta.Operation)
	set(tandem.HeaderSubscription, a.Subscription)
	h[tandem.HeaderAttempt] = strconv.Itoa(a.Attempt)
	h[tandem.HeaderMaxAttempts] = strconv.Itoa(a.MaxAttempts)
	if a.Replay > 0 {
		h[tandem.HeaderReplay] = strconv.Itoa(a.Replay)
	}
	if a.Test {
		h[tandem.HeaderTest] = "true"
	}
	set(tandem.AttrTraceParent, cmp.Or(a.TraceParent, rec.Meta.TraceParent))
	set(tandem.AttrTraceState, rec.Meta.TraceState)
}

// attributes are those that have a field of their own, but for the content type, which has a property.
var attributes = [...]string{"id", "source", "type", "subject", "time", "dataschema", tandem.AttrFlow, tandem.AttrCause, tandem.AttrOperation,
	tandem.AttrHops, tandem.AttrTraceParent, tandem.AttrTraceState}

func writeAttributes(h amqp091.Table, e *tandem.Event) {
	h[prefix+"specversion"] = "1.0"
	for _, name := range attributes {
		if v, ok := e.Attribute(name); ok && v != "" {
			h[prefix+name] = v
		}
	}
	for i := range e.Extensions {
		x := &e.Extensions[i]
		h[prefix+x.Name] = extensionValue(x)
	}
}

// extensionValue keeps the kinds that AMQP has, too. Times stay text: those of AMQP 0-9-1 have whole seconds.
func extensionValue(x *tandem.Extension) any {
	switch x.Kind {
	case tandem.ExtensionBoolean:
		return x.Value == "true"
	case tandem.ExtensionInteger:
		if n, err := strconv.ParseInt(x.Value, 10, 32); err == nil {
			return int32(n)
		}
	}
	return x.Value
}

func contentType(e *tandem.Event) string {
	if e.DataContentType == "" && e.Data != nil && (e.Encoding == tandem.DataJSON || e.Encoding == tandem.DataAuto) {
		return "application/json"
	}
	return e.DataContentType
}

// fitsBinary reports whether AMQP's limits leave room for the attributes of an event in headers.
func fitsBinary(e *tandem.Event) bool {
	size := 0
	for _, name := range attributes {
		v, _ := e.Attribute(name)
		size += len(prefix) + len(name) + len(v)
	}
	for i := range e.Extensions {
		size += len(prefix) + len(e.Extensions[i].Name) + len(e.Extensions[i].Value)
	}
	return len(e.DataContentType) <= maxShort && size <= maxHeaderBytes
}

// Shown returns the routing key, properties and headers of a message for people to read.
func Shown(m *Message) map[string]string {
	out := map[string]string{"routing_key": m.RoutingKey, "content_type": m.Content.ContentType, "message_id": m.Content.MessageId}
	for name, v := range m.Content.Headers {
		out[name], _, _ = headerText(v)
	}
	return out
}
