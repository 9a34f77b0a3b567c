package tandem

import (
	"strconv"
	"strings"
)

// DataField returns the text of a string, number or boolean in an event's JSON data, and whether it is there. path is
// the names of members, and indexes of arrays, separated by dots, below the data itself: "vehicleId",
// "items.0.sku". Numbers come as they were sent. The first of repeated members counts. It reads no further than to the value.
func DataField(e *Event, path string) (string, bool) {
	if encodingOf(e) != DataJSON {
		return "", false
	}
	s := jsonScanner{b: e.Data}
	s.space()
	for more := path != ""; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		if !s.enter(name) {
			return "", false
		}
	}
	from := s.i
	switch s.peek() {
	case '{', '[', 'n':
		return "", false
	case '"':
		str, ok := s.string()
		if !ok {
			return "", false
		}
		raw := e.Data[str.start:str.end]
		if str.escaped {
			raw, ok = unescape(nil, raw)
		}
		return string(raw), ok
	}
	if !s.value(0) {
		return "", false
	}
	return string(e.Data[from:s.i]), true
}

// enter moves from the start of an object or array to the start of the value under name.
func (s *jsonScanner) enter(name string) bool {
	found := false
	switch s.peek() {
	case '{':
		s.object(0, func(n jsonString) bool {
			found = s.same(n, name)
			return !found && s.value(1)
		})
	case '[':
		if index, err := strconv.Atoi(name); err == nil {
			s.array(0, func(i int) bool {
				found = i == index
				return !found && s.value(1)
			})
		}
	}
	return found
}

// same reports whether the text of a scanned string is want.
func (s *jsonScanner) same(n jsonString, want string) bool {
	raw := s.b[n.start:n.end]
	if n.escaped {
		raw, _ = unescape(nil, raw)
	}
	return string(raw) == want
}
