package condition

import "github.com/tandem-hybrid/tandem"

func (c *sqlCondition) Clause(e *tandem.Event) tandem.FilterClause {
	x, text := c.x, c.text
	v, err := evalAs(x, e, sqlBoolean)
	for err != nil || !v.b {
		l, ok := x.(*sqlLogic)
		if !ok || l.op != "AND" {
			break
		}
		for i := range l.kids {
			if v, err = evalAs(l.kids[i], e, sqlBoolean); err != nil || !v.b {
				x, text = l.kids[i], l.texts[i]
				break
			}
		}
	}
	out := tandem.FilterClause{Text: text}
	if err != nil {
		out.Fault = err.Error()
	}
	seen := map[string]bool{}
	sqlNames(x, func(name string) {
		if !seen[name] {
			seen[name] = true
			out.Saw = append(out.Saw, tandem.SawAttribute(e, name))
		}
	})
	return out
}

// sqlNames calls fn for the attributes that an expression names.
func sqlNames(x sqlExpr, fn func(string)) {
	all := func(list ...sqlExpr) {
		for _, x := range list {
			sqlNames(x, fn)
		}
	}
	switch x := x.(type) {
	case *sqlAttribute:
		fn(x.name)
	case *sqlExists:
		fn(x.name)
	case *sqlNot:
		all(x.x)
	case *sqlNegate:
		all(x.x)
	case *sqlLogic:
		all(x.kids...)
	case *sqlCompare:
		all(x.x, x.y)
	case *sqlMath:
		all(x.x, x.y)
	case *sqlLike:
		all(x.x)
	case *sqlIn:
		all(x.x)
		all(x.set...)
	case *sqlCall:
		all(x.args...)
	}
}
