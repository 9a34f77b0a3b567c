package tandem_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func mustFilter(t testing.TB, s string) tandem.Filter {
	t.Helper()
	f, err := tandem.ParseFilter([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return f
}

func filterEvent() *tandem.Event {
	return &tandem.Event{ID: "1", Source: "/shop", Type: "order.placed", Subject: "order-7", Time: "2026-01-31T09:30:00Z",
		Extensions: []tandem.Extension{{Name: "priority", Value: "5", Kind: tandem.ExtensionInteger}, {Name: "empty"}, {Name: "exact", Value: "x"}},
		Meta:       tandem.Meta{Flow: "f1", Causes: []string{"c1", "c2"}, Operation: "o1", Hops: 2, TraceParent: "tp"}}
}

func TestFilterMatch(t *testing.T) {
	e := filterEvent()
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{`{}`, true}, {`[]`, true}, {`null`, true},
		{`{"exact":{"type":"order.placed"}}`, true},
		{`{"exact":{"type":"order"}}`, false},
		{`{"exact":{"type":"Order.placed"}}`, false},
		{`{"exact":{"type":"order.placed","subject":"order-7"}}`, true},
		{`{"exact":{"type":"order.placed","subject":"order-8"}}`, false},
		{`{"prefix":{"type":"order.","subject":"order-"}}`, true},
		{`{"prefix":{"type":"placed"}}`, false},
		{`{"suffix":{"type":".placed"}}`, true},
		{`{"suffix":{"type":"order"}}`, false},
		{`{"type":"order.placed"}`, true},
		{`{"type":"order.placed","subject":"x"}`, false},
		{`{"type":"order.placed","prefix":{"subject":"order-"}}`, true},
		{`{"type":"order.placed","not":{"subject":"order-7"}}`, false},
		{`{"all":[{"type":"order.placed"},{"subject":"order-7"}]}`, true},
		{`{"all":[{"type":"order.placed"},{"subject":"order-8"}]}`, false},
		{`[{"type":"order.placed"},{"subject":"order-8"}]`, false},
		{`{"any":[{"type":"x"},{"subject":"order-7"}]}`, true},
		{`{"any":[{"type":"x"},{"subject":"x"}]}`, false},
		{`{"not":{"type":"x"}}`, true},
		{`{"not":[{"type":"order.placed"},{"subject":"order-7"}]}`, false},
		{`{"not":{"not":{"type":"x"}}}`, false},
		// absent attributes match nothing, and so not() of them matches
		{`{"exact":{"dataschema":"x"}}`, false},
		{`{"prefix":{"nope":"x"}}`, false},
		{`{"not":{"nope":"x"}}`, true},
		{`{"suffix":{"empty":"x"}}`, false},
		// every attribute
		{`{"id":"1"}`, true}, {`{"source":"/shop"}`, true}, {`{"specversion":"1.0"}`, true}, {`{"specversion":"0.3"}`, false},
		{`{"prefix":{"time":"2026-01-31"}}`, true},
		{`{"priority":"5"}`, true}, {`{"priority":5}`, true}, {`{"priority":6}`, false},
		{`{"exact":{"exact":"x"}}`, true},
		{`{"tandemflow":"f1"}`, true}, {`{"tandemoperation":"o1"}`, true}, {`{"tandemoperation":"o2"}`, false},
		{`{"tandemcause":"c1"}`, true}, {`{"tandemcause":"c2"}`, true}, {`{"tandemcause":"c1 c2"}`, false}, {`{"prefix":{"tandemcause":"c"}}`, true},
		{`{"tandemhops":2}`, true}, {`{"tandemhops":"2"}`, true}, {`{"tandemhops":1}`, false},
		{`{"traceparent":"tp"}`, true}, {`{"tracestate":"x"}`, false},
		{`{"datacontenttype":"application/json"}`, false},
	} {
		f := mustFilter(t, c.filter)
		if got := f.Match(e); got != c.want {
			t.Errorf("%s: got %v", c.filter, got)
		}
		back := mustFilter(t, f.String())
		if back.Match(e) != c.want || back.String() != f.String() || back.IsZero() != f.IsZero() {
			t.Errorf("%s: written as %s, read back as %s", c.filter, f, back)
		}
		if n := testing.AllocsPerRun(10, func() { f.Match(e) }); n != 0 {
			t.Errorf("%s: %v allocations", c.filter, n)
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 16) + `{"type":"x"}` + strings.Repeat("}", 16)
	wide := `{"any":[` + strings.Repeat(`{"type":"x"},`, 255) + `{"type":"x"}]}`
	for _, c := range []struct{ in, pointer, want string }{
		{``, "", "malformed JSON"},
		{`{"type":`, "", "malformed JSON"},
		{`{"type":"x"}}`, "", "malformed JSON"},
		{`{"type":"x"} {}`, "", "malformed JSON"},
		{`"type"`, "", "must be an object or an array"},
		{`5`, "", "must be an object or an array"},
		{`{"type":""}`, "/type", "must not be empty"},
		{`{"exact":{"type":""}}`, "/exact/type", "must not be empty"},
		{`{"exact":{}}`, "/exact", "must be an object of attributes and values"},
		{`{"exact":"x"}`, "/exact", "must be an object of attributes and values"},
		{`{"prefix":["x"]}`, "/prefix", "must be an object of attributes and values"},
		{`{"all":[]}`, "/all", "must not be empty"},
		{`{"any":{}}`, "/any", "must be an array"},
		{`{"not":{}}`, "/not", "must not be empty"},
		{`{"not":"x"}`, "/not", "must be an object or an array"},
		{`{"any":[{"type":"x"},{}]}`, "/any/1", "must not be empty"},
		{`[{"type":"x"},{"suffix":{"Type":"x"}}]`, "/1/suffix/Type", "nor an attribute"},
		{`{"data":"x"}`, "/data", "nor an attribute"},
		{`{"data.x":"x"}`, "/data.x", "nor an attribute"},
		{`{"a/b":"x"}`, "/a~1b", "nor an attribute"},
		{`{"sql":5}`, "/sql", "must be a string"},
		{`{"all":[{"cel":" "}]}`, "/all/0/cel", "must not be empty"},
		{`{"cel":"` + strings.Repeat("x", 4097) + `"}`, "/cel", "longer than 4096 bytes"},
		{`[` + strings.Repeat(`{"cel":"x"},`, 16) + `{"sql":"x"}]`, "/16/sql", "at most 16 conditions"},
		{`{"type":null}`, "/type", "must be a string"},
		{`{"type":["a","b"]}`, "/type", "must be a string"},
		{`{"x":1.5}`, "/x", "32-bit integer"},
		{`{"type":"a\u0000"}`, "/type", "control character"},
		{`{"type":"a","type":"b"}`, "/type", "there twice"},
		{`{"any":[{"exact":{"id":"1","id":"2"}}]}`, "/any/0/exact/id", "there twice"},
		{deep, strings.Repeat("/not", 16) + "/type", "nested more than 16 deep"},
		{strings.Repeat("[", 100), strings.Repeat("/0", 35), "nested more than 16 deep"},
		{wide, "/any/255/type", "at most 256"},
	} {
		_, err := tandem.ParseFilter([]byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) || tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%.80s: got %v, want %s", c.in, err, c.want)
			continue
		}
		if e := err.(*tandem.Error); c.pointer != "" && (len(e.Fields) != 1 || e.Fields[0].Pointer != c.pointer) {
			t.Errorf("%.80s: got %v, want pointer %s", c.in, err, c.pointer)
		}
	}
	mustFilter(t, strings.Repeat(`{"not":`, 15)+`{"type":"x"}`+strings.Repeat("}", 15))
	mustFilter(t, `{"any":[`+strings.Repeat(`{"type":"x"},`, 254)+`{"type":"x"}]}`)
}

func TestFilterOf(t *testing.T) {
	f, err := tandem.FilterOf(map[string]any{"any": []any{map[string]any{"type": "x"}, map[string]any{"exact": map[string]any{"n": 5, "b": true}}}})
	if want := `{"any":[{"exact":{"type":"x"}},{"all":[{"exact":{"b":"true"}},{"exact":{"n":"5"}}]}]}`; err != nil || f.String() != want {
		t.Errorf("got %s, %v, want %s", f, err, want)
	}
	for _, v := range []any{nil, map[string]any{}, []any{}} {
		if f, err := tandem.FilterOf(v); err != nil || !f.IsZero() || f != (tandem.Filter{}) {
			t.Errorf("%v: got %s, %v", v, f, err)
		}
	}
	for _, v := range []any{"x", 5, map[string]any{"x": 1.5}, map[string]any{"x": nil}, map[any]any{"type": "x"}} {
		if _, err := tandem.FilterOf(v); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestFilterInJSON(t *testing.T) {
	var s tandem.Subscription
	if err := json.Unmarshal([]byte(`{"topics":["a"],"filter":{"type":"x"}}`), &s); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if want := `{"topics":["a"],"filter":{"exact":{"type":"x"}}}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	b, err = json.Marshal(tandem.Subscription{Topics: []string{"a"}})
	if want := `{"topics":["a"]}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}

func TestFilterBounds(t *testing.T) {
	for _, c := range []struct{ filter, want string }{
		{`{}`, ""},
		{`{"type":"a"}`, "type=[a]"},
		{`{"type":"a","subject":"s"}`, "subject=[s] type=[a]"},
		{`{"prefix":{"type":"a"}}`, "type^[a]"},
		{`{"suffix":{"type":"a"}}`, ""},
		{`{"not":{"type":"a"}}`, ""},
		{`{"any":[{"type":"b"},{"type":"a"},{"type":"b"}]}`, "type=[a b]"},
		{`{"any":[{"type":"b"},{"subject":"a"}]}`, ""},
		{`{"any":[{"type":"b"},{"prefix":{"type":"a"}}]}`, "type^[a b]"},
		{`{"all":[{"any":[{"type":"a"},{"type":"b"},{"type":"c"}]},{"any":[{"type":"c"},{"type":"b"}]},{"subject":"s"}]}`, "subject=[s] type=[b c]"},
		{`{"all":[{"type":"a"},{"type":"b"}]}`, "type=[]"},
		{`{"all":[{"prefix":{"type":"a."}},{"any":[{"type":"a.1"},{"type":"b.1"}]}]}`, "type=[a.1]"},
		{`{"all":[{"prefix":{"type":"a"}},{"any":[{"prefix":{"type":"a"}},{"prefix":{"type":"b"}}]}]}`, "type^[a]"},
		{`{"any":[{"all":[{"type":"a"},{"prefix":{"subject":"x"}}]},{"type":"b"}]}`, "type=[a b]"},
		{`{"tandemcause":"a"}`, ""},
		{`{"ext":"a"}`, "ext=[a]"},
		{`{"cel":"a"}`, "type=[a]"},
		{`{"cel":"a","subject":"s"}`, "subject=[s] type=[a]"},
		{`{"any":[{"cel":"a"},{"type":"b"}]}`, "type=[a b]"},
		{`{"not":{"cel":"a"}}`, ""},
	} {
		f := bound(t, c.filter)
		for range 2 { // a second call sees what a first one may have spoiled
			var got []string
			for _, b := range f.Bounds() {
				got = append(got, b.Attribute+map[bool]string{false: "=", true: "^"}[b.Prefix]+fmt.Sprint(b.Values))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("%s: %s, want %s", c.filter, got, c.want)
			}
		}
	}
	if b := mustFilter(t, `{"cel":"a"}`).Bounds(); b != nil {
		t.Errorf("unbound: %v", b)
	}
}

// fakeCompile makes conditions that demand the type that is their text, and refuses "bad".
func fakeCompile(dialect, text string) (tandem.Condition, error) {
	if text == "bad" {
		return nil, tandem.Errorf(tandem.CodeInvalid, "line 1, column 1: %s is bad", dialect)
	}
	return typeIs(text), nil
}

type typeIs string

func (c typeIs) Match(e *tandem.Event) bool { return e.Type == string(c) }
func (c typeIs) Clause(*tandem.Event) tandem.FilterClause {
	return tandem.FilterClause{Text: string(c)}
}

func (c typeIs) Bounds() []tandem.Bound {
	return []tandem.Bound{{Attribute: "type", Values: []string{string(c)}}}
}

func bound(t *testing.T, s string) tandem.Filter {
	t.Helper()
	f, err := mustFilter(t, s).Bind(fakeCompile)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return f
}

// within reports whether a value is what a bound asks for.
func within(b tandem.Bound, value string) bool {
	return slices.ContainsFunc(b.Values, func(v string) bool { return v == value || b.Prefix && strings.HasPrefix(value, v) })
}

func TestConditionsAreBound(t *testing.T) {
	e := filterEvent()
	for text, want := range map[string]bool{
		`{"cel":"order.placed"}`:                                     true,
		`{"sql":"order.paid"}`:                                       false,
		`{"not":{"cel":"order.paid"}}`:                               true,
		`{"any":[{"type":"x"},{"cel":"order.placed"}]}`:              true,
		`{"cel":"order.placed","subject":"order-7"}`:                 true,
		`{"all":[{"subject":"order-8"},{"not":{"sql":"nonsense"}}]}`: false,
	} {
		f := mustFilter(t, text)
		if f.Match(e) {
			t.Errorf("%s matches without being bound", text)
		}
		f = bound(t, text)
		if f.Match(e) != want {
			t.Errorf("%s: got %v", text, !want)
		}
		again, err := f.Bind(nil) // what is bound stays
		if err != nil || again.Match(e) != want || again.String() != mustFilter(t, text).String() {
			t.Errorf("%s: bound again: %v, %s", text, err, again)
		}
	}
	for _, c := range []struct {
		text    string
		compile func(dialect, text string) (tandem.Condition, error)
		code    tandem.Code
		want    string
	}{
		{`{"type":"x","cel":"bad"}`, fakeCompile, tandem.CodeInvalid, "/cel line 1, column 1: cel is bad"},
		{`{"any":[{"cel":"fine"},{"not":{"sql":"bad"}}]}`, fakeCompile, tandem.CodeInvalid, "/any/1/not/sql line 1, column 1: sql is bad"},
		{`{"cel":"fine"}`, nil, tandem.CodeUnsupported, "/cel is a dialect that is not available here"},
	} {
		if _, err := mustFilter(t, c.text).Bind(c.compile); tandem.CodeOf(err) != c.code || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	if f, err := (tandem.Filter{}).Bind(nil); err != nil || !f.IsZero() {
		t.Errorf("the zero filter: %v, %v", f, err)
	}
}

func TestFilterExpand(t *testing.T) {
	vars := func(name string) (string, bool) {
		v, ok := map[string]string{"id": "7", "empty": "", "braces": "{id}", "ctl": "\n"}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		`{}`:                       `{}`,
		`{"subject":"order-{id}"}`: `{"exact":{"subject":"order-7"}}`,
		`{"any":[{"not":{"subject":"{id}{id}"}},{"type":"x"}]}`: `{"any":[{"not":{"exact":{"subject":"77"}}},{"exact":{"type":"x"}}]}`,
		`{"subject":"{a-b} {} {{id}} {"}`:                       `{"exact":{"subject":"{a-b} {} {7} {"}}`,
		`{"subject":"{braces}"}`:                                `{"exact":{"subject":"{id}"}}`,
	} {
		f := mustFilter(t, in)
		before := f.String()
		got, err := f.Expand(vars)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
		if f.String() != before {
			t.Errorf("%s became %s", before, f)
		}
	}
	// The text of a condition is no template.
	if f, err := bound(t, `{"subject":"{id}","cel":"{'a': 1}"}`).Expand(vars); err != nil || f.String() != `{"all":[{"cel":"{'a': 1}"},{"exact":{"subject":"7"}}]}` {
		t.Errorf("got %s, %v", f, err)
	}
	for _, in := range []string{`{"cel":"event.subject == '{id}'"}`, `{"sql":"{'a'} {id}"}`, `{"subject":"{nope}"}`, `{"subject":"{empty}"}`, `{"any":[{"type":"x"},{"subject":"{nope}"}]}`, `{"subject":"{ctl}"}`} {
		if _, err := mustFilter(t, in).Expand(vars); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestAllOf(t *testing.T) {
	for _, c := range []struct {
		filters []string
		want    string
	}{
		{nil, `{}`},
		{[]string{`{}`, `{}`}, `{}`},
		{[]string{`{}`, `{"type":"a"}`}, `{"exact":{"type":"a"}}`},
		{[]string{`{"type":"a"}`, `{"not":{"cel":"b"}}`}, `{"all":[{"exact":{"type":"a"}},{"not":{"cel":"b"}}]}`},
		{[]string{`{"type":"a","id":"1"}`, `{"any":[{"id":"2"}]}`}, `{"all":[{"exact":{"id":"1"}},{"exact":{"type":"a"}},{"any":[{"exact":{"id":"2"}}]}]}`},
	} {
		var all []tandem.Filter
		for _, text := range c.filters {
			all = append(all, bound(t, text))
		}
		if f, err := tandem.AllOf(all...); err != nil || f.String() != c.want {
			t.Errorf("%s: %s, %v", c.filters, f, err)
		}
	}
	unbound, err := tandem.AllOf(mustFilter(t, `{"type":"order.placed"}`), mustFilter(t, `{"cel":"order.placed"}`))
	if err != nil || unbound.Match(filterEvent()) {
		t.Errorf("%s matches without being bound, %v", unbound, err)
	}
	half := mustFilter(t, `{"any":[`+strings.Repeat(`{"type":"x"},`, 127)+`{"type":"x"}]}`)
	conditions := mustFilter(t, `[`+strings.Repeat(`{"cel":"x"},`, 8)+`{"sql":"x"}]`)
	for _, f := range []tandem.Filter{half, conditions} {
		if _, err := tandem.AllOf(f, f); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("twice %.40s: %v", f, err)
		}
	}
}

func BenchmarkFilterMatch(b *testing.B) {
	f := mustFilter(b, `{"type":"order.placed","prefix":{"subject":"order-"}}`)
	e := filterEvent()
	b.ReportAllocs()
	for b.Loop() {
		if !f.Match(e) {
			b.Fatal("no match")
		}
	}
}

func ExampleParseFilter() {
	f, err := tandem.ParseFilter([]byte(`{"type": "order.placed", "not": {"prefix": {"subject": "test-"}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Match(&tandem.Event{Type: "order.placed", Subject: "4711"}))
	fmt.Println(f.Match(&tandem.Event{Type: "order.placed", Subject: "test-1"}))
	fmt.Println(f.Bounds())
	// Output:
	// true
	// false
	// [{type false [order.placed]}]
}
