package tandem

import (
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds nesting, so that hostile input cannot exhaust the stack.
const maxJSONDepth = 1000

// jsonScanner walks over JSON text (RFC 8259) without decoding it. It is stricter than encoding/json: strings must be
// UTF-8. A method that returns false has said why in what and where in i.
type jsonScanner struct {
	b    []byte
	i    int
	what string
}

// jsonString is the text between the quotes of a string, as a range of the input.
type jsonString struct {
	start, end int
	escaped    bool // has escapes
	plain      bool // printable ASCII without escapes
}

func (s *jsonScanner) fail(what string) bool {
	if s.i >= len(s.b) {
		what = "unexpected end"
	}
	s.what = what
	return false
}

func (s *jsonScanner) err() *Error {
	return Errorf(CodeInvalid, "malformed JSON at byte %d: %s", s.i, s.what)
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *jsonScanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *jsonScanner) expect(c byte, what string) bool {
	if s.i >= len(s.b) || s.b[s.i] != c {
		return s.fail(what)
	}
	s.i++
	return true
}

// end skips white space and reports whether that was all.
func (s *jsonScanner) end() bool {
	s.space()
	if s.i < len(s.b) {
		return s.fail("text after the value")
	}
	return true
}

func (s *jsonScanner) string() (jsonString, bool) {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return jsonString{}, s.fail("expected a string")
	}
	b, i := s.b, s.i+1
	r := jsonString{start: i, plain: true}
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			r.end, s.i = i, i+1
			return r, true
		case c == '\\':
			r.escaped, r.plain = true, false
			n := escapeLen(b[i:])
			if n == 0 {
				s.i = i
				return r, s.fail("invalid escape")
			}
			i += n
		case c < 0x20:
			s.i = i
			return r, s.fail("control character in a string")
		case c < 0x7f:
			i++
		case c == 0x7f:
			r.plain = false
			i++
		default:
			r.plain = false
			u, n := utf8.DecodeRune(b[i:])
			if u == utf8.RuneError && n == 1 {
				s.i = i
				return r, s.fail("invalid UTF-8")
			}
			i += n
		}
	}
	s.i = i
	return r, s.fail("unterminated string")
}

// escapeLen returns the length of the escape sequence that b begins with, 0 for none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		d, ok := unhex(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unescape appends the text of a scanned string to dst. It fails only at a surrogate without its other half.
func unescape(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				if len(raw)-i < 6 || raw[i] != '\\' || raw[i+1] != 'u' {
					return dst, false
				}
				low, _ := hex4(raw[i+2:])
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return dst, false
				}
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, true
}

func (s *jsonScanner) number() bool {
	if s.peek() == '-' {
		s.i++
	}
	switch c := s.peek(); {
	case c == '0':
		s.i++
	case c >= '1' && c <= '9':
		s.digits()
	default:
		return s.fail("invalid number")
	}
	if s.peek() == '.' {
		s.i++
		if !s.digits() {
			return s.fail("invalid number")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return s.fail("invalid number")
		}
	}
	return true
}

func (s *jsonScanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

func (s *jsonScanner) literal(word string) bool {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.fail("expected a value")
	}
	s.i += len(word)
	return true
}

// value skips one value of any kind. depth is how many levels it lies in already.
func (s *jsonScanner) value(depth int) bool {
	switch c := s.peek(); c {
	case '"':
		_, ok := s.string()
		return ok
	case '{':
		return s.object(depth, nil)
	case '[':
		return s.array(depth, nil)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.number()
		}
		return s.fail("expected a value")
	}
}

// object walks over an object. For each member it calls fn, which must consume the value; a nil fn skips it.
func (s *jsonScanner) object(depth int, fn func(name jsonString) bool) bool {
	if depth >= maxJSONDepth {
		return s.fail("nested too deeply")
	}
	if !s.expect('{', "expected an object") {
		return false
	}
	s.space()
	if s.peek() == '}' {
		s.i++
		return true
	}
	for {
		name, ok := s.string()
		if !ok {
			return false
		}
		s.space()
		if !s.expect(':', "expected a colon") {
			return false
		}
		s.space()
		if fn == nil {
			ok = s.value(depth + 1)
		} else {
			ok = fn(name)
		}
		if !ok {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case '}':
			s.i++
			return true
		default:
			return s.fail("expected a comma or a closing brace")
		}
	}
}

// array walks over an array. For each element it calls fn, which must consume the value; a nil fn skips it.
func (s *jsonScanner) array(depth int, fn func(index int) bool) bool {
	if depth >= maxJSONDepth {
		return s.fail("nested too deeply")
	}
	if !s.expect('[', "expected an array") {
		return false
	}
	s.space()
	if s.peek() == ']' {
		s.i++
		return true
	}
	for n := 0; ; n++ {
		var ok bool
		if fn == nil {
			ok = s.value(depth + 1)
		} else {
			ok = fn(n)
		}
		if !ok {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case ']':
			s.i++
			return true
		default:
			return s.fail("expected a comma or a closing bracket")
		}
	}
}

// JSONValid reports whether b is one JSON value in UTF-8, nested at most 1000 deep. Unlike json.Valid it refuses
// strings that are not UTF-8.
func JSONValid(b []byte) bool {
	s := jsonScanner{b: b}
	s.space()
	return s.value(0) && s.end()
}
