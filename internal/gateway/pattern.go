package gateway

import (
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// maxParams is how many placeholders a pattern may have.
const maxParams = 16

// pattern is a parsed Route.Match.
type pattern struct {
	text    string
	methods []string // nil for every method
	segs    []segment
	names   []string // of the placeholders, in order
}

// segment is literal text, {name}, or {name...}.
type segment struct {
	kind segmentKind
	text string // the literal, decoded; or the name
}

type segmentKind uint8

// Kinds of segments, the most specific first.
const (
	literal segmentKind = iota
	one
	tail
)

func parsePattern(text string) (p pattern, err error) {
	p.text = text
	path := text
	if methods, rest, ok := strings.Cut(text, " "); ok {
		path = strings.TrimLeft(rest, " ")
		for m := range strings.SplitSeq(methods, ",") {
			if m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
				return p, invalid("%q is not a method: write \"GET /path\" or \"PUT,PATCH /path\"", m)
			}
			if slices.Contains(p.methods, m) {
				return p, invalid("method %s is there twice", m)
			}
			p.methods = append(p.methods, m)
		}
	}
	if !strings.HasPrefix(path, "/") {
		return p, invalid("%q is not a path that begins with /", path)
	}
	if i := strings.IndexAny(path, " \t?#%\\"); i >= 0 {
		return p, invalid("a path is written without %q: text as it is, not percent-encoded", path[i])
	}
	parts := strings.Split(path[1:], "/")
	for i, part := range parts {
		last := i == len(parts)-1
		name, braces := strings.CutPrefix(part, "{")
		switch {
		case braces && strings.HasSuffix(name, "...}"):
			if !last {
				return p, invalid("%s must be the last segment", part)
			}
			err = p.placeholder(tail, strings.TrimSuffix(name, "...}"))
		case braces && strings.HasSuffix(name, "}"):
			err = p.placeholder(one, strings.TrimSuffix(name, "}"))
		case strings.ContainsAny(part, "{}"):
			return p, invalid("%q: a placeholder is a whole segment", part)
		case part == "" && !last:
			return p, invalid("the path has an empty segment")
		case part == "." || part == "..":
			return p, invalid("the path has a segment %s", part)
		default:
			p.segs = append(p.segs, segment{literal, part})
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *pattern) placeholder(kind segmentKind, name string) error {
	switch {
	case !validName(name):
		return invalid("%q does not name a placeholder: use letters, digits and _", name)
	case slices.Contains(p.names, name):
		return invalid("placeholder {%s} is there twice", name)
	case len(p.names) == maxParams:
		return invalid("a path has at most %d placeholders", maxParams)
	}
	p.names = append(p.names, name)
	p.segs = append(p.segs, segment{kind, name})
	return nil
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}

// allows reports whether the pattern names the method, or every method.
func (p *pattern) allows(method string) bool {
	return p.methods == nil || slices.Contains(p.methods, method)
}

// relation is how the paths of two patterns relate.
type relation uint8

const (
	disjoint  relation = iota
	same               // they match the same paths
	narrower           // the first matches fewer, all of which the second matches
	wider              // the other way round
	ambiguous          // some paths match both, and neither is narrower
)

// relate compares segment by segment.
func (p *pattern) relate(q *pattern) relation {
	narrow, wide := false, false
	for i := 0; ; i++ {
		pEnd, qEnd := i == len(p.segs), i == len(q.segs)
		if pEnd || qEnd {
			if pEnd != qEnd {
				return disjoint
			}
			break
		}
		a, b := p.segs[i], q.segs[i]
		if a.kind == literal && b.kind == literal && a.text != b.text ||
			a.kind == literal && a.text == "" && b.kind == one || // {name} is never empty
			b.kind == literal && b.text == "" && a.kind == one {
			return disjoint
		}
		narrow = narrow || a.kind < b.kind
		wide = wide || a.kind > b.kind
		if a.kind == tail || b.kind == tail {
			break // it takes whatever follows
		}
	}
	switch {
	case narrow && wide:
		return ambiguous
	case narrow:
		return narrower
	case wide:
		return wider
	}
	return same
}

// conflict reports whether some request matches both patterns and neither is the more specific one. The path decides
// first; of two with the same path, the one that names its methods is more specific than the one for every method.
func (p *pattern) conflict(q *pattern) bool {
	common := p.methods == nil || q.methods == nil
	named := p.methods == nil && q.methods == nil
	for _, m := range p.methods {
		if slices.Contains(q.methods, m) {
			common, named = true, true
		}
	}
	if !common {
		return false
	}
	switch p.relate(q) {
	case ambiguous:
		return true
	case same:
		return named
	}
	return false
}

func invalid(format string, args ...any) *tandem.Error {
	return tandem.Errorf(tandem.CodeInvalid, format, args...)
}
