package gateway

import (
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// value is a parsed rule of a route for the key or the subject of its events: "data.PATH", or text with {name} for a segment of the
// path and {principal} for who was authorized.
type value struct {
	rule  string
	data  string // PATH
	parts []valuePart
}

// valuePart is text, or the placeholder at an index of params.
type valuePart struct {
	text      string
	param     int // -1: none
	principal bool
}

func parseValue(rule string, p *pattern) (v value, err error) {
	v.rule = rule
	if path, ok := strings.CutPrefix(rule, "data."); ok {
		if path == "" {
			return v, invalid("data. needs the path of a member")
		}
		v.data = path
		return v, nil
	}
	for rest := rule; rest != ""; {
		text, after, open := strings.Cut(rest, "{")
		if text != "" {
			v.parts = append(v.parts, valuePart{text: text, param: -1})
		}
		if !open {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return v, invalid("%q has a { without its }", rule)
		}
		part := valuePart{param: -1}
		if i := indexOf(p.names, name); i >= 0 {
			part.param = i
		} else if name == "principal" {
			part.principal = true
		} else {
			return v, invalid("{%s} is not a placeholder of %s", name, p.text)
		}
		v.parts = append(v.parts, part)
		rest = tail
	}
	return v, nil
}

func indexOf(list []string, s string) int {
	for i := range list {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// of returns the text of the value for a request; "" for an empty rule. Code: Invalid, when the data do not have it.
func (v *value) of(x *exchange, ev *tandem.Event) (string, error) {
	if v.data != "" {
		s, ok := tandem.DataField(ev, v.data)
		if !ok || s == "" {
			pointer := "/" + strings.ReplaceAll(v.data, ".", "/")
			return "", invalid("the data lacks what this route needs").
				WithField(pointer, "must be there, a string, a number or a boolean")
		}
		return s, nil
	}
	var b strings.Builder
	for _, p := range v.parts {
		switch {
		case p.principal:
			b.WriteString(x.principal)
		case p.param >= 0:
			b.WriteString(x.params.v[p.param])
		default:
			b.WriteString(p.text)
		}
	}
	return b.String(), nil
}
