package tandem

import (
	"slices"
	"strconv"
	"strings"
)

// Filter is a compiled CloudEvents filter (CloudEvents Subscriptions 1.0, section 3.2.4): the dialects exact, prefix,
// suffix, all, any, not and sql, and cel, a condition that sees the data, too. The zero Filter matches every event. Filters are
// immutable and safe for concurrent use.
//
// An attribute that an event does not have matches no exact, prefix or suffix. tandemcause matches when any of its
// references does. A filter with sql or cel must be bound before it can be used: until then it matches nothing.
type Filter struct{ root *filterNode }

// Limits of a filter.
const (
	MaxFilterDepth    = 16
	MaxFilterNodes    = 256
	MaxConditions     = 16   // sql and cel in one filter
	MaxConditionBytes = 4096 // the text of one
)

type filterOp uint8

const (
	opExact filterOp = iota
	opPrefix
	opSuffix
	opAll
	opAny
	opNot
	opSQL
	opCEL
)

var filterOps = [...]string{opExact: "exact", opPrefix: "prefix", opSuffix: "suffix", opAll: "all", opAny: "any", opNot: "not",
	opSQL: "sql", opCEL: "cel"}

// filterNode is a test of one attribute (exact, prefix, suffix), a combination of kids, or a condition (sql, cel).
type filterNode struct {
	op    filterOp
	attr  attr
	name  string
	value string // or the text of a condition
	kids  []*filterNode

	cond    Condition // nil until bound
	at      string    // of a condition: the JSON pointer that it was read at
	unbound bool      // there is a condition here or below that is not bound
}

// IsZero reports whether f is the zero Filter, which matches everything.
func (f Filter) IsZero() bool { return f.root == nil }

// Conditional reports whether f has conditions (sql, cel): others cost next to nothing.
func (f Filter) Conditional() bool { return f.root != nil && f.root.conditional() }

func (n *filterNode) conditional() bool {
	return n.op == opSQL || n.op == opCEL || slices.ContainsFunc(n.kids, (*filterNode).conditional)
}

// Match reports whether an event passes the filter. It does not allocate.
//
// The exceptions are conditions: cel allocates.
func (f Filter) Match(e *Event) bool { return f.root == nil || !f.root.unbound && f.root.match(e) }

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
	case opSQL, opCEL:
		return n.cond.Match(e)
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

// AllOf returns the filter that matches what all of filters match. Code: Invalid, when it is too large.
func AllOf(filters ...Filter) (Filter, error) {
	all := &filterNode{op: opAll}
	for _, f := range filters {
		switch {
		case f.root == nil:
		case f.root.op == opAll:
			for _, k := range f.root.kids {
				all.add(k)
			}
		default:
			all.add(f.root)
		}
	}
	switch len(all.kids) {
	case 0:
		return Filter{}, nil
	case 1:
		all = all.kids[0]
	}
	var c filterCompiler
	if err := c.count(all, 1); err != nil {
		return Filter{}, err
	}
	return Filter{all}, nil
}

// Expand returns f with each {name} in its values replaced by vars(name), as stream routes do with the parts of a path.
// Braces around anything but letters, digits and underscores stay as they are. The text of a condition is never changed,
// since whoever chooses the value could change what the text means. Code: Invalid, when vars does not
// know a name or a value becomes empty or too long, or when a condition names what vars knows.
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
	switch n.op {
	case opSQL, opCEL:
		return n, n.unexpanded(vars)
	case opAll, opAny, opNot:
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
