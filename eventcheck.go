package tandem

import (
	"strings"
	"unicode/utf8"
)

// CheckEvent checks an event that was built in Go or came in binary mode: required attributes, names and values as
// CloudEvents 1.0 defines them, limits. It settles Encoding where it is DataAuto, or where content type and Encoding
// contradict each other; data whose content type is JSON must be JSON. An event with an Encoding other than DataAuto is
// taken as checked: DataJSON is not parsed again.
//
// Code: Invalid, with the attributes in Fields ("/type", "/data").
func CheckEvent(e *Event) error {
	var bad *Error
	fault := func(name, detail string) {
		if bad == nil {
			bad = Errorf(CodeInvalid, "not a valid CloudEvent")
		}
		if len(bad.Fields) < maxFieldErrors {
			bad.Fields = append(bad.Fields, FieldError{Pointer: "/" + pointerToken(name), Detail: detail})
		}
	}
	for a := range attrTexts {
		if a == attrCause {
			continue
		}
		v := e.text(a)
		if v == "" {
			if a == attrID || a == attrSource || a == attrType {
				fault(nameOf(a), "is required")
			}
			continue
		}
		if why := badAttr(a, v, true); why != "" {
			fault(nameOf(a), why)
		}
	}
	size := 0
	for _, c := range e.Meta.Causes {
		size += len(c) + 1
		if c == "" || strings.Contains(c, " ") || badText(c, true) != "" {
			fault(AttrCause, "must be references, which are not empty and have no spaces or control characters")
			break
		}
	}
	if size > MaxAttributeBytes+1 {
		fault(AttrCause, badText(strings.Join(e.Meta.Causes, " "), false))
	}
	if e.Meta.Hops < 0 || e.Meta.Hops > 1<<31-1 {
		fault(AttrHops, badHops)
	}
	if len(e.Meta.Key) > MaxAttributeBytes || !utf8.ValidString(e.Meta.Key) {
		fault("key", "must be UTF-8 of at most 4096 bytes")
	}
	if n := len(e.Extensions); n > MaxExtensions && countedExtensions(e) > MaxExtensions {
		fault(e.Extensions[n-1].Name, "is one too many: an event has at most 64 extension attributes")
	} else {
		for i := range e.Extensions {
			checkExtension(e, i, fault)
		}
	}
	if why := settleEncoding(e); why != "" {
		fault("data", why)
	}
	if bad != nil {
		return bad
	}
	return nil
}

func checkExtension(e *Event, i int, fault func(name, detail string)) {
	x := &e.Extensions[i]
	switch {
	case !validName(x.Name):
		fault(x.Name, "is not an attribute: names are 1 to 64 of a-z and 0-9")
		return
	case attrOf(x.Name) != attrExtension:
		fault(x.Name, "has a field of its own and cannot be an extension")
		return
	}
	for _, y := range e.Extensions[:i] {
		if x.Name == y.Name {
			fault(x.Name, "is there twice")
			return
		}
	}
	switch x.Kind {
	case ExtensionString:
		if why := badText(x.Value, true); why != "" {
			fault(x.Name, why)
		}
	case ExtensionBoolean:
		if x.Value != "true" && x.Value != "false" {
			fault(x.Name, "must be true or false")
		}
	case ExtensionInteger:
		if !canonicalInt(x.Value) {
			fault(x.Name, "must be an integer from -2147483648 to 2147483647")
		}
	default:
		fault(x.Name, "has an unknown kind")
	}
}

// settleEncoding makes Encoding agree with content type and data, and returns what is wrong with the data.
func settleEncoding(e *Event) string {
	js := IsJSON(e.DataContentType)
	switch {
	case len(e.Data) == 0 && (e.Encoding == DataAuto || e.Encoding == DataJSON):
		e.Encoding = DataAuto // no data
	case e.Encoding == DataBinary, e.Encoding == DataJSON && (js || e.Data[0] != '"'):
	case e.Encoding > DataBinary:
		return "has an unknown encoding"
	case js:
		if !JSONValid(e.Data) {
			return "is not JSON, which its content type declares"
		}
		e.Encoding = DataJSON
	case e.Encoding == DataAuto:
		e.Encoding = encodingOf(e)
	case utf8.Valid(e.Data):
		// A JSON string under another content type would be read back as text, so it counts as the text it is.
		e.Encoding = DataText
	default:
		return "is not UTF-8"
	}
	return ""
}

// encodingOf resolves DataAuto without looking whether JSON is valid.
func encodingOf(e *Event) DataEncoding {
	switch {
	case e.Encoding != DataAuto || len(e.Data) == 0:
		return e.Encoding
	case IsJSON(e.DataContentType):
		return DataJSON
	case isText(e.DataContentType) && utf8.Valid(e.Data):
		return DataText
	}
	return DataBinary
}

// IsJSON reports whether a content type declares JSON, as CloudEvents does (JSON format, section 3.1): the subtype is
// json or ends in +json, or there is none.
func IsJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	_, sub := mediaType(contentType)
	return asciiEqualFold(sub, "json") || hasSuffixFold(sub, "+json")
}

func isText(contentType string) bool {
	typ, sub := mediaType(contentType)
	return asciiEqualFold(typ, "text") || asciiEqualFold(sub, "xml") || hasSuffixFold(sub, "+xml")
}

// mediaType returns type and subtype without parameters.
func mediaType(contentType string) (typ, sub string) {
	s, _, _ := strings.Cut(contentType, ";")
	typ, sub, _ = strings.Cut(strings.TrimSpace(s), "/")
	return typ, sub
}

func asciiEqualFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

// countedExtensions is how many extension attributes count against MaxExtensions: AttrLinks is Tandem's, and added to events that
// may have as many as they can.
func countedExtensions(e *Event) int {
	n := len(e.Extensions)
	if n >= MaxExtensions {
		if _, ok := e.Extension(AttrLinks); ok {
			n--
		}
	}
	return n
}
