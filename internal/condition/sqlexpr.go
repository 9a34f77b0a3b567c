package condition

import (
	"math"

	"github.com/tandem-hybrid/tandem"
)

// sqlExpr is an expression of CESQL. The evaluation ends with the first error.
type sqlExpr interface {
	eval(e *tandem.Event) (sqlValue, error)
	// implied is what every event has for which the expression is true, as implied.go says.
	implied() implied
}

// evalAs evaluates x and casts the value.
func evalAs(x sqlExpr, e *tandem.Event, t sqlType) (sqlValue, error) {
	v, err := x.eval(e)
	if err != nil {
		return v, err
	}
	return v.cast(t)
}

type sqlLiteral struct{ v sqlValue }

func (x sqlLiteral) eval(*tandem.Event) (sqlValue, error) { return x.v, nil }

type sqlAttribute struct{ name string }

func (x *sqlAttribute) eval(e *tandem.Event) (sqlValue, error) { return attributeValue(e, x.name) }

type sqlExists struct{ name string }

func (x *sqlExists) eval(e *tandem.Event) (sqlValue, error) {
	_, ok := e.Attribute(x.name)
	return boolValue(ok), nil
}

// sqlNot is NOT. bare says that no parentheses tell how far it reaches.
type sqlNot struct {
	x    sqlExpr
	bare bool
}

func (x *sqlNot) eval(e *tandem.Event) (sqlValue, error) {
	v, err := evalAs(x.x, e, sqlBoolean)
	return boolValue(err == nil && !v.b), err
}

type sqlNegate struct{ x sqlExpr }

func (x *sqlNegate) eval(e *tandem.Event) (sqlValue, error) {
	v, err := evalAs(x.x, e, sqlInteger)
	if err == nil && v.i == math.MinInt32 {
		err = errMath
	}
	return intValue(-v.i), err
}

// sqlLogic is a chain of AND, OR or XOR.
type sqlLogic struct {
	op    string
	kids  []sqlExpr
	texts []string // of kids
}

func (x *sqlLogic) eval(e *tandem.Event) (sqlValue, error) {
	odd := false
	for _, k := range x.kids {
		v, err := evalAs(k, e, sqlBoolean)
		switch {
		case err != nil:
			return boolValue(false), err
		case x.op == "XOR":
			odd = odd != v.b
		case v.b == (x.op == "OR"):
			return v, nil
		}
	}
	return boolValue(odd || x.op == "AND"), nil
}

type sqlCompare struct {
	op   string
	x, y sqlExpr
}

func (c *sqlCompare) eval(e *tandem.Event) (sqlValue, error) {
	no := boolValue(false)
	x, err := c.x.eval(e)
	if err != nil {
		return no, err
	}
	y, err := c.y.eval(e)
	if err != nil {
		return no, err
	}
	switch c.op {
	case "=", "!=", "<>":
		if x, err = x.cast(y.t); err != nil {
			return no, err
		}
		return boolValue((x == y) == (c.op == "=")), nil
	}
	if x, err = x.cast(sqlInteger); err != nil {
		return no, err
	}
	if y, err = y.cast(sqlInteger); err != nil {
		return no, err
	}
	switch c.op {
	case "<":
		return boolValue(x.i < y.i), nil
	case "<=":
		return boolValue(x.i <= y.i), nil
	case ">":
		return boolValue(x.i > y.i), nil
	}
	return boolValue(x.i >= y.i), nil
}

type sqlMath struct {
	op   byte
	x, y sqlExpr
}

func (m *sqlMath) eval(e *tandem.Event) (sqlValue, error) {
	zero := intValue(0)
	x, err := evalAs(m.x, e, sqlInteger)
	if err != nil {
		return zero, err
	}
	y, err := evalAs(m.y, e, sqlInteger)
	if err != nil {
		return zero, err
	}
	a, b := int64(x.i), int64(y.i)
	switch m.op {
	case '+':
		a += b
	case '-':
		a -= b
	case '*':
		a *= b
	default:
		if b == 0 {
			return zero, errMath
		}
		if m.op == '/' {
			a /= b
		} else {
			a %= b
		}
	}
	if a != int64(int32(a)) {
		return zero, errMath
	}
	return intValue(int32(a)), nil
}

type sqlLike struct {
	x       sqlExpr
	pattern pattern
}

func (l *sqlLike) eval(e *tandem.Event) (sqlValue, error) {
	v, err := evalAs(l.x, e, sqlString)
	return boolValue(err == nil && l.pattern.match(v.s)), err
}

type sqlIn struct {
	x   sqlExpr
	set []sqlExpr
}

func (in *sqlIn) eval(e *tandem.Event) (sqlValue, error) {
	x, err := in.x.eval(e)
	if err != nil {
		return boolValue(false), err
	}
	for _, y := range in.set {
		v, err := evalAs(y, e, x.t)
		if err != nil {
			return boolValue(false), err
		}
		if v == x {
			return boolValue(true), nil
		}
	}
	return boolValue(false), nil
}

type sqlCall struct {
	f    *sqlFunction
	args []sqlExpr
}

func (c *sqlCall) eval(e *tandem.Event) (sqlValue, error) {
	args := make([]sqlValue, len(c.args))
	for i, x := range c.args {
		v, err := evalAs(x, e, c.f.arg(i))
		if err != nil {
			return sqlValue{t: c.f.result}, err
		}
		args[i] = v
	}
	return c.f.run(args)
}
