package natslog

import (
	"encoding/json"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/percent"
)

// What a message becomes that is no CloudEvent, so that no message of others stops a partition.
const (
	typeMessage = "nats.message" // it does not claim to be one
	typeInvalid = "nats.invalid" // it does
)

// stored is a message as the server keeps it.
type stored struct {
	subject string
	stream  string
	seq     uint64
	time    time.Time
	header  nats.Header
	data    []byte
}

// decode sets the event of rec, which shares m.data, and Assigned. It takes every message: one of Tandem, one in binary or structured mode
// of CloudEvents' NATS binding, and any other. sum and dedup are those of Tandem's.
func decode(m *stored, rec *tandem.Record) (sum uint64, dedup bool) {
	if meta, ok := m.header[headerMeta]; ok && len(meta) == 1 {
		var t metaFields
		if t.parse(meta[0]) && ours(m, &t, &rec.Event) {
			rec.Assigned = !t.dedup
			return t.sum, t.dedup
		}
	}
	claims, ok := false, false
	switch kind, _, _ := strings.Cut(headerOf(m.header, "content-type"), ";"); {
	case headerOf(m.header, "ce-specversion") != "":
		claims = true
		ok = binaryMode(m, &rec.Event)
	case strings.EqualFold(strings.TrimSpace(kind), tandem.MediaEvent), kind == "" && looksStructured(m.data):
		claims = true
		ev, err := tandem.ParseEventJSON(m.data)
		rec.Event, ok = ev, err == nil
	}
	if !ok {
		plain(m, claims, &rec.Event)
	}
	rec.Meta.Accepted = m.time
	return 0, false
}

// metaFields is what appendMeta wrote.
type metaFields struct {
	accepted             time.Time
	sum                  uint64
	dedup                bool
	encoding             tandem.DataEncoding
	none                 bool
	extensions           string
	key, producer, route string
}

func (t *metaFields) parse(s string) bool {
	version, rest, _ := strings.Cut(s, ";")
	if version != "1" {
		return false
	}
	for rest != "" {
		var field string
		field, rest, _ = strings.Cut(rest, ";")
		if len(field) < 2 || field[1] != '=' {
			return false
		}
		v := field[2:]
		var err error
		switch field[0] {
		case 'a':
			var ns int64
			ns, err = strconv.ParseInt(v, 10, 64)
			t.accepted = time.Unix(0, ns).UTC()
		case 's':
			t.dedup = true
			t.sum, err = strconv.ParseUint(v, 16, 64)
		case 'd':
			v, t.none = strings.CutSuffix(v, "n")
			if len(v) != 1 || v[0] < '0' || v[0] > '0'+byte(tandem.DataBinary) {
				return false
			}
			t.encoding = tandem.DataEncoding(v[0] - '0')
		case 'x':
			t.extensions = v
		case 'k':
			t.key = percent.Decode(v)
		case 'p':
			t.producer = percent.Decode(v)
		case 'r':
			t.route = percent.Decode(v)
		}
		if err != nil {
			return false
		}
	}
	return true
}

// ours sets the event of a message that Tandem wrote. False means that it is not as Tandem writes it.
func ours(m *stored, t *metaFields, ev *tandem.Event) bool {
	get := func(name string) string {
		if v := m.header[name]; len(v) > 0 {
			return percent.Decode(v[0])
		}
		return ""
	}
	*ev = tandem.Event{ID: get("ce-id"), Source: get("ce-source"), Type: get("ce-type"), Subject: get("ce-subject"), Time: get("ce-time"),
		DataContentType: get("ce-datacontenttype"), DataSchema: get("ce-dataschema"), Data: m.data, Encoding: t.encoding,
		Meta: tandem.Meta{Key: t.key, Flow: get(cePrefix + tandem.AttrFlow), Operation: get(cePrefix + tandem.AttrOperation),
			Producer: t.producer, Route: t.route, TraceParent: get(cePrefix + tandem.AttrTraceParent), TraceState: get(cePrefix + tandem.AttrTraceState),
			Accepted: t.accepted}}
	if cause := get(cePrefix + tandem.AttrCause); cause != "" {
		ev.Meta.Causes = strings.Fields(cause)
	}
	if hops := get(cePrefix + tandem.AttrHops); hops != "" {
		n, err := strconv.ParseUint(hops, 10, 31)
		if err != nil {
			return false
		}
		ev.Meta.Hops = int(n)
	}
	for rest := t.extensions; rest != ""; {
		var x string
		x, rest, _ = strings.Cut(rest, ",")
		if len(x) < 2 || x[len(x)-1] < '0' || x[len(x)-1] > '0'+byte(tandem.ExtensionBoolean) || !tandem.ValidAttributeName(x[:len(x)-1]) {
			return false
		}
		name := x[:len(x)-1]
		ev.Extensions = append(ev.Extensions, tandem.Extension{Name: name, Value: get(cePrefix + name), Kind: tandem.ExtensionKind(x[len(x)-1] - '0')})
	}
	switch {
	case ev.ID == "" || ev.Source == "" || ev.Type == "":
		return false
	case t.none:
		ev.Data = nil
		return len(m.data) == 0
	case ev.Data == nil:
		ev.Data = []byte{}
	}
	return true
}

// binaryMode sets the event of a message in binary mode.
func binaryMode(m *stored, ev *tandem.Event) bool {
	*ev = tandem.Event{Data: m.data}
	if len(m.data) == 0 {
		ev.Data = nil
	}
	for key, values := range m.header {
		if len(key) <= len(cePrefix) || !strings.EqualFold(key[:len(cePrefix)], cePrefix) || len(values) == 0 {
			continue
		}
		name, value := strings.ToLower(key[len(cePrefix):]), percent.Decode(values[0])
		switch name {
		case "specversion":
			if value != "1.0" {
				return false
			}
		case "id":
			ev.ID = value
		case "source":
			ev.Source = value
		case "type":
			ev.Type = value
		case "subject":
			ev.Subject = value
		case "time":
			ev.Time = value
		case "datacontenttype":
			ev.DataContentType = value
		case "dataschema":
			ev.DataSchema = value
		case tandem.AttrFlow:
			ev.Meta.Flow = value
		case tandem.AttrCause:
			ev.Meta.Causes = strings.Fields(value)
		case tandem.AttrOperation:
			ev.Meta.Operation = value
		case tandem.AttrTraceParent:
			ev.Meta.TraceParent = value
		case tandem.AttrTraceState:
			ev.Meta.TraceState = value
		case tandem.AttrHops:
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return false
			}
			ev.Meta.Hops = int(n)
		default:
			ev.Extensions = append(ev.Extensions, tandem.Extension{Name: name, Value: value})
		}
	}
	sortExtensions(ev.Extensions)
	if ev.DataContentType == "" { // the binding of HTTP, which some use here
		ev.DataContentType = headerOf(m.header, "content-type")
	}
	return tandem.CheckEvent(ev) == nil
}

// plain sets an event that stands for any message.
func plain(m *stored, claims bool, ev *tandem.Event) {
	*ev = tandem.Event{ID: headerOf(m.header, headerMsgID), Source: "nats:" + m.subject, Type: typeMessage, Data: m.data, DataContentType: headerOf(m.header, "content-type")}
	if claims {
		ev.Type = typeInvalid
	}
	if ev.ID == "" || len(ev.ID) > tandem.MaxAttributeBytes || claims {
		ev.ID = m.stream + "/" + strconv.FormatUint(m.seq, 10)
	}
	if _, _, err := mime.ParseMediaType(ev.DataContentType); err != nil || claims {
		ev.DataContentType = ""
	}
	if len(m.data) == 0 {
		ev.Data = nil
	}
	if ev.DataContentType == "" {
		switch {
		case json.Valid(m.data):
			ev.DataContentType = "application/json"
		case utf8.Valid(m.data):
			ev.DataContentType = "text/plain; charset=utf-8"
		default:
			ev.DataContentType = "application/octet-stream"
		}
	}
	if tandem.CheckEvent(ev) != nil {
		ev.ID, ev.DataContentType, ev.Encoding = m.stream+"/"+strconv.FormatUint(m.seq, 10), "application/octet-stream", tandem.DataBinary
	}
}

// headerOf returns a header whatever the case of its name, "" when there is none.
func headerOf(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	for k, v := range h {
		if len(v) > 0 && strings.EqualFold(k, name) {
			return v[0]
		}
	}
	return ""
}

// looksStructured reports whether data may be an event in JSON that has no content type beside it.
func looksStructured(data []byte) bool {
	s := strings.TrimLeft(string(data[:min(len(data), 64)]), " \t\r\n")
	return strings.HasPrefix(s, "{") && strings.Contains(string(data), `"specversion"`)
}

func sortExtensions(x []tandem.Extension) {
	for i := 1; i < len(x); i++ {
		for j := i; j > 0 && x[j].Name < x[j-1].Name; j-- {
			x[j], x[j-1] = x[j-1], x[j]
		}
	}
}
