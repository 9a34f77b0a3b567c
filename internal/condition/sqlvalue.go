package condition

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// Why an expression has no value. They are not told per event: an event that cannot be judged does not match.
var (
	errMissing  = errors.New("the event does not have the attribute")
	errCast     = errors.New("the value is not of the type that is needed")
	errMath     = errors.New("division by zero, or more than 32 bits")
	errArgument = errors.New("the function is not defined for the argument")
)

type sqlType uint8

const (
	sqlString sqlType = iota
	sqlInteger
	sqlBoolean
	sqlAny // of arguments only
)

// sqlValue is a string, an integer or a boolean (specification, section 3.1).
type sqlValue struct {
	t sqlType
	s string
	i int32
	b bool
}

func stringValue(s string) sqlValue { return sqlValue{t: sqlString, s: s} }
func intValue(i int32) sqlValue     { return sqlValue{t: sqlInteger, i: i} }
func boolValue(b bool) sqlValue     { return sqlValue{t: sqlBoolean, b: b} }

// cast converts a value (section 3.7).
func (v sqlValue) cast(t sqlType) (sqlValue, error) {
	if v.t == t || t == sqlAny {
		return v, nil
	}
	switch t {
	case sqlString:
		if v.t == sqlInteger {
			return stringValue(strconv.Itoa(int(v.i))), nil
		}
		return stringValue(strconv.FormatBool(v.b)), nil
	case sqlInteger:
		if v.t == sqlBoolean {
			if v.b {
				return intValue(1), nil
			}
			return intValue(0), nil
		}
		n, err := strconv.ParseInt(v.s, 10, 32)
		if err != nil {
			return intValue(0), errCast
		}
		return intValue(int32(n)), nil
	default:
		switch {
		case v.t == sqlInteger:
			return boolValue(v.i != 0), nil
		case strings.EqualFold(v.s, "true"):
			return boolValue(true), nil
		case strings.EqualFold(v.s, "false"):
			return boolValue(false), nil
		}
		return boolValue(false), errCast
	}
}

// attributeValue returns an attribute with the type that it has in the event.
func attributeValue(e *tandem.Event, name string) (sqlValue, error) {
	for i := range e.Extensions {
		if x := &e.Extensions[i]; x.Name == name {
			v := stringValue(x.Value)
			switch x.Kind {
			case tandem.ExtensionInteger:
				return v.cast(sqlInteger)
			case tandem.ExtensionBoolean:
				return v.cast(sqlBoolean)
			}
			return v, nil
		}
	}
	text, ok := e.Attribute(name)
	switch {
	case !ok:
		return boolValue(false), errMissing
	case name == tandem.AttrHops:
		return intValue(int32(e.Meta.Hops)), nil
	}
	return stringValue(text), nil
}
