package kafkalog

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
)

// What an event is made of that others wrote, and that is no CloudEvent.
const (
	plainType = "kafka.record"
	idByKey   = "key"
	// problemExtension says of a record that claims to be a CloudEvent why it is none.
	problemExtension = "kafkaproblem"
)

// decodeForeign reads a record that others wrote: a CloudEvent in structured or binary mode, or anything. There is always an event: one
// record that cannot be read must not end the reading of its partition.
func decodeForeign(r *kgo.Record, t *topic, out *tandem.Record) {
	media, _ := header(r, headerContentType)
	mode := mediaOf(string(media))
	var err error
	switch _, binary := header(r, headerSpecVersion); {
	case mode == tandem.MediaEvent:
		out.Event, err = tandem.ParseEventJSON(r.Value)
		if err == nil {
			err = tandem.CheckEvent(&out.Event)
		}
	case binary:
		out.Event, err = binaryEvent(r)
	default:
		out.Event = plainEvent(r, t, string(media))
		out.Assigned = t.Kafka.ID != idByKey || len(r.Key) == 0
		return
	}
	if err != nil {
		out.Event = plainEvent(r, t, "application/octet-stream")
		out.Extensions = []tandem.Extension{{Name: problemExtension, Value: printable(err.Error(), 1000)}}
		out.Assigned = true
		return
	}
	setKey(&out.Event, r.Key)
}

// mediaOf is the media type in lower case, without parameters.
func mediaOf(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// binaryEvent reads a record in binary mode (Kafka protocol binding 1.0.2, section 3.2).
func binaryEvent(r *kgo.Record) (tandem.Event, error) {
	ev := tandem.Event{Data: r.Value}
	for i := range r.Headers {
		h := &r.Headers[i]
		if h.Key == headerProducer || h.Key == headerRoute {
			continue // what others say of these is not known to be so
		}
		value := string(h.Value)
		known, err := setAttribute(&ev, h.Key, value)
		name, isAttribute := strings.CutPrefix(h.Key, headerPrefix)
		switch {
		case err != nil:
			return ev, tandem.Errorf(tandem.CodeInvalid, "the header %s is not right", h.Key)
		case known || !isAttribute:
		case name == "specversion":
			if value != "1.0" {
				return ev, tandem.Errorf(tandem.CodeInvalid, "ce_specversion is %q, not 1.0", printable(value, 20))
			}
		default:
			ev.Extensions = append(ev.Extensions, tandem.Extension{Name: name, Value: value})
		}
	}
	return ev, tandem.CheckEvent(&ev)
}

// plainEvent makes an event of a record that is none, by the topic's declaration.
func plainEvent(r *kgo.Record, t *topic, contentType string) tandem.Event {
	ev := tandem.Event{Source: t.Kafka.Source, Type: t.Kafka.Type, Data: r.Value, DataContentType: contentType}
	if ev.Source == "" {
		ev.Source = "kafka:" + t.kafka
	}
	if ev.Type == "" {
		ev.Type = plainType
	}
	ev.ID = strconv.Itoa(int(r.Partition)) + "-" + strconv.FormatInt(r.Offset, 10)
	setKey(&ev, r.Key)
	if t.Kafka.ID == idByKey && ev.Meta.Key != "" {
		ev.ID = ev.Meta.Key
	}
	if len(r.Key) > 0 && ev.Meta.Key == string(r.Key) && printable(ev.Meta.Key, tandem.MaxAttributeBytes) == ev.Meta.Key {
		ev.Subject = ev.Meta.Key
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		switch name := h.Key; {
		case name == tandem.AttrTraceParent:
			ev.Meta.TraceParent = string(h.Value)
		case name == tandem.AttrTraceState:
			ev.Meta.TraceState = string(h.Value)
		}
	}
	if ev.DataContentType == "" && r.Value != nil {
		ev.DataContentType = "application/octet-stream"
		if len(r.Value) > 0 && (r.Value[0] == '{' || r.Value[0] == '[') && tandem.JSONValid(r.Value) {
			ev.DataContentType = "application/json"
		}
	}
	if tandem.CheckEvent(&ev) == nil {
		return ev
	}
	// A content type that does not fit the data, a key or a trace that is no text: only what is sure remains.
	key := ev.Meta.Key
	ev = tandem.Event{ID: ev.ID, Source: ev.Source, Type: ev.Type, Data: r.Value, DataContentType: "application/octet-stream", Encoding: tandem.DataBinary}
	if len(r.Value) == 0 {
		ev.DataContentType, ev.Encoding = "", tandem.DataAuto
	}
	ev.Meta.Key = key
	if tandem.CheckEvent(&ev) != nil {
		ev.ID = strconv.Itoa(int(r.Partition)) + "-" + strconv.FormatInt(r.Offset, 10)
		ev.Meta.Key = key[:min(len(key), 1000)]
	}
	return ev
}

// setKey takes the record's key as the one that orders the event; one that is no text in base64.
func setKey(ev *tandem.Event, key []byte) {
	if len(key) == 0 || string(key) == ev.Subject {
		return
	}
	if ev.Meta.Key = string(key); !utf8.Valid(key) || len(key) > tandem.MaxAttributeBytes {
		ev.Meta.Key = base64.RawStdEncoding.EncodeToString(key[:min(len(key), tandem.MaxAttributeBytes*3/4)])
	}
}

// printable returns the part of s that an attribute may hold.
func printable(s string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r == utf8.RuneError || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
			return -1
		}
		return r
	}, s)
	if len(clean) <= most {
		return clean
	}
	for !utf8.RuneStart(clean[most]) {
		most--
	}
	return clean[:most]
}
