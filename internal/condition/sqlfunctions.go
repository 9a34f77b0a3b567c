package condition

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
)

// sqlFunction is a function of CESQL (specification, section 3.5).
type sqlFunction struct {
	args     []sqlType
	variadic bool // the last of args is that of any number more, and of none
	result   sqlType
	run      func(args []sqlValue) (sqlValue, error)
}

func (f *sqlFunction) arg(i int) sqlType { return f.args[min(i, len(f.args)-1)] }

func (f *sqlFunction) takes(n int) bool {
	return n == len(f.args) || f.variadic && n >= len(f.args)-1
}

// findFunction returns the function of a name, in lower case, and a number of arguments, or why there is none.
func findFunction(name string, args int) (*sqlFunction, string) {
	overloads := sqlFunctions()[name]
	for i := range overloads {
		if overloads[i].takes(args) {
			return &overloads[i], ""
		}
	}
	if overloads == nil {
		return nil, "there is no function " + strings.ToUpper(name)
	}
	return nil, strings.ToUpper(name) + " takes another number of arguments"
}

func sqlFunctions() map[string][]sqlFunction {
	str, num, any := sqlString, sqlInteger, sqlAny
	return map[string][]sqlFunction{
		"int":     {{[]sqlType{any}, false, num, func(a []sqlValue) (sqlValue, error) { return a[0].cast(sqlInteger) }}},
		"bool":    {{[]sqlType{any}, false, sqlBoolean, func(a []sqlValue) (sqlValue, error) { return a[0].cast(sqlBoolean) }}},
		"string":  {{[]sqlType{any}, false, str, func(a []sqlValue) (sqlValue, error) { return a[0].cast(sqlString) }}},
		"is_int":  {{[]sqlType{any}, false, sqlBoolean, func(a []sqlValue) (sqlValue, error) { return castable(a[0], sqlInteger), nil }}},
		"is_bool": {{[]sqlType{any}, false, sqlBoolean, func(a []sqlValue) (sqlValue, error) { return castable(a[0], sqlBoolean), nil }}},
		"abs":     {{[]sqlType{num}, false, num, sqlAbs}},
		"length": {{[]sqlType{str}, false, num, func(a []sqlValue) (sqlValue, error) {
			return intValue(int32(utf8.RuneCountInString(a[0].s))), nil
		}}},
		"concat":    {{[]sqlType{str}, true, str, func(a []sqlValue) (sqlValue, error) { return joined("", a) }}},
		"concat_ws": {{[]sqlType{str, str}, true, str, func(a []sqlValue) (sqlValue, error) { return joined(a[0].s, a[1:]) }}},
		"lower":     {{[]sqlType{str}, false, str, func(a []sqlValue) (sqlValue, error) { return stringValue(strings.ToLower(a[0].s)), nil }}},
		"upper":     {{[]sqlType{str}, false, str, func(a []sqlValue) (sqlValue, error) { return stringValue(strings.ToUpper(a[0].s)), nil }}},
		"trim":      {{[]sqlType{str}, false, str, func(a []sqlValue) (sqlValue, error) { return stringValue(strings.TrimSpace(a[0].s)), nil }}},
		"left": {{[]sqlType{str, num}, false, str, func(a []sqlValue) (sqlValue, error) {
			if a[1].i < 0 {
				return a[0], errArgument
			}
			return stringValue(a[0].s[:charOffset(a[0].s, int(a[1].i))]), nil
		}}},
		"right": {{[]sqlType{str, num}, false, str, func(a []sqlValue) (sqlValue, error) {
			if a[1].i < 0 {
				return a[0], errArgument
			}
			over := utf8.RuneCountInString(a[0].s) - int(a[1].i)
			return stringValue(a[0].s[charOffset(a[0].s, max(0, over)):]), nil
		}}},
		"substring": {
			{[]sqlType{str, num}, false, str, func(a []sqlValue) (sqlValue, error) { return substring(a[0].s, int(a[1].i), math.MaxInt32) }},
			{[]sqlType{str, num, num}, false, str, func(a []sqlValue) (sqlValue, error) {
				return substring(a[0].s, int(a[1].i), int(a[2].i))
			}},
		},
	}
}

func castable(v sqlValue, t sqlType) sqlValue {
	_, err := v.cast(t)
	return boolValue(err == nil)
}

func sqlAbs(a []sqlValue) (sqlValue, error) {
	switch {
	case a[0].i == math.MinInt32:
		return intValue(math.MaxInt32), errMath
	case a[0].i < 0:
		return intValue(-a[0].i), nil
	}
	return a[0], nil
}

// joined is bounded, so that no text makes of a small event a large string.
func joined(sep string, parts []sqlValue) (sqlValue, error) {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(p.s)
		if b.Len() > tandem.MaxAttributeBytes {
			return stringValue(""), errArgument
		}
	}
	return stringValue(b.String()), nil
}

// substring counts characters from 1, or with a negative start from the end.
func substring(s string, start, length int) (sqlValue, error) {
	if start == 0 && length >= 0 {
		return stringValue(""), nil
	}
	chars := utf8.RuneCountInString(s)
	if start > chars || start < -chars || length < 0 {
		return stringValue(""), errArgument
	}
	if start < 0 {
		start += chars
	} else {
		start--
	}
	s = s[charOffset(s, start):]
	return stringValue(s[:charOffset(s, length)]), nil
}

// charOffset returns where in s the n-th character is, its length when there are fewer.
func charOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}
