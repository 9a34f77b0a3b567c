package condition

func (x sqlLiteral) implied() implied    { return nil }
func (x *sqlAttribute) implied() implied { return nil }
func (x *sqlExists) implied() implied    { return nil }
func (x *sqlNot) implied() implied       { return nil }
func (x *sqlNegate) implied() implied    { return nil }
func (m *sqlMath) implied() implied      { return nil }
func (c *sqlCall) implied() implied      { return nil }

func (x *sqlLogic) implied() implied {
	parts := make([]implied, len(x.kids))
	for i, k := range x.kids {
		parts[i] = k.implied()
	}
	switch x.op {
	case "AND":
		return impliedAll(parts...)
	case "OR":
		return impliedAny(parts...)
	}
	return nil
}

// Only what is compared with a string is compared as text: sequence = 5 is true of "05", too.
func (c *sqlCompare) implied() implied {
	if c.op != "=" {
		return nil
	}
	if a, ok := c.x.(*sqlAttribute); ok {
		if text, ok := stringLiteral(c.y); ok {
			return impliedExact(a.name, text)
		}
	}
	return nil
}

func (l *sqlLike) implied() implied {
	a, ok := l.x.(*sqlAttribute)
	if !ok {
		return nil
	}
	text, whole := l.pattern.start()
	switch {
	case text == "":
		return nil
	case whole:
		return impliedExact(a.name, text)
	}
	return impliedPrefix(a.name, text)
}

func (in *sqlIn) implied() implied {
	a, ok := in.x.(*sqlAttribute)
	if !ok {
		return nil
	}
	var any []implied
	for _, y := range in.set {
		text, ok := stringLiteral(y)
		if !ok || !isCanonical(text) {
			return nil
		}
		any = append(any, impliedExact(a.name, text))
	}
	return impliedAny(any...)
}

// isCanonical reports whether text is how an attribute of any type is written that equals it when it is cast to that type, as IN
// does it.
func isCanonical(text string) bool {
	v := stringValue(text)
	for _, t := range []sqlType{sqlInteger, sqlBoolean} {
		if other, err := v.cast(t); err == nil {
			if back, _ := other.cast(sqlString); back.s != text {
				return false
			}
		}
	}
	return true
}

func stringLiteral(x sqlExpr) (string, bool) {
	l, ok := x.(sqlLiteral)
	return l.v.s, ok && l.v.t == sqlString
}
