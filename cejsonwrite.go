package tandem

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// AppendEventJSON appends an event in the JSON format of CloudEvents 1.0. Data that is JSON is embedded byte for byte,
// line ends included. The event must have passed CheckEvent or come from a parser or the log; of Meta only the extension
// attributes are shown.
func AppendEventJSON(dst []byte, e *Event) []byte {
	dst = append(dst, `{"specversion":"1.0","id":`...)
	dst = appendJSONString(dst, e.ID)
	dst = append(dst, `,"source":`...)
	dst = appendJSONString(dst, e.Source)
	dst = append(dst, `,"type":`...)
	dst = appendJSONString(dst, e.Type)
	dst = appendMember(dst, `,"subject":`, e.Subject)
	dst = appendMember(dst, `,"time":`, e.Time)
	dst = appendMember(dst, `,"datacontenttype":`, e.DataContentType)
	dst = appendMember(dst, `,"dataschema":`, e.DataSchema)
	for i := range e.Extensions {
		x := &e.Extensions[i]
		dst = append(dst, ',')
		dst = appendJSONString(dst, x.Name)
		dst = append(dst, ':')
		if x.Kind == ExtensionString {
			dst = appendJSONString(dst, x.Value)
		} else {
			dst = append(dst, x.Value...)
		}
	}
	dst = appendMember(dst, `,"`+AttrFlow+`":`, e.Meta.Flow)
	if len(e.Meta.Causes) > 0 {
		dst = append(dst, `,"`+AttrCause+`":"`...)
		for i, c := range e.Meta.Causes {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = appendEscaped(dst, c)
		}
		dst = append(dst, '"')
	}
	dst = appendMember(dst, `,"`+AttrOperation+`":`, e.Meta.Operation)
	if e.Meta.Hops != 0 {
		dst = append(dst, `,"`+AttrHops+`":`...)
		dst = strconv.AppendInt(dst, int64(e.Meta.Hops), 10)
	}
	dst = appendMember(dst, `,"`+AttrTraceParent+`":`, e.Meta.TraceParent)
	dst = appendMember(dst, `,"`+AttrTraceState+`":`, e.Meta.TraceState)
	switch encodingOf(e) {
	case DataJSON:
		if len(e.Data) > 0 {
			dst = append(dst, `,"data":`...)
			dst = append(dst, e.Data...)
		}
	case DataText:
		dst = append(dst, `,"data":"`...)
		dst = appendEscaped(dst, e.Data)
		dst = append(dst, '"')
	case DataBinary:
		dst = append(dst, `,"data_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, e.Data)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// AppendBatchJSON appends events in the JSON batch format of CloudEvents 1.0, each as AppendEventJSON does.
func AppendBatchJSON(dst []byte, events []Event) []byte {
	dst = append(dst, '[')
	for i := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendEventJSON(dst, &events[i])
	}
	return append(dst, ']')
}

func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, name...)
	return appendJSONString(dst, value)
}

func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendEscaped appends s with the escapes that JSON requires and no others. What is not UTF-8 becomes U+FFFD.
func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r != utf8.RuneError || n != 1 {
				i += n
				continue
			}
			dst = append(dst, s[done:i]...)
			dst = append(dst, "\uFFFD"...)
			i++
			done = i
			continue
		}
		dst = append(dst, s[done:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		done = i
	}
	return append(dst, s[done:]...)
}

// MarshalJSON gives the form of AppendEventJSON. Package json compacts it, so that white space in data is lost: what
// must stay byte for byte is written with AppendEventJSON.
func (e Event) MarshalJSON() ([]byte, error) {
	return AppendEventJSON(make([]byte, 0, 256+len(e.Data)), &e), nil
}

// UnmarshalJSON is ParseEventJSON on a copy of b.
func (e *Event) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	v, err := ParseEventJSON(append([]byte(nil), b...))
	if err != nil {
		return err
	}
	*e = v
	return nil
}

// AppendPageJSON appends a page: {"events":[…],"cursor":"…"} and, where events are missing, "gap".
func AppendPageJSON(dst []byte, p *Page) []byte {
	dst = append(dst, `{"events":[`...)
	for i := range p.Events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendEventJSON(dst, &p.Events[i].Event)
	}
	dst = append(dst, `],"cursor":`...)
	dst = appendJSONString(dst, string(p.Cursor))
	if p.Gap != nil {
		dst = append(dst, `,"gap":{"reason":`...)
		dst = appendJSONString(dst, p.Gap.Reason)
		dst = append(dst, `,"from":`...)
		dst = appendJSONString(dst, string(p.Gap.From))
		dst = append(dst, `,"to":`...)
		dst = appendJSONString(dst, string(p.Gap.To))
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// MarshalJSON gives the form of AppendPageJSON.
func (p Page) MarshalJSON() ([]byte, error) {
	return AppendPageJSON(make([]byte, 0, 64+512*len(p.Events)), &p), nil
}

// UnmarshalJSON reads the form of AppendPageJSON. The records have no Position and no Seq: a page shows none.
func (p *Page) UnmarshalJSON(b []byte) error {
	var v struct {
		Events json.RawMessage
		Cursor Cursor
		Gap    *Gap
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	q := Page{Cursor: v.Cursor, Gap: v.Gap}
	if len(v.Events) > 0 {
		events, err := ParseBatchJSON(v.Events)
		if err != nil {
			return err
		}
		q.Events = make([]Record, len(events))
		for i := range events {
			q.Events[i].Event = events[i]
		}
	}
	*p = q
	return nil
}
