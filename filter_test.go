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
		{`{"sql":"type = 'x'"}`, "/sql", "not supported"},
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

func TestFilterExact(t *testing.T) {
	for _, c := range []struct {
		filter, attr string
		want         []string
		ok           bool
	}{
		{`{}`, "type", nil, false},
		{`{"type":"a"}`, "type", []string{"a"}, true},
		{`{"type":"a"}`, "subject", nil, false},
		{`{"type":"a","subject":"s"}`, "subject", []string{"s"}, true},
		{`{"prefix":{"type":"a"}}`, "type", nil, false},
		{`{"not":{"type":"a"}}`, "type", nil, false},
		{`{"any":[{"type":"b"},{"type":"a"},{"type":"b"}]}`, "type", []string{"a", "b"}, true},
		{`{"any":[{"type":"b"},{"subject":"a"}]}`, "type", nil, false},
		{`{"all":[{"any":[{"type":"a"},{"type":"b"},{"type":"c"}]},{"any":[{"type":"c"},{"type":"b"}]},{"subject":"s"}]}`, "type", []string{"b", "c"}, true},
		{`{"all":[{"type":"a"},{"type":"b"}]}`, "type", []string{}, true},
		{`{"any":[{"all":[{"type":"a"},{"prefix":{"subject":"x"}}]},{"type":"b"}]}`, "type", []string{"a", "b"}, true},
		{`{"tandemcause":"a"}`, "tandemcause", nil, false},
		{`{"ext":"a"}`, "ext", []string{"a"}, true},
	} {
		f := mustFilter(t, c.filter)
		for range 2 { // a second call sees what a first one may have spoiled
			if got, ok := f.Exact(c.attr); ok != c.ok || !slices.Equal(got, c.want) {
				t.Errorf("%s: Exact(%s) = %v, %v", c.filter, c.attr, got, ok)
			}
		}
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
	for _, in := range []string{`{"subject":"{nope}"}`, `{"subject":"{empty}"}`, `{"any":[{"type":"x"},{"subject":"{nope}"}]}`, `{"subject":"{ctl}"}`} {
		if _, err := mustFilter(t, in).Expand(vars); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %v", in, err)
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
	fmt.Println(f.Exact("type"))
	// Output:
	// true
	// false
	// [order.placed] true
}
