package tandem

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem/internal/percent"
)

// Mode is how an HTTP message carries events.
type Mode uint8

// The modes.
const (
	ModePlain      Mode = iota // no CloudEvent: the body is data, and the receiver supplies type and source
	ModeBinary                 // attributes in ce- headers, the body is data
	ModeStructured             // one event in JSON
	ModeBatch                  // an array of events in JSON
	ModeNDJSON                 // one event, or plain JSON, on each line
)

// ContentMode tells from its headers how an HTTP message carries events (CloudEvents HTTP binding, section 3). A message
// without a CloudEvents content type is binary when any of ce-specversion, ce-id, ce-source and ce-type is there.
// Code: MediaType, for formats of CloudEvents other than JSON.
func ContentMode(h http.Header) (Mode, error) {
	typ, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	typ = strings.TrimSpace(typ)
	switch {
	case asciiEqualFold(typ, MediaEvent):
		return ModeStructured, nil
	case asciiEqualFold(typ, MediaBatch):
		return ModeBatch, nil
	case asciiEqualFold(typ, MediaNDJSON):
		return ModeNDJSON, nil
	case len(typ) >= len(mediaPrefix) && strings.EqualFold(typ[:len(mediaPrefix)], mediaPrefix):
		return 0, Errorf(CodeMediaType, "the format %q of CloudEvents is not supported", typ).
			WithHint("send %s or %s", MediaEvent, MediaBatch)
	}
	for _, name := range [...]string{"Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type"} {
		if _, ok := h[name]; ok {
			return ModeBinary, nil
		}
	}
	return ModePlain, nil
}

const mediaPrefix = "application/cloudevents"

// ParseBinaryHTTP reads an event in binary mode: attributes from headers, percent-decoded, Content-Type as
// datacontenttype, and the body as data, byte for byte. The event shares body. Headers that do not begin with ce- are
// ignored. Bytes outside ASCII and a percent sign without two digits are taken literally, since several libraries
// do not encode.
//
// Code: Invalid; Fields name the header ("ce-type") or "/data".
func ParseBinaryHTTP(h http.Header, body []byte) (Event, error) {
	e := Event{Data: body, DataContentType: h.Get("Content-Type")}
	var bad *Error
	fault := func(name, detail string) {
		if bad == nil {
			bad = Errorf(CodeInvalid, "not a valid CloudEvent in binary mode")
		}
		if len(bad.Fields) < maxFieldErrors {
			bad.Fields = append(bad.Fields, FieldError{Pointer: name, Detail: detail})
		}
	}
	var seen uint32
	for key, values := range h {
		if len(key) < 4 || key[0] != 'C' && key[0] != 'c' || key[1] != 'e' && key[1] != 'E' || key[2] != '-' {
			continue
		}
		name := strings.ToLower(key[3:])
		a := attrOf(name)
		if len(values) != 1 || a != attrExtension && seen&(1<<a) != 0 {
			fault("ce-"+name, "must be there once")
			continue
		}
		seen |= 1 << a
		value := percent.Decode(values[0])
		switch {
		case a == attrData || a == attrDataBase64:
			fault("ce-"+name, "is no attribute: the body is the data")
		case a == attrDataContentType:
			fault("ce-datacontenttype", "must not be there: Content-Type takes its place")
		case a == attrSpecVersion:
			if value != "1.0" {
				fault("ce-specversion", "must be 1.0")
			}
		case a == attrHops:
			var ok bool
			if e.Meta.Hops, ok = parseHops(value); !ok {
				fault("ce-"+AttrHops, badHops)
			}
		case a != attrExtension:
			if value == "" {
				fault("ce-"+name, "must not be empty")
			}
			e.setText(a, value)
		case name != AttrLinks && countedExtensions(&e) == MaxExtensions:
			fault("ce-"+name, "is one too many: an event has at most 64 extension attributes")
			return Event{}, bad
		default:
			e.Extensions = append(e.Extensions, Extension{Name: name, Value: value})
		}
	}
	if seen&(1<<attrSpecVersion) == 0 {
		fault("ce-specversion", "is required")
	}
	slices.SortFunc(e.Extensions, func(x, y Extension) int { return strings.Compare(x.Name, y.Name) })
	if err := CheckEvent(&e); err != nil {
		var wrong *Error
		errors.As(err, &wrong)
		for _, f := range wrong.Fields {
			name := f.Pointer[1:]
			switch name {
			case "data":
				name = f.Pointer
			case "datacontenttype":
				name = "content-type"
			default:
				name = "ce-" + name
			}
			fault(name, f.Detail)
		}
	}
	if bad != nil {
		slices.SortStableFunc(bad.Fields, func(x, y FieldError) int { return strings.Compare(x.Pointer, y.Pointer) })
		bad.Fields = slices.CompactFunc(bad.Fields, func(x, y FieldError) bool { return x.Pointer == y.Pointer })
		return Event{}, bad
	}
	return e, nil
}

// WriteBinaryHeader sets the headers of an event in binary mode; the body is e.Data. JSON data without a content type
// gets application/json. The event must have passed CheckEvent or come from a parser or the log.
func (e *Event) WriteBinaryHeader(h http.Header) {
	h["Ce-Specversion"] = []string{"1.0"}
	for a := range attrSpecVersion {
		if v := e.text(a); v != "" && a != attrDataContentType {
			h.Set("Ce-"+nameOf(a), percent.Encode(v))
		}
	}
	for i := range e.Extensions {
		h.Set("Ce-"+e.Extensions[i].Name, percent.Encode(e.Extensions[i].Value))
	}
	switch {
	case e.DataContentType != "":
		h.Set("Content-Type", e.DataContentType)
	case encodingOf(e) == DataJSON:
		h.Set("Content-Type", "application/json")
	}
}
