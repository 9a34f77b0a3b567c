package condition

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func testEvent() *tandem.Event {
	return &tandem.Event{ID: "1", Source: "/shop", Type: "order.placed", Subject: "order-7", Time: "2026-01-31T09:30:00Z",
		Extensions: []tandem.Extension{
			{Name: "priority", Value: "5", Kind: tandem.ExtensionInteger},
			{Name: "rush", Value: "true", Kind: tandem.ExtensionBoolean},
			{Name: "sequence", Value: "05"}, {Name: "city", Value: "Zürich"}, {Name: "empty"}},
		Meta: tandem.Meta{Flow: "f1", Causes: []string{"c1", "c2"}, Hops: 2},
		Data: []byte(`{"total": 120.5, "items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 1}], "id": 9007199254740993, "paid": true, "note": null}`)}
}

func TestSQLValues(t *testing.T) {
	e := testEvent()
	for _, c := range []struct {
		text string
		want any // string, int, bool, or the error
	}{
		{"TRUE", true}, {"fAlSe", false}, {"12", 12}, {"-12", -12}, {"+3", 3}, {"--12", 12}, {"-2147483648", -2147483648}, {"'a\"b\\'c'", `a"b'c`}, {`"a'b\"c"`, `a'b"c`},
		{`'a\nb'`, `a\nb`}, {`'a\\'`, `a\\`}, {"''", ""},
		{"id", "1"}, {"TYPE", "order.placed"}, {"specversion", "1.0"}, {"priority", 5}, {"rush", true}, {"sequence", "05"}, {"empty", ""},
		{"tandemhops", 2}, {"tandemcause", "c1 c2"}, {"tandemflow", "f1"},
		{"missing", errMissing}, {"dataschema", errMissing},
		{"EXISTS subject", true}, {"EXISTS dataschema", false}, {"NOT EXISTS missing", true}, {"EXISTS empty", true}, {"EXISTS Source", true},
		{"4 * 2 + 4 / 2", 10}, {"4 * (2 + 4) / 2", 12}, {"5 % 2", 1}, {"-5 % 3", -2}, {"-5 / 3", -1}, {"4-1", 3}, {"4 -1", 3}, {"4 - -1", 5}, {"'5' + TRUE", 6}, {"7 - 2 - 1", 4},
		{"5 / 0", errMath}, {"5 % 0", errMath}, {"2147483647 + 1", errMath}, {"-2147483648 / -1", errMath}, {"-(-2147483648)", errMath}, {"65536 * 65536", errMath}, {"'x' + 1", errCast}, {"missing / 0", errMissing},
		{"1 = 1", true}, {"1 != 1", false}, {"1 <> 2", true}, {"'abc' = 'abc'", true}, {"true = 'TRUE'", false}, {"'TRUE' = true", true}, {"1 = 1 = true", true},
		{"sequence = 5", true}, {"sequence = '5'", false}, {"priority = '5'", true}, {"'05' = priority", true}, {"missing = 2", errMissing}, {"missing != 2", errMissing}, {"type = 5", errCast},
		{"2 <= 2", true}, {"3 <= 2", false}, {"1 < 2", true}, {"2 >= 3", false}, {"2 > 1", true}, {"priority < '10'", true}, {"type < 1", errCast},
		{"TRUE AND FALSE", false}, {"TRUE AND TRUE AND TRUE", true}, {"FALSE OR FALSE OR TRUE", true}, {"TRUE XOR TRUE XOR TRUE", true}, {"TRUE XOR FALSE", true}, {"TRUE XOR TRUE", false},
		{"false and (1 != 1 / 0)", false}, {"true and (1 != 1 / 0)", errMath}, {"true or (1 != 1 / 0)", true}, {"false or (1 != 1 / 0)", errMath}, {"'x' AND TRUE", errCast}, {"1 AND 2", true},
		{"NOT TRUE", false}, {"NOT 'FALSE'", true}, {"NOT 10", false}, {"NOT missing", errMissing}, {"NOT NOT TRUE", true}, {"NOT (type = 'x')", true}, {"-TRUE", -1}, {"-'10'", -10},
		{"'abc' LIKE 'abc'", true}, {"'azzzbzzzc' LIKE 'a%b%c'", true}, {"'ab.cde' LIKE '.%.%.'", false}, {"'azbzc' LIKE 'a_b_c'", true}, {"'abc' LIKE 'a_b_c'", false},
		{`'a_b_c' LIKE 'a\_b\_c'`, true}, {`'azbzc' LIKE 'a\_b\_c'`, false}, {`'a%b' LIKE 'a\%b'`, true}, {`'ab\c' LIKE 'ab\c'`, true}, {"'' LIKE '%'", true}, {"'' LIKE '_'", false}, {"'' LIKE ''", true}, {"'x' LIKE ''", false},
		{"city LIKE 'Z_rich'", true}, {"city LIKE '%ü%h'", true}, {"city NOT LIKE 'Z%'", false}, {"234 LIKE '23_'", true}, {"TRUE LIKE '%ue'", true}, {"missing LIKE 'x'", errMissing},
		{"'aab' LIKE '%ab'", true}, {"'abab' LIKE '%ab'", true}, {"'aXbYc' LIKE '%X%Y_'", true}, {"'mississippi' LIKE '%iss%ip_i'", true},
		{"123 IN (1, 2, 123)", true}, {"'aaa' IN ('abc', \"bcd\")", false}, {"source IN (missing)", errMissing}, {"'true' IN (TRUE, 'false')", true}, {"TRUE IN ('true', 'false')", true}, {"'TRUE' IN (TRUE)", false}, {"1 IN ('1')", true}, {"type NOT IN ('x', 'y')", true}, {"1 IN ('x')", errCast},
		{"INT('-1')", -1}, {"INT('ABC')", errCast}, {"BOOL('TRUE')", true}, {"BOOL(-50)", true}, {"BOOL('ABC')", errCast}, {"STRING(-1)", "-1"}, {"IS_INT('5')", true}, {"IS_INT('x')", false}, {"IS_BOOL('True')", true}, {"IS_BOOL('x')", false},
		{"ABS(-10)", 10}, {"ABS(-2147483648)", errMath}, {"LENGTH('abc')", 3}, {"LENGTH(city)", 6}, {"LENGTH(TRUE)", 4},
		{"CONCAT()", ""}, {"CONCAT('a', 1, TRUE)", "a1true"}, {"CONCAT_WS(',', 'a', 'b')", "a,b"}, {"CONCAT_WS(',')", ""}, {"lower('AbC')", "abc"}, {"UPPER('ü')", "Ü"}, {"TRIM('  a b  ')", "a b"},
		{"LEFT('abc', 2)", "ab"}, {"LEFT(city, 2)", "Zü"}, {"LEFT('abc', 10)", "abc"}, {"LEFT('abc', -2)", errArgument}, {"RIGHT('abc', 2)", "bc"}, {"RIGHT('abc', 10)", "abc"}, {"RIGHT(city, 5)", "ürich"}, {"RIGHT('abc', -2)", errArgument},
		{"SUBSTRING('abcdef', 2)", "bcdef"}, {"SUBSTRING('Sakila', -3)", "ila"}, {"SUBSTRING('abcdef', 2, 4)", "bcde"}, {"SUBSTRING('Sakila', -5, 3)", "aki"}, {"SUBSTRING('abc', 0)", ""}, {"SUBSTRING('abc', 0, 1)", ""},
		{"SUBSTRING('abcdef', 10)", errArgument}, {"SUBSTRING('abcdef', -10, 10)", errArgument}, {"SUBSTRING('abc', 1, -1)", errArgument}, {"SUBSTRING(city, 2, 1)", "ü"}, {"SUBSTRING('abc', 3, 2147483647)", "c"},
		{"int(priority) < int(sequence) + 1 and exists id", true},
		{"(type = 'order.placed' AND subject = 'x') OR source = '/shop'", true},
	} {
		x, err := parseSQL(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		v, err := x.eval(e)
		if want, failed := c.want.(error); failed {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, %v, want %v", c.text, v, err, want)
			}
			continue
		}
		var got any
		switch v.t {
		case sqlString:
			got = v.s
		case sqlInteger:
			got = int(v.i)
		case sqlBoolean:
			got = v.b
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestSQLRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"type =", "line 1, column 7: the end does not belong here: expected is an attribute, a value or a bracket"},
		{"type = 'x", "line 1, column 8: the string does not end"},
		{"type = 'x' subject", `line 1, column 12: "subject" does not belong here: expected is an operator or the end`},
		{"type = 'x'\n  AND ?", "line 2, column 7: \"?\" does not belong here"},
		{"'ü' = 'ü' #", "line 1, column 11"},
		{"ABC(", "line 1, column 5: the end"},
		{"ABC(1)", "line 1, column 1: there is no function ABC"},
		{"type = CONCAT_WS()", "line 1, column 8: CONCAT_WS takes another number of arguments"},
		{"LENGTH('a', 'b')", "another number of arguments"},
		{"x LIKE 123", "line 1, column 8: \"123\" does not belong here: expected is a string, which is the pattern"},
		{"x IN ()", "line 1, column 7"},
		{"x IN 1", `expected is "("`},
		{"x NOT = 1", "expected is LIKE or IN"},
		{"EXISTS 5", "expected is the name of an attribute"},
		{"EXISTS and", "expected is the name of an attribute"},
		{"my_ext = 1", `"my_ext" is not the name of an attribute`},
		{"data = 1", "CESQL does not see the data: use cel"},
		{"exists data", "CESQL does not see the data"},
		{"2147483648", "is not from -2147483648 to 2147483647"},
		{"-2147483649", "is not from"},
		{"+'1'", "expected is a number"},
		{"NOT type = 'x'", `line 1, column 10: NOT holds only for what is before "=": write NOT (…)`},
		{"NOT type LIKE 'x%'", "NOT holds only for what is before"},
		{"a AND b OR c", "line 1, column 9: OR follows AND: put parentheses around what belongs together"},
		{"a XOR b AND c", "AND follows XOR"},
		{strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100), "is nested more than 64 deep"},
		{strings.Repeat("NOT ", 100) + "true", "is nested more than 64 deep"},
		{strings.Repeat("-", 100) + "id", "is nested more than 64 deep"},
		{"'a' 'b'", "a string does not belong here"},
		{"", "the end"},
		{"\xff", "does not belong here"},
		{strings.Repeat(" ", 4097), "longer than 4096 bytes"},
	} {
		_, err := New(Options{}).Compile("sql", c.text)
		if tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %s", c.text, err, c.want)
		}
	}
}

// TestSQLIsBounded: a long chain needs no deep stack, and no function makes a large string of a small event.
func TestSQLIsBounded(t *testing.T) {
	x, err := parseSQL("0" + strings.Repeat("+1", 2000))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.eval(testEvent()); err != nil || v.i != 2000 {
		t.Error(v, err)
	}
	e := testEvent()
	e.Subject = strings.Repeat("a", tandem.MaxAttributeBytes)
	x, err = parseSQL("LENGTH(CONCAT(subject, subject)) > 0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.eval(e); !errors.Is(err, errArgument) {
		t.Error(err)
	}
	x, err = parseSQL("subject LIKE '%" + strings.Repeat("a", 2000) + "b%" + strings.Repeat("a", 2000) + "b'")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.eval(e); err != nil || v.b {
		t.Error(v, err)
	}
}

func TestSQLAllocatesNothing(t *testing.T) {
	e := testEvent()
	c := compile(t, "sql", "type = 'order.placed' AND subject LIKE 'order-%' AND priority > 3 AND city IN ('Bern', 'Zürich')")
	if !c.Match(e) {
		t.Fatal("no match")
	}
	if n := testing.AllocsPerRun(100, func() { c.Match(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func compile(t testing.TB, dialect, text string) tandem.Condition {
	t.Helper()
	c, err := New(Options{}).Compile(dialect, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}
