package condition

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestCEL(t *testing.T) {
	e := testEvent()
	c := New(Options{})
	for _, x := range []struct {
		text string
		want bool
	}{
		{"true", true}, {"event.type == 'order.placed'", true}, {`event["type"] == "order.placed"`, true}, {"event.type.startsWith('order.')", true},
		{"event.type in ['a', 'order.placed']", true}, {"event.subject.matches('^order-[0-9]+$')", true}, {"matches(event.subject, 'order')", true},
		{"event.priority > 3", true}, {"event.priority == '5'", false}, {"event.rush", true}, {"event.sequence == '05'", true}, {"event.tandemhops == 2", true}, {"event.tandemcause == 'c1 c2'", true},
		{"has(event.subject)", true}, {"has(event.dataschema)", false}, {"'city' in event", true}, {"event.missing == 'x'", false}, {"event.missing != 'x'", false}, {"!has(event.missing) || event.missing == 'x'", true},
		{"event.exists(name, name == 'city')", true}, {"size(event) > 5", true}, {"event == event", true}, {"event['data.total'] == '120.5'", false},
		{"timestamp(event.time) > timestamp('2026-01-01T00:00:00Z')", true}, {"timestamp(event.time).getHours() == 9", true},
		{"data.total > 100", true}, {"data.total > 100.25", true}, {"data.total * 2.0 == 241.0", true}, {"data.items.exists(i, i.sku == 'b')", true}, {"data.items[1].n == 1", true}, {"size(data.items) == 2", true},
		{"data.paid", true}, {"data.total", false}, {"data.note == null", true}, {"has(data.note)", true}, {"has(data.nothing)", false}, {"data.nothing > 1", false}, {"data.nothing.more > 1", false},
		{"data.id == 9007199254740993", true}, {"data.id == 9007199254740992", false},
		{"data.total > 100 && event.type == 'order.placed'", true}, {"data.nothing > 1 || event.type == 'order.placed'", true}, {"data.nothing > 1 && false", false},
		{"event.type == 'x' ? data.total > 1.0 : data.paid", true}, {"1 / 0 == 1", false}, {"data['total'] > 100", true},
	} {
		cond, err := c.Compile("cel", x.text)
		if err != nil {
			t.Errorf("%s: %v", x.text, err)
			continue
		}
		for range 2 { // the second time with remembered data
			if got := cond.Match(e); got != x.want {
				t.Errorf("%s: %v", x.text, got)
			}
		}
	}
}

func TestCELSeesData(t *testing.T) {
	c := New(Options{})
	for _, x := range []struct {
		e    tandem.Event
		text string
		want bool
	}{
		{tandem.Event{}, "data == null", true},
		{tandem.Event{Data: []byte("[1, 2]")}, "data[1] == 2", true},
		{tandem.Event{Data: []byte(`"x"`)}, "data == 'x'", true},
		{tandem.Event{Data: []byte(`18446744073709551615`)}, "data == 18446744073709551615u", true},
		{tandem.Event{Data: []byte(`-9223372036854775807`)}, "data == -9223372036854775807", true},
		{tandem.Event{Data: []byte(`1e999`)}, "data > 1.0", true},
		{tandem.Event{Data: []byte("hello"), DataContentType: "text/plain", Encoding: tandem.DataText}, "data.startsWith('he')", true},
		{tandem.Event{Data: []byte{1, 2}, DataContentType: "image/png"}, `data == b"\x01\x02"`, true},
		{tandem.Event{Data: []byte(`{"a":`)}, "data == null || true", true},
		{tandem.Event{Data: []byte(`{"a":`)}, "data.a == 1 || !has(data.a)", false},
		{tandem.Event{Data: []byte(`1 2`)}, "data == 1", false},
		{tandem.Event{Data: []byte(strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000))}, "size(data) == 1", false},
	} {
		cond, err := c.Compile("cel", x.text)
		if err != nil {
			t.Errorf("%s: %v", x.text, err)
			continue
		}
		if got := cond.Match(&x.e); got != x.want {
			t.Errorf("%s of %.40q: %v", x.text, x.e.Data, got)
		}
	}
}

// TestDataIsRememberedByValue: a buffer that is used again for the next event must not be taken for the one before.
func TestDataIsRememberedByValue(t *testing.T) {
	cond := compile(t, "cel", "data.a == 1")
	e := &tandem.Event{Data: []byte(`{"a":1}`)}
	if !cond.Match(e) {
		t.Error("no match")
	}
	copy(e.Data, `{"a":2}`)
	if cond.Match(e) {
		t.Error("judged by the data of the event before")
	}
}

func TestCELRefuses(t *testing.T) {
	c := New(Options{})
	for _, x := range []struct{ text, want string }{
		{"event.type ==", "line 1, column 14: Syntax error"},
		{"event.type == 'x' &&\n  foo > 1", "line 2, column 3: undeclared reference to 'foo'"},
		{"event.type.nonsense()", "line 1, column 20: undeclared reference to 'nonsense'"},
		{"event.type + 1", "is not true or false"},
		{"'ü' == ", "line 1, column 8"},
		{"1 + 1", "is not true or false, but of the type int"},
		{"true &&\n event.type.matches(data)", "line 2, column 21: the regular expression of matches must be a string"},
		{"['a'].exists(p, matches(event.type, p))", "line 1, column 37: the regular expression"},
		{"event.type.matches('a' + 'b')", "the regular expression"},
		{"event.type.matches('[')", "line 1, column 20"},
		{"event.type.matches('(a{1000}){1000}')", "line 1, column 20"},
		{strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), "recursion"},
		{"true" + strings.Repeat(" || true", 511), ""},
		{strings.Repeat("[", 300) + strings.Repeat("]", 300) + " == []", ""},
		{"{id}", "line 1, column 4"},
		{"event.type == 'x' ; drop", "line 1, column 19"},
		{"", "line 1, column 1"},
		{"'" + strings.Repeat("x", 4100) + "'", "longer than 4096 bytes"},
	} {
		_, err := c.Compile("cel", x.text)
		if x.want == "" && err == nil {
			continue
		}
		if err == nil || tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%.60s: %v, want %s", x.text, err, x.want)
			continue
		}
		if len(err.Error()) > 500 {
			t.Errorf("%.60s: %d bytes of error", x.text, len(err.Error()))
		}
	}
	if _, err := c.Compile("xpath", "x"); tandem.CodeOf(err) != tandem.CodeUnsupported {
		t.Error(err)
	}
}

// TestCELCostIsLimited: what costs too much does not match, and that is said once for a condition.
func TestCELCostIsLimited(t *testing.T) {
	var log bytes.Buffer
	c := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	cond, err := c.Compile("cel", "data.all(a, data.all(b, data.all(c, a + b + c >= 0.0)))")
	if err != nil {
		t.Fatal(err)
	}
	small := &tandem.Event{ID: "s", Data: []byte("[1,2,3]")}
	large := &tandem.Event{ID: "l", Data: []byte("[1" + strings.Repeat(",1", 999) + "]")}
	for range 2 {
		if !cond.Match(small) {
			t.Error("the small one does not match")
		}
		if cond.Match(large) {
			t.Error("the large one matches")
		}
	}
	if strings.Count(log.String(), "cost too much") != 1 {
		t.Errorf("log: %s", log.String())
	}
}

// TestImplied: the bounds of a condition hold for every event that it matches, and are as narrow as an index needs them.
func TestImplied(t *testing.T) {
	for _, c := range []struct{ dialect, text, want string }{
		{"sql", "type = 'a'", "type=a"},
		{"sql", "type = 'a' AND subject LIKE 'x%y'", "subject^x type=a"},
		{"sql", "type IN ('a', 'b') AND NOT (source = 'x')", "type=a,b"},
		{"sql", "type = 'a' OR type LIKE 'b%'", "type^a,b"},
		{"sql", "type = 'a' OR subject = 'b'", ""},
		{"sql", "type = 'a' XOR type = 'b'", ""},
		{"sql", "type != 'a'", ""},
		{"sql", "type LIKE '%a'", ""},
		{"sql", "type LIKE 'a'", "type=a"},
		{"sql", `type LIKE 'a\%b_'`, "type^a%b"},
		{"sql", "sequence = 5", ""},
		{"sql", "sequence IN ('05')", ""}, // 5 as an integer is in there
		{"sql", "sequence IN ('TRUE')", ""},
		{"sql", "sequence IN ('5', 'x')", "sequence=5,x"},
		{"sql", "type IN (subject)", ""},
		{"sql", "type NOT IN ('a')", ""},
		{"sql", "tandemcause = 'a'", ""},
		{"sql", "(type = 'a' AND source = 's') OR (type = 'b' AND source = 's')", "source=s type=a,b"},
		{"sql", "type = ''", ""},
		{"cel", "event.type == 'a'", "type=a"},
		{"cel", "'a' == event.type && data.x > 1", "type=a"},
		{"cel", `event["type"] in ["a", "b"] && event.subject.startsWith("x")`, "subject^x type=a,b"},
		{"cel", "event.type == 'a' || event.type == 'b' || event.type.startsWith('c')", "type^a,b,c"},
		{"cel", "event.type == 'a' || data.x", ""},
		{"cel", "!(event.type == 'a')", ""},
		{"cel", "event.type == 'a' ? true : false", ""},
		{"cel", "event.type == event.source", ""},
		{"cel", "event.tandemcause == 'a'", ""},
		{"cel", "[event].exists(event, event.type == 'a')", ""},
		{"cel", "data.type == 'a'", ""},
		{"cel", "event.type in []", ""},
		{"cel", "has(event.type) && event.type == 'a'", "type=a"},
		{"cel", "'a'.startsWith(event.type)", ""},
	} {
		var got []string
		for _, b := range compile(t, c.dialect, c.text).Bounds() {
			got = append(got, b.Attribute+map[bool]string{false: "=", true: "^"}[b.Prefix]+strings.Join(b.Values, ","))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestConditionsAreSafeForConcurrentUse(t *testing.T) {
	c := New(Options{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			cel, err := c.Compile("cel", "data.total > 100 && event.type == 'order.placed'")
			if err != nil {
				t.Error(err)
				return
			}
			a, b := testEvent(), testEvent()
			b.Data = []byte(`{"total": 1}`)
			for range 200 {
				if !cel.Match(a) || cel.Match(b) {
					t.Error("wrong")
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct{ name, dialect, text string }{
		{"sql", "sql", "type = 'order.placed' AND subject LIKE 'order-%'"},
		{"cel-attributes", "cel", "event.type == 'order.placed' && event.subject.startsWith('order-')"},
		{"cel-data", "cel", "data.total > 100"},
	} {
		b.Run(c.name, func(b *testing.B) {
			cond := compile(b, c.dialect, c.text)
			e, other := testEvent(), testEvent()
			other.Data = bytes.Replace(e.Data, []byte("120.5"), []byte("120.6"), 1)
			b.ReportAllocs()
			for b.Loop() {
				if !cond.Match(e) {
					b.Fatal("no match")
				}
				e, other = other, e // what is remembered is of no use
			}
		})
	}
}

func BenchmarkCompileCEL(b *testing.B) {
	c := New(Options{})
	for b.Loop() {
		if _, err := c.Compile("cel", "event.type == 'order.placed' && data.total > 100"); err != nil {
			b.Fatal(err)
		}
	}
}
