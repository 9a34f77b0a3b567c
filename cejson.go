package tandem

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// ParseEventJSON reads one event in the JSON format of CloudEvents 1.0 (structured mode). Data is kept byte for byte:
// the Event shares b, which must not change afterwards. Attributes that are null count as absent. The syntax of URIs is
// not checked.
//
// Code: Invalid. Malformed JSON is reported with its byte offset, wrong attributes in Fields with their JSON pointers.
func ParseEventJSON(b []byte) (Event, error) {
	return parseEventJSON(b, false)
}

// ParsePartialEventJSON is ParseEventJSON for an event that somebody else completes: the attributes that CloudEvents requires may be
// absent.
func ParsePartialEventJSON(b []byte) (Event, error) {
	return parseEventJSON(b, true)
}

func parseEventJSON(b []byte, partial bool) (Event, error) {
	var e Event
	p := eventParser{jsonScanner: jsonScanner{b: b}, partial: partial}
	p.space()
	if !p.event(&e, 0) || !p.end() {
		return Event{}, p.err()
	}
	if p.bad != nil {
		return Event{}, p.bad
	}
	return e, nil
}

// eventParser reads events one after the other. It notes where texts lie in the input and makes one string of them in
// the end. Nothing in it points to memory of its own, so that it can live on the stack.
type eventParser struct {
	jsonScanner
	seen, present uint32 // sets of attr; present ones are not null
	odd           bool   // some text is not plain ASCII
	partial       bool   // nothing is required
	hops          int
	values        [attrTexts]jsonString
	data, base64  []byte
	bad           *Error // faults of attributes

	exts     [8]extRange // the first extensions
	moreExts []extRange  // and the rest
	extCount int
	links    int // of them are AttrLinks, which does not count
}

type extRange struct {
	name, value jsonString
	kind        ExtensionKind
}

// extensionNull marks a name that was there with null: absent, but not to be repeated.
const extensionNull ExtensionKind = 0xff

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

// faulty reports whether a member has a fault already: one that is there with a wrong type is not missing.
func (p *eventParser) faulty(name string) bool {
	return p.bad != nil && slices.ContainsFunc(p.bad.Fields, func(f FieldError) bool { return f.Pointer == "/"+name })
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
	p.data, p.base64, p.moreExts, p.extCount, p.links = nil, nil, p.moreExts[:0], 0, 0
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
		return p.extension(s, name, depth)
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
	p.odd = p.odd || !s.plain
	switch a {
	case attrSpecVersion:
		if !p.same(s, "1.0") {
			p.fault("specversion", `must be "1.0"`)
		}
	case attrHops: // libraries that treat extensions as text
		p.setHops(p.b[s.start:s.end])
	default:
		p.values[a] = s
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

// extension reads an extension attribute.
func (p *eventParser) extension(s jsonString, name []byte, depth int) bool {
	if !validName(name) {
		p.fault(string(name), "is not an attribute: names are 1 to 64 of a-z and 0-9")
		return p.value(depth)
	}
	for i := range p.extCount {
		if p.same(p.ext(i).name, string(name)) {
			p.fault(string(name), "is there twice")
			return p.value(depth)
		}
	}
	if string(name) == AttrLinks {
		p.links = 1
	} else if p.extCount-p.links == MaxExtensions {
		p.fault(string(name), "is one too many: an event has at most 64 extension attributes")
		return p.value(depth)
	}
	x := extRange{name: s}
	var ok bool
	from := p.i
	switch c := p.peek(); c {
	case '"':
		x.value, ok = p.string()
		p.odd = p.odd || !x.value.plain
	case 'n':
		x.kind = extensionNull
		ok = p.literal("null")
	case '{', '[':
		p.fault(string(name), "must be a string, an integer or a boolean")
		return p.value(depth)
	case 't', 'f':
		x.kind = ExtensionBoolean
		ok = p.value(depth)
		x.value = jsonString{start: from, end: p.i}
	default:
		x.kind = ExtensionInteger
		if ok = p.value(depth); !ok {
			break
		}
		if n, err := strconv.ParseInt(string(p.b[from:p.i]), 10, 32); err != nil {
			p.fault(string(name), "must be an integer from -2147483648 to 2147483647, a string or a boolean")
		} else if n == 0 {
			from = p.i - 1 // -0 is 0
		}
		x.value = jsonString{start: from, end: p.i}
	}
	if !ok {
		return false
	}
	if p.extCount < len(p.exts) {
		p.exts[p.extCount] = x
	} else {
		p.moreExts = append(p.moreExts, x)
	}
	p.extCount++
	return true
}

func (p *eventParser) ext(i int) *extRange {
	if i < len(p.exts) {
		return &p.exts[i]
	}
	return &p.moreExts[i-len(p.exts)]
}

// appendText appends the text of a scanned string.
func (p *eventParser) appendText(dst []byte, s jsonString) ([]byte, bool) {
	if s.escaped {
		return unescape(dst, p.b[s.start:s.end])
	}
	return append(dst, p.b[s.start:s.end]...), true
}

const badSurrogate = "has half of a surrogate pair"

// finish checks what was read and fills in e.
func (p *eventParser) finish(e *Event) {
	for _, a := range [...]attr{attrSpecVersion, attrID, attrSource, attrType} {
		if p.present&(1<<a) == 0 && !p.partial && !p.faulty(nameOf(a)) {
			p.fault(nameOf(a), "is required")
		}
	}
	var space [512]byte
	buf := space[:0]
	var ok bool
	var ends [attrTexts]int
	for a := range attrTexts {
		if p.present&(1<<a) != 0 {
			if buf, ok = p.appendText(buf, p.values[a]); !ok {
				p.fault(nameOf(a), badSurrogate)
			}
		}
		ends[a] = len(buf)
	}
	present := 0
	for i := range p.extCount {
		x := p.ext(i)
		if x.kind == extensionNull {
			continue
		}
		present++
		from := len(buf)
		buf, _ = p.appendText(buf, x.name)
		x.name.start, x.name.end = from, len(buf)
		from = len(buf)
		if buf, ok = p.appendText(buf, x.value); !ok {
			p.fault(string(buf[x.name.start:x.name.end]), badSurrogate)
		}
		x.value.start, x.value.end = from, len(buf)
	}

	text, start := string(buf), 0
	for a := range attrTexts {
		if p.present&(1<<a) != 0 {
			v := text[start:ends[a]]
			if why := badAttr(a, v, p.odd); why != "" {
				p.fault(nameOf(a), why)
			} else {
				e.setText(a, v)
			}
		}
		start = ends[a]
	}
	e.Meta.Hops = p.hops
	if present > 0 {
		e.Extensions = make([]Extension, 0, present)
	}
	for i := range p.extCount {
		if x := p.ext(i); x.kind != extensionNull {
			name, v := text[x.name.start:x.name.end], text[x.value.start:x.value.end]
			if why := badText(v, p.odd); why != "" {
				p.fault(name, why)
			}
			e.Extensions = append(e.Extensions, Extension{Name: name, Value: v, Kind: x.kind})
		}
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
				p.fault("data", badSurrogate)
			}
			return
		}
	}
}
