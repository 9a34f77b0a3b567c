package tandem

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// ParseEventJSON reads one event in the JSON format of CloudEvents 1.0 (structured mode). Data is kept byte for byte:
// the Event shares b, which must not change afterwards. Attributes that are null count as absent. The syntax of URIs is
// not checked.
//
// Code: Invalid. Malformed JSON is reported with its byte offset, wrong attributes in Fields with their JSON pointers.
func ParseEventJSON(b []byte) (Event, error) {
	var e Event
	p := eventParser{jsonScanner: jsonScanner{b: b}}
	p.space()
	if !p.event(&e, 0) || !p.end() {
		return Event{}, p.err()
	}
	if p.bad != nil {
		return Event{}, p.bad
	}
	return e, nil
}

// eventParser reads events one after the other. The texts of an event are gathered in one buffer and become one string.
type eventParser struct {
	jsonScanner
	seen, present uint32 // sets of attr; present ones are not null
	values        [attrTexts]span
	exts          []extSpan
	text          []byte
	odd           bool // some text is not plain ASCII
	hops          int
	data, base64  []byte
	bad           *Error // faults of attributes

	extSpace  [8]extSpan
	textSpace [512]byte
}

// span is a range of eventParser.text.
type span struct{ start, end int }

type extSpan struct {
	name, value span
	kind        ExtensionKind
}

// maxFieldErrors bounds how many faults of one event are reported.
const maxFieldErrors = 16

func (p *eventParser) fault(name, detail string) {
	if p.bad == nil {
		p.bad = Errorf(CodeInvalid, "not a valid CloudEvent")
	}
	if len(p.bad.Fields) < maxFieldErrors {
		p.bad.Fields = append(p.bad.Fields, FieldError{Pointer: "/" + pointerToken(name), Detail: detail})
	}
}

// pointerToken makes a member name part of a JSON pointer (RFC 6901). Long ones are cut: they are shown to people.
func pointerToken(name string) string {
	if len(name) > maxNameBytes {
		name = name[:maxNameBytes] + "…"
	}
	name = strings.ToValidUTF8(name, "\uFFFD")
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// event reads the object at p.i. False means malformed JSON; faults of attributes are left in p.bad.
func (p *eventParser) event(e *Event, depth int) bool {
	p.seen, p.present, p.odd, p.hops, p.bad = 0, 0, false, 0, nil
	p.data, p.base64 = nil, nil
	p.exts, p.text = p.extSpace[:0], p.textSpace[:0]
	if !p.object(depth, func(name jsonString) bool { return p.member(name, depth+1) }) {
		return false
	}
	p.finish(e)
	return true
}

// member reads the value of one member.
func (p *eventParser) member(s jsonString, depth int) bool {
	name := p.b[s.start:s.end]
	if s.escaped {
		// An escape may spell a known name.
		name, _ = unescape(nil, name)
	}
	a := attrOf(name)
	if a == attrExtension {
		return p.extension(name, depth)
	}
	if p.seen&(1<<a) != 0 {
		p.fault(string(name), "is there twice")
		return p.value(depth)
	}
	p.seen |= 1 << a
	from := p.i
	if a == attrData {
		if !p.value(depth) {
			return false
		}
		p.data = p.b[from:p.i:p.i]
		p.present |= 1 << a
		return true
	}
	c := p.peek()
	switch {
	case c == 'n':
		return p.literal("null")
	case a == attrHops && (c == '-' || c >= '0' && c <= '9'):
		if !p.number() {
			return false
		}
		p.setHops(p.b[from:p.i])
		return true
	case c != '"':
		p.fault(nameOf(a), "must be a string")
		return p.value(depth)
	}
	if s, ok := p.string(); ok {
		p.present |= 1 << a
		p.set(a, s)
		return true
	}
	return false
}

// set takes the string of a known attribute.
func (p *eventParser) set(a attr, s jsonString) {
	if a == attrDataBase64 {
		p.base64 = p.b[s.start:s.end]
		if s.escaped {
			p.base64, _ = unescape(nil, p.base64)
		}
		return
	}
	v, ok := p.decode(s)
	if !ok {
		p.fault(nameOf(a), "has half of a surrogate pair")
		return
	}
	switch a {
	case attrSpecVersion:
		if string(p.text[v.start:v.end]) != "1.0" {
			p.fault("specversion", `must be "1.0"`)
		}
	case attrHops: // libraries that treat extensions as text
		p.setHops(p.text[v.start:v.end])
	default:
		p.values[a] = v
	}
}

func (p *eventParser) setHops(text []byte) {
	n, ok := parseHops(string(text))
	if !ok {
		p.fault(AttrHops, badHops)
	}
	p.hops = n
}

const badHops = "must be an integer from 0 to 2147483647"

func parseHops(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// decode appends the text of s to p.text.
func (p *eventParser) decode(s jsonString) (v span, ok bool) {
	ok = true
	v.start = len(p.text)
	if s.escaped {
		p.text, ok = unescape(p.text, p.b[s.start:s.end])
	} else {
		p.text = append(p.text, p.b[s.start:s.end]...)
	}
	p.odd = p.odd || !s.plain
	v.end = len(p.text)
	return v, ok
}

// extension reads an extension attribute.
func (p *eventParser) extension(name []byte, depth int) bool {
	if !validName(name) {
		p.fault(string(name), "is not an attribute: names are 1 to 64 of a-z and 0-9")
		return p.value(depth)
	}
	for _, x := range p.exts {
		if string(p.text[x.name.start:x.name.end]) == string(name) {
			p.fault(string(name), "is there twice")
			return p.value(depth)
		}
	}
	if len(p.exts) == MaxExtensions {
		p.fault(string(name), "is one too many: an event has at most 64 extension attributes")
		return p.value(depth)
	}
	var x extSpan
	x.name.start = len(p.text)
	p.text = append(p.text, name...)
	x.name.end = len(p.text)
	from := p.i
	switch c := p.peek(); {
	case c == '"':
		s, ok := p.string()
		if !ok {
			return false
		}
		if x.value, ok = p.decode(s); !ok {
			p.fault(string(name), "has half of a surrogate pair")
		}
	case c == 'n':
		x.kind = extensionNull
		if !p.literal("null") {
			return false
		}
	case c == '{' || c == '[':
		p.fault(string(name), "must be a string, an integer or a boolean")
		return p.value(depth)
	default:
		if !p.value(depth) {
			return false
		}
		raw := p.b[from:p.i]
		x.kind = ExtensionBoolean
		if c == '-' || c >= '0' && c <= '9' {
			x.kind = ExtensionInteger
			if _, err := strconv.ParseInt(string(raw), 10, 32); err != nil {
				p.fault(string(name), "must be an integer from -2147483648 to 2147483647, a string or a boolean")
			}
			if string(raw) == "-0" {
				raw = raw[1:]
			}
		}
		x.value.start = len(p.text)
		p.text = append(p.text, raw...)
		x.value.end = len(p.text)
	}
	p.exts = append(p.exts, x)
	return true
}

// extensionNull marks a name that was there with null: absent, but not to be repeated.
const extensionNull ExtensionKind = 0xff

// finish checks what was read and fills in e.
func (p *eventParser) finish(e *Event) {
	text := string(p.text)
	const required = 1<<attrSpecVersion | 1<<attrID | 1<<attrSource | 1<<attrType
	if p.present&required != required {
		for _, a := range [...]attr{attrSpecVersion, attrID, attrSource, attrType} {
			if p.present&(1<<a) == 0 {
				p.fault(nameOf(a), "is required")
			}
		}
	}
	for a := range attrTexts {
		if p.present&(1<<a) == 0 {
			continue
		}
		v := text[p.values[a].start:p.values[a].end]
		if why := badAttr(a, v, p.odd); why != "" {
			p.fault(nameOf(a), why)
			continue
		}
		e.setText(a, v)
	}
	e.Meta.Hops = p.hops
	n := 0
	for _, x := range p.exts {
		if x.kind != extensionNull {
			n++
		}
	}
	if n > 0 {
		e.Extensions = make([]Extension, 0, n)
	}
	for _, x := range p.exts {
		if x.kind == extensionNull {
			continue
		}
		v := text[x.value.start:x.value.end]
		if why := badText(v, p.odd); why != "" {
			p.fault(text[x.name.start:x.name.end], why)
		}
		e.Extensions = append(e.Extensions, Extension{Name: text[x.name.start:x.name.end], Value: v, Kind: x.kind})
	}
	p.payload(e)
}

// payload resolves data and data_base64, for which the content type must be known.
func (p *eventParser) payload(e *Event) {
	if p.present&(1<<attrDataBase64) != 0 {
		if p.present&(1<<attrData) != 0 && string(p.data) != "null" {
			p.fault("data_base64", "cannot be there together with data")
			return
		}
		e.Encoding = DataBinary
		e.Data = make([]byte, base64.StdEncoding.DecodedLen(len(p.base64)))
		n, err := base64.StdEncoding.Strict().Decode(e.Data, p.base64)
		if err != nil {
			p.fault("data_base64", "is not base64 (RFC 4648, section 4)")
		}
		e.Data = e.Data[:n]
		return
	}
	if p.present&(1<<attrData) == 0 {
		return
	}
	e.Data, e.Encoding = p.data, DataJSON
	if p.data[0] != '"' || IsJSON(e.DataContentType) {
		return
	}
	e.Data, e.Encoding = p.data[1:len(p.data)-1], DataText
	for _, c := range e.Data {
		if c == '\\' {
			var ok bool
			if e.Data, ok = unescape(make([]byte, 0, len(e.Data)), e.Data); !ok {
				p.fault("data", "has half of a surrogate pair")
			}
			return
		}
	}
}
