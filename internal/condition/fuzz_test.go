package condition

import (
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// checkCondition holds every condition to what Filter relies on: it ends, and what it matches is within its bounds.
func checkCondition(t *testing.T, c *Compiler, dialect, text, typ, subject, data string) {
	cond, err := c.Compile(dialect, text)
	if err != nil {
		if tandem.CodeOf(err) != tandem.CodeInvalid || len(err.Error()) > 5000 {
			t.Fatalf("%v", err)
		}
		return
	}
	e := testEvent()
	e.Type, e.Subject, e.Data = typ, subject, []byte(data)
	if !cond.Match(e) {
		return
	}
	for _, b := range cond.Bounds() {
		v, ok := e.Attribute(b.Attribute)
		if !ok || !slices.ContainsFunc(b.Values, func(s string) bool { return s == v || b.Prefix && strings.HasPrefix(v, s) }) {
			t.Fatalf("%s matches with %s=%q, which is not within %+v", text, b.Attribute, v, b)
		}
	}
}

func FuzzSQL(f *testing.F) {
	for _, text := range []string{"type = 'order.placed' AND subject LIKE 'a%_b\\%'", "priority IN ('5', '05') OR NOT (EXISTS city)", "CONCAT_WS(',', id, LEFT(type, 3)) != \"x\"",
		"SUBSTRING(type, -3, 2) = 'x' XOR ABS(-priority) % 3 >= +1", "rush IN ('TRUE') OR sequence = 5", "type NOT IN ('a') AND 1 / 0 = 1", "((((type", "'\\'"} {
		f.Add(text, "order.placed", "s")
	}
	c := New(Options{})
	f.Fuzz(func(t *testing.T, text, typ, subject string) {
		checkCondition(t, c, "sql", text, typ, subject, "{}")
	})
}

func FuzzCEL(f *testing.F) {
	for _, text := range []string{"event.type == 'order.placed' && data.total > 100", "event['subject'].startsWith('a') || event.type in ['x', 'y']", "data.items.exists(i, i.sku == 'b')",
		"has(event.x) ? event.x == 1 : true", "event.map(k, k).size() > 1", "data == event", "type(event) == map", "{'a': event}[data]"} {
		f.Add(text, "order.placed", `{"total": 120, "items": [{"sku": "b"}]}`)
	}
	c := New(Options{})
	f.Fuzz(func(t *testing.T, text, typ, data string) {
		checkCondition(t, c, "cel", text, typ, "s", data)
	})
}

func FuzzLike(f *testing.F) {
	f.Add("a%b_c", "aXXbYc")
	f.Add(`\%\_%`, "%_é")
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 20 || len(s) > 20 {
			return
		}
		p := parsePattern(text)
		if got, want := p.match(s), matchSlowly(p, s); got != want {
			t.Fatalf("%q LIKE %q: %v", s, text, got)
		}
	})
}

// matchSlowly tries everything.
func matchSlowly(p pattern, s string) bool {
	if len(p) == 0 {
		return s == ""
	}
	if !p[0].many {
		n := p[0].at(s)
		return n > 0 && matchSlowly(p[1:], s[n:])
	}
	for i := range s {
		if matchSlowly(p[1:], s[i:]) {
			return true
		}
	}
	return matchSlowly(p[1:], "")
}
