package tandem

import (
	"slices"
	"strconv"
	"strings"
)

// Filter is a compiled CloudEvents filter (CloudEvents Subscriptions 1.0, section 3.2.4): the dialects exact, prefix,
// suffix, all, any and not. The zero Filter matches every event. Filters are immutable and safe for concurrent use.
//
// An attribute that an event does not have matches no exact, prefix or suffix. tandemcause matches when any of its
// references does.
type Filter struct{ root *filterNode }

// Limits of a filter.
const (
	MaxFilterDepth = 16
	MaxFilterNodes = 256
)

type filterOp uint8

const (
	opExact filterOp = iota
	opPrefix
	opSuffix
	opAll
	opAny
	opNot
)

var filterOps = [...]string{opExact: "exact", opPrefix: "prefix", opSuffix: "suffix", opAll: "all", opAny: "any", opNot: "not"}

// filterNode is a test of one attribute (exact, prefix, suffix) or a combination of kids.
type filterNode struct {
	op    filterOp
	attr  attr
	name  string
	value string
	kids  []*filterNode
}

// IsZero reports whether f is the zero Filter, which matches everything.
func (f Filter) IsZero() bool { return f.root == nil }

// Match reports whether an event passes the filter. It does not allocate.
func (f Filter) Match(e *Event) bool { return f.root == nil || f.root.match(e) }

func (n *filterNode) match(e *Event) bool {
	switch n.op {
	case opAll:
		for _, k := range n.kids {
			if !k.match(e) {
				return false
			}
		}
		return true
	case opAny:
		for _, k := range n.kids {
			if k.match(e) {
				return true
			}
		}
		return false
	case opNot:
		return !n.kids[0].match(e)
	}
	switch n.attr {
	case attrExtension:
		v, ok := e.Extension(n.name)
		return ok && n.test(v)
	case attrCause:
		return slices.ContainsFunc(e.Meta.Causes, n.test)
	case attrHops:
		var buf [20]byte
		return e.Meta.Hops != 0 && n.test(string(strconv.AppendInt(buf[:0], int64(e.Meta.Hops), 10)))
	}
	v := e.text(n.attr)
	return v != "" && n.test(v)
}

func (n *filterNode) test(v string) bool {
	switch n.op {
	case opExact:
		return v == n.value
	case opPrefix:
		return strings.HasPrefix(v, n.value)
	default:
		return strings.HasSuffix(v, n.value)
	}
}

// Exact returns the values that an attribute must have one of for the filter to match, sorted, and whether there is
// such a bound; no values with ok mean that the filter matches nothing. An index of filters looks events up by them.
func (f Filter) Exact(attribute string) (values []string, ok bool) {
	if f.root == nil || attribute == AttrCause {
		return nil, false // several causes can match at once, so one value bounds nothing
	}
	return f.root.exact(attribute)
}

func (n *filterNode) exact(attribute string) (values []string, ok bool) {
	switch n.op {
	case opExact:
		if n.name != attribute {
			return nil, false
		}
		return []string{n.value}, true
	case opAll:
		for _, k := range n.kids {
			v, bound := k.exact(attribute)
			switch {
			case !bound:
			case !ok:
				values, ok = v, true
			default:
				values = slices.DeleteFunc(values, func(s string) bool { return !slices.Contains(v, s) })
			}
		}
		return values, ok
	case opAny:
		for _, k := range n.kids {
			v, bound := k.exact(attribute)
			if !bound {
				return nil, false
			}
			values = append(values, v...)
		}
		slices.Sort(values)
		return slices.Compact(values), true
	}
	return nil, false
}

// Expand returns f with each {name} in its values replaced by vars(name), as stream routes do with the parts of a path.
// Braces around anything but letters, digits and underscores stay as they are. Code: Invalid, when vars does not
// know a name or a value becomes empty or too long.
func (f Filter) Expand(vars func(name string) (string, bool)) (Filter, error) {
	if f.root == nil {
		return f, nil
	}
	root, err := f.root.expand(vars)
	if err != nil {
		return Filter{}, err
	}
	return Filter{root}, nil
}

func (n *filterNode) expand(vars func(string) (string, bool)) (*filterNode, error) {
	c := *n
	if n.op >= opAll {
		c.kids = make([]*filterNode, len(n.kids))
		for i, k := range n.kids {
			var err error
			if c.kids[i], err = k.expand(vars); err != nil {
				return nil, err
			}
		}
		return &c, nil
	}
	var b strings.Builder
	rest := n.value
	for {
		before, after, ok := strings.Cut(rest, "{")
		name, tail, closed := strings.Cut(after, "}")
		if !ok || !closed {
			b.WriteString(rest)
			break
		}
		b.WriteString(before)
		if !validPlaceholder(name) {
			b.WriteByte('{')
			rest = after
			continue
		}
		v, known := vars(name)
		if !known {
			return nil, Errorf(CodeInvalid, "the filter's value %q for %s names {%s}, which is not defined", n.value, n.name, name)
		}
		b.WriteString(v)
		rest = tail
	}
	if c.value = b.String(); c.value == "" {
		return nil, Errorf(CodeInvalid, "the filter's value %q for %s is empty", n.value, n.name)
	}
	if why := badText(c.value, true); why != "" {
		return nil, Errorf(CodeInvalid, "the filter's value for %s %s", n.name, why)
	}
	return &c, nil
}

func validPlaceholder(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return name != ""
}
