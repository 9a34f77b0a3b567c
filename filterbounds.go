package tandem

import (
	"maps"
	"slices"
	"strings"
)

// Bound is what an event must have for a filter to match: the attribute, with one of Values, or with a text that begins with
// one of them. Without Values nothing matches.
type Bound struct {
	Attribute string
	Prefix    bool
	Values    []string
}

// Bounds returns what every event that f matches has: at most one Bound for an attribute, in the order of their names. An
// index of filters looks events up by them. Conditions tell theirs once they are bound. The result is the caller's.
func (f Filter) Bounds() []Bound {
	if f.root == nil {
		return nil
	}
	all := f.root.bounds()
	var list []Bound
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b := all[name]
		slices.Sort(b.Values)
		b.Values = slices.Compact(b.Values)
		list = append(list, b)
	}
	return list
}

type bounds map[string]Bound // by attribute

func (n *filterNode) bounds() bounds {
	switch n.op {
	case opExact, opPrefix:
		if n.attr == attrCause {
			return nil // several causes can match at once, so one value bounds nothing
		}
		return bounds{n.name: {n.name, n.op == opPrefix, []string{n.value}}}
	case opAll:
		all := bounds{}
		for _, k := range n.kids {
			for name, b := range k.bounds() {
				if old, ok := all[name]; ok {
					b = narrower(old, b)
				}
				all[name] = b
			}
		}
		return all
	case opAny:
		all := n.kids[0].bounds()
		for _, k := range n.kids[1:] {
			more := k.bounds()
			for name, b := range all {
				other, ok := more[name]
				if !ok {
					delete(all, name)
					continue
				}
				all[name] = Bound{name, b.Prefix || other.Prefix, append(b.Values, other.Values...)}
			}
		}
		return all
	case opSQL, opCEL:
		if n.cond == nil {
			return nil
		}
		all := bounds{}
		for _, b := range n.cond.Bounds() {
			b.Values = slices.Clone(b.Values)
			all[b.Attribute] = b
		}
		return all
	}
	return nil
}

// narrower returns a bound for what has both.
func narrower(a, b Bound) Bound {
	switch {
	case a.Prefix && b.Prefix:
		if len(b.Values) < len(a.Values) {
			return b
		}
		return a
	case a.Prefix:
		a, b = b, a
	}
	a.Values = slices.DeleteFunc(a.Values, func(s string) bool {
		return !slices.ContainsFunc(b.Values, func(v string) bool { return s == v || b.Prefix && strings.HasPrefix(s, v) })
	})
	return a
}
