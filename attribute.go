package tandem

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of an event's attributes, beside the limit on the event as a whole.
const (
	MaxAttributeBytes = 4096 // one value, in UTF-8
	MaxExtensions     = 64   // extension attributes of one event, beside AttrLinks
	maxNameBytes      = 64   // the specification recommends 20
)

// attr numbers the attributes that have a field of their own. Extensions have attrExtension.
type attr uint8

const (
	attrID attr = iota
	attrSource
	attrType
	attrSubject
	attrTime
	attrDataContentType
	attrDataSchema
	attrFlow
	attrCause
	attrOperation
	attrTraceParent
	attrTraceState
	attrHops
	attrSpecVersion
	attrExtension
	attrData
	attrDataBase64
)

const attrTexts = attrHops // attributes below are text

func attrOf[T string | []byte](name T) attr {
	switch string(name) {
	case "specversion":
		return attrSpecVersion
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "subject":
		return attrSubject
	case "time":
		return attrTime
	case "datacontenttype":
		return attrDataContentType
	case "dataschema":
		return attrDataSchema
	case AttrFlow:
		return attrFlow
	case AttrCause:
		return attrCause
	case AttrOperation:
		return attrOperation
	case AttrHops:
		return attrHops
	case AttrTraceParent:
		return attrTraceParent
	case AttrTraceState:
		return attrTraceState
	case "data":
		return attrData
	case "data_base64":
		return attrDataBase64
	}
	return attrExtension
}

// nameOf is the inverse of attrOf.
func nameOf(a attr) string {
	return [...]string{"id", "source", "type", "subject", "time", "datacontenttype", "dataschema", AttrFlow, AttrCause,
		AttrOperation, AttrTraceParent, AttrTraceState, AttrHops, "specversion", "", "data", "data_base64"}[a]
}

// text returns the value of an attribute with a field of its own, "" when it is absent. Causes are joined.
func (e *Event) text(a attr) string {
	switch a {
	case attrID:
		return e.ID
	case attrSource:
		return e.Source
	case attrType:
		return e.Type
	case attrSubject:
		return e.Subject
	case attrTime:
		return e.Time
	case attrDataContentType:
		return e.DataContentType
	case attrDataSchema:
		return e.DataSchema
	case attrFlow:
		return e.Meta.Flow
	case attrCause:
		return strings.Join(e.Meta.Causes, " ")
	case attrOperation:
		return e.Meta.Operation
	case attrTraceParent:
		return e.Meta.TraceParent
	case attrTraceState:
		return e.Meta.TraceState
	case attrHops:
		if e.Meta.Hops != 0 {
			return strconv.Itoa(e.Meta.Hops)
		}
	case attrSpecVersion:
		return "1.0"
	}
	return ""
}

// setText sets an attribute that is text.
func (e *Event) setText(a attr, v string) {
	switch a {
	case attrID:
		e.ID = v
	case attrSource:
		e.Source = v
	case attrType:
		e.Type = v
	case attrSubject:
		e.Subject = v
	case attrTime:
		e.Time = v
	case attrDataContentType:
		e.DataContentType = v
	case attrDataSchema:
		e.DataSchema = v
	case attrFlow:
		e.Meta.Flow = v
	case attrCause:
		e.Meta.Causes = strings.Fields(v)
	case attrOperation:
		e.Meta.Operation = v
	case attrTraceParent:
		e.Meta.TraceParent = v
	case attrTraceState:
		e.Meta.TraceState = v
	}
}

// Attribute returns the text of an attribute by its CloudEvents name, extensions and those that Meta holds included,
// or of a field of the data by "data." and a path as DataField takes it. It reports whether there is one.
func (e *Event) Attribute(name string) (string, bool) {
	if path, ok := strings.CutPrefix(name, "data."); ok {
		return DataField(e, path)
	}
	a := attrOf(name)
	if a == attrExtension {
		return e.Extension(name)
	}
	v := e.text(a)
	return v, v != ""
}

// ValidAttributeName reports whether name can be that of a CloudEvents attribute: a-z and 0-9, at most 64 of them,
// and not "data", which is none.
func ValidAttributeName(name string) bool {
	return validName(name) && name != "data"
}

func validName[T string | []byte](name T) bool {
	if len(name) == 0 || len(name) > maxNameBytes {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// badText returns what is wrong with the value of an attribute, "" for nothing: CloudEvents 1.0, section 3.1, type
// String. odd tells that it may hold something else than printable ASCII.
func badText(s string, odd bool) string {
	if len(s) > MaxAttributeBytes {
		return "is longer than " + strconv.Itoa(MaxAttributeBytes) + " bytes"
	}
	if !odd {
		return ""
	}
	for i := 0; i < len(s); {
		if c := s[i]; c >= 0x20 && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return "is not UTF-8"
		case r < 0x20 || r >= 0x7f && r <= 0x9f:
			return "has a control character"
		case r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef:
			return "has a code point that is no character"
		}
		i += n
	}
	return ""
}

// badAttr is badText for an attribute that has a field of its own and is present.
func badAttr(a attr, v string, odd bool) string {
	if v == "" {
		switch a {
		case attrID, attrSource, attrType:
			return "must not be empty"
		case attrSubject, attrTime, attrDataContentType, attrDataSchema:
			return "must not be empty: leave it out"
		}
		return ""
	}
	if why := badText(v, odd); why != "" {
		return why
	}
	switch a {
	case attrTime:
		if !validTime(v) {
			return "must be an RFC 3339 time such as 2026-01-31T09:30:00Z"
		}
	case attrDataContentType:
		for i := 0; i < len(v); i++ {
			if v[i] >= 0x7f {
				return "must be a media type in ASCII"
			}
		}
	}
	return ""
}

// canonicalInt reports whether s is the shortest decimal form of an int32.
func canonicalInt(s string) bool {
	n, err := strconv.ParseInt(s, 10, 32)
	return err == nil && strconv.FormatInt(n, 10) == s
}
