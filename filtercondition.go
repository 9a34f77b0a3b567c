package tandem

import (
	"strings"
	"unicode/utf8"
)

// Condition is the compiled text of sql or cel. It is safe for concurrent use.
type Condition interface {
	// Match reports whether an event meets the condition. It keeps no reference to the event. What cannot be judged, because
	// an attribute or a member of the data is missing or of another type, does not match.
	Match(e *Event) bool
	// Bounds returns what every event that it matches has, as Filter.Bounds does.
	Bounds() []Bound
	// Clause returns the first part of the condition that an event does not meet, or all of it if it meets it, and what that part looks at.
	Clause(e *Event) FilterClause
}

// Bind returns f with its conditions compiled: compile gets "sql" or "cel" and the text, and its errors say where in the text
// they are. What is bound already stays. A nil compile refuses conditions.
//
// Codes: that of compile's error, with the pointer of the condition in Fields; Unsupported without compile.
func (f Filter) Bind(compile func(dialect, text string) (Condition, error)) (Filter, error) {
	if f.root == nil || !f.root.unbound {
		return f, nil
	}
	root, err := f.root.bind(compile)
	if err != nil {
		return Filter{}, err
	}
	return Filter{root}, nil
}

func (n *filterNode) bind(compile func(dialect, text string) (Condition, error)) (*filterNode, error) {
	if !n.unbound {
		return n, nil
	}
	c := *n
	c.unbound, c.kids = false, nil
	for _, k := range n.kids {
		kid, err := k.bind(compile)
		if err != nil {
			return nil, err
		}
		c.add(kid)
	}
	if n.op != opSQL && n.op != opCEL {
		return &c, nil
	}
	if compile == nil {
		return nil, Errorf(CodeUnsupported, "not a valid filter").WithField(n.at, "is a dialect that is not available here")
	}
	var err error
	if c.cond, err = compile(filterOps[n.op], n.value); err != nil {
		return nil, Errorf(CodeOf(err), "not a valid filter").WithField(n.at, "%s", ProblemOf(err).Detail)
	}
	return &c, nil
}

func (n *filterNode) add(kid *filterNode) {
	n.kids = append(n.kids, kid)
	n.unbound = n.unbound || kid.unbound
}

// condition takes the text of sql or cel.
func (c *filterCompiler) condition(op filterOp, v any, at string, depth int) (*filterNode, error) {
	n, err := c.node(op, at, depth)
	if err != nil {
		return nil, err
	}
	text, ok := v.(string)
	switch {
	case !ok:
		return nil, badFilter(at, "must be a string")
	case strings.TrimSpace(text) == "":
		return nil, badFilter(at, "must not be empty")
	case len(text) > MaxConditionBytes:
		return nil, badFilter(at, "is longer than %d bytes", MaxConditionBytes)
	case !utf8.ValidString(text):
		return nil, badFilter(at, "is not UTF-8")
	}
	n.value, n.at, n.unbound = text, at, true
	return n, c.another(at)
}

func (c *filterCompiler) another(at string) error {
	if c.conditions++; c.conditions > MaxConditions {
		return badFilter(at, "is one too many: a filter has at most %d conditions", MaxConditions)
	}
	return nil
}

// count checks the limits of a filter that was put together.
func (c *filterCompiler) count(n *filterNode, depth int) error {
	if _, err := c.node(n.op, n.at, depth); err != nil {
		return err
	}
	if n.op == opSQL || n.op == opCEL {
		return c.another(n.at)
	}
	for _, k := range n.kids {
		if err := c.count(k, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// unexpanded refuses a condition that names a placeholder, which would stay as it is.
func (n *filterNode) unexpanded(vars func(string) (string, bool)) error {
	rest := n.value
	for {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return nil
		}
		name, _, _ := strings.Cut(after, "}")
		if validPlaceholder(name) {
			if _, known := vars(name); known {
				return badFilter(n.at, "names {%s}, which a condition cannot take: put it beside, as in {\"subject\": \"{%s}\", \"%s\": …}", name, name, filterOps[n.op])
			}
		}
		rest = after
	}
}
