package tandem

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is told of a clause.
const (
	maxClauseBytes = 300
	maxSeen        = 8
	maxSeenBytes   = 64
)

// FilterClause is a part of a filter that is false for an event.
type FilterClause struct {
	Dialect string      `json:"dialect,omitempty"` // sql or cel; empty: Text is a filter in JSON
	Text    string      `json:"text"`              // at most 300 bytes
	Saw     []SeenValue `json:"saw,omitempty"`     // what the event has of what it looks at, at most eight
	Fault   string      `json:"fault,omitempty"`   // why it could not be judged, which is as good as false
}

// SeenValue is an attribute, or a value of the data, as a clause saw it.
type SeenValue struct {
	Name    string `json:"name"`            // of an attribute, or a path such as data.total
	Value   string `json:"value,omitempty"` // at most 64 bytes
	Missing bool   `json:"missing,omitempty"`
	Hidden  bool   `json:"hidden,omitempty"` // it is there and not shown: it could be a secret, or is no text, number or boolean
}

// String says it within a sentence: type is "a", color is not there, token is not shown.
func (v SeenValue) String() string {
	switch {
	case v.Missing:
		return v.Name + " is not there"
	case v.Hidden:
		return v.Name + " is not shown"
	}
	return fmt.Sprintf("%s is %q", v.Name, v.Value)
}

// Saw returns what a clause saw. A value is hidden when its name sounds like a secret, or when it looks like one: twenty letters and digits in a row.
func Saw(name, value string) SeenValue {
	if maySecret(name) || looksSecret(value) {
		return SeenValue{Name: name, Hidden: true}
	}
	return SeenValue{Name: name, Value: cut(value, maxSeenBytes)}
}

// maySecret reports whether values of a name are secrets more often than not.
func maySecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "cookie", "credential", "key", "pass", "secret", "token"},
		func(part string) bool { return strings.Contains(name, part) })
}

// looksSecret reports whether a text has twenty letters and digits in a row, a digit among them. A UUID has not.
func looksSecret(value string) bool {
	run, digit := 0, false
	for _, c := range []byte(value) {
		switch {
		case c >= '0' && c <= '9':
			digit = true
		case (c|0x20) < 'a' || (c|0x20) > 'z':
			run, digit = 0, false
			continue
		}
		if run++; run >= 20 && digit {
			return true
		}
	}
	return false
}

// cut returns at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= n {
		return s
	}
	const dots = "…"
	return strings.ToValidUTF8(s[:n-len(dots)], "") + dots
}

// Clause returns the first part of f that is false for an event, nil when f matches it: of all the first filter that does not match, of a condition the
// first of its parts that are bound by AND or &&.
func (f Filter) Clause(e *Event) *FilterClause {
	if f.Match(e) {
		return nil
	}
	c := f.root.clause(e)
	c.Text = cut(c.Text, maxClauseBytes)
	c.Saw = c.Saw[:min(len(c.Saw), maxSeen)]
	return &c
}

func (n *filterNode) clause(e *Event) FilterClause {
	switch {
	case n.unbound:
		return FilterClause{Text: string(n.appendJSON(nil)), Fault: "a condition in it cannot be compiled any more"}
	case n.op == opAll:
		return n.kids[slices.IndexFunc(n.kids, func(k *filterNode) bool { return !k.match(e) })].clause(e)
	case n.cond != nil:
		c := n.cond.Clause(e)
		c.Dialect = filterOps[n.op]
		return c
	}
	c := FilterClause{Text: string(n.appendJSON(nil))}
	n.see(e, &c)
	return c
}

// see adds what the tests and conditions of a filter look at.
func (n *filterNode) see(e *Event, c *FilterClause) {
	var saw []SeenValue
	switch {
	case n.cond != nil:
		saw = n.cond.Clause(e).Saw
	case len(n.kids) > 0:
		for _, k := range n.kids {
			k.see(e, c)
		}
	default:
		saw = []SeenValue{SawAttribute(e, n.name)}
	}
	for _, v := range saw {
		if !slices.ContainsFunc(c.Saw, func(o SeenValue) bool { return o.Name == v.Name }) {
			c.Saw = append(c.Saw, v)
		}
	}
}

// SawAttribute is Saw for an attribute of an event.
func SawAttribute(e *Event, name string) SeenValue {
	value, ok := e.Attribute(name)
	if !ok {
		return SeenValue{Name: name, Missing: true}
	}
	return Saw(name, value)
}
