package delivery

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/condition"
)

// judgedCondition counts how often its condition judges.
type judgedCondition struct {
	tandem.Condition
	n *atomic.Int64
}

func (c judgedCondition) Match(e *tandem.Event) bool {
	c.n.Add(1)
	return c.Condition.Match(e)
}

func counting(n *atomic.Int64) func(dialect, text string) (tandem.Condition, error) {
	compiler := condition.New(condition.Options{})
	return func(dialect, text string) (tandem.Condition, error) {
		c, err := compiler.Compile(dialect, text)
		return judgedCondition{c, n}, err
	}
}

func boundFilter(t testing.TB, compile func(dialect, text string) (tandem.Condition, error), text string) tandem.Filter {
	t.Helper()
	f, err := tandem.ParseFilter([]byte(text))
	if err == nil {
		f, err = f.Bind(compile)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// TestIndexFindsCandidates: of 1,000 filters an event finds those that it may match and few others, whatever the filters look at.
func TestIndexFindsCandidates(t *testing.T) {
	e := &tandem.Event{ID: "1", Source: "/shop/500", Type: "order.500", Subject: "c500-1",
		Extensions: []tandem.Extension{{Name: "tenant", Value: "t500"}}, Data: []byte(`{"total": 120, "customer": 500}`)}
	for _, c := range []struct {
		filter string // %d is the number of the subscription
		want   int    // candidates
		match  int
	}{
		{`{"type":"order.%d"}`, 1, 1},
		{`{"source":"/shop/%d"}`, 1, 1},
		{`{"tenant":"t%d"}`, 1, 1},
		{`{"prefix":{"subject":"c%d-"}}`, 1, 1},
		{`{"type":"order.500","subject":"c%d-1"}`, 1, 1},
		{`{"type":"order.500","prefix":{"subject":"c%d-"}}`, 1, 1},
		{`{"source":"/shop/500","type":"order.%d"}`, 1, 1},
		{`{"any":[{"type":"order.%d"},{"type":"other.%[1]d"}]}`, 1, 1},
		{`{"any":[{"type":"order.%d"},{"prefix":{"type":"order.%[1]d."}}]}`, 1, 1},
		{`{"sql":"type = 'order.%d' AND subject LIKE 'c%%'"}`, 1, 1},
		{`{"sql":"tenant IN ('t%d', 'all') AND NOT (type = 'x')"}`, 1, 1},
		{`{"cel":"event.type == 'order.%d' && data.total > 100"}`, 1, 1},
		{`{"cel":"event.subject.startsWith('c%d-') && data.total > 500"}`, 1, 0},
		{`{"all":[{"cel":"data.total > 100"},{"source":"/shop/%d"}]}`, 1, 1},
		{`{"type":"order.500","cel":"data.customer == %d"}`, 1000, 1}, // only the data tells them apart
		{`{"suffix":{"type":".%d"}}`, 1000, 1},
	} {
		var judged atomic.Int64
		compile := counting(&judged)
		var all []*entry
		for i := range 1000 {
			all = append(all, &entry{filter: boundFilter(t, compile, fmt.Sprintf(c.filter, i))})
		}
		ix := newIndex(all)
		seen := map[*entry]bool{}
		matches := 0
		ix.entries.Candidates(e, func(x *entry) {
			if seen[x] {
				t.Errorf("%s: a candidate is found twice", c.filter)
			}
			seen[x] = true
			if x.filter.Match(e) {
				matches++
			}
		})
		// 5, 50 and 500 can begin alike.
		if len(seen) > c.want+2 || matches != c.match || judged.Load() > int64(len(seen)) {
			t.Errorf("%s: %d candidates, %d matches, %d judged", c.filter, len(seen), matches, judged.Load())
		}
	}
}

// TestIndexMissesNothing: what a filter matches, the index finds, whatever stands beside it.
func TestIndexMissesNothing(t *testing.T) {
	compile := counting(new(atomic.Int64))
	texts := []string{`{}`, `{"type":"a"}`, `{"type":"b","source":"/s"}`, `{"prefix":{"type":"a"}}`, `{"prefix":{"type":"a","subject":"x"}}`, `{"any":[{"prefix":{"type":"a"}},{"prefix":{"type":"a.b"}},{"type":"a.b.c"}]}`,
		`{"not":{"type":"a"}}`, `{"suffix":{"type":"c"}}`, `{"tandemcause":"c1"}`, `{"all":[{"type":"a"},{"type":"b"}]}`, `{"tandemhops":1}`, `{"specversion":"1.0"}`,
		`{"sql":"type = 'a' OR ext IN ('05', 'x')"}`, `{"sql":"ext = 5"}`, `{"cel":"event.type == 'a' || data == 1.0"}`, `{"cel":"event.ext == 'x'"}`}
	for i := range 20 { // more attributes than are indexed
		texts = append(texts, fmt.Sprintf(`{"ext%d":"v"}`, i))
	}
	var all []*entry
	for _, text := range texts {
		all = append(all, &entry{filter: boundFilter(t, compile, text)})
	}
	ix := newIndex(all)
	var events []tandem.Event
	for _, typ := range []string{"a", "b", "a.b.c", "c"} {
		for _, subject := range []string{"", "x", "xy"} {
			for _, ext := range []tandem.Extension{{}, {Name: "ext", Value: "x"}, {Name: "ext", Value: "5", Kind: tandem.ExtensionInteger}, {Name: "ext7", Value: "v"}, {Name: "ext19", Value: "v"}} {
				e := tandem.Event{ID: "1", Source: "/s", Type: typ, Subject: subject, Data: []byte("1"), Meta: tandem.Meta{Causes: []string{"c0", "c1"}, Hops: len(subject)}}
				if ext.Name != "" {
					e.Extensions = []tandem.Extension{ext}
				}
				events = append(events, e)
			}
		}
	}
	for i := range events {
		found := map[*entry]int{}
		ix.entries.Candidates(&events[i], func(x *entry) { found[x]++ })
		for j, x := range all {
			if found[x] > 1 || x.filter.Match(&events[i]) && found[x] == 0 {
				t.Errorf("%s is found %d times for %+v", texts[j], found[x], events[i])
			}
		}
	}
}

// TestDeliverByConditions: conditions hold through a restart, are compiled once for a declaration, and refused with their place.
func TestDeliverByConditions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		var judged atomic.Int64
		b.opts.Conditions = counting(&judged)
		s := sub("s")
		s.Filter = mustParse(t, `{"cel":"event.subject in ['a', 'b'] && data != 2.0"}`)
		b.start(s)
		b.publish("a", "b", "c", "c", "c")
		b.wait(time.Second)
		if got := len(f.ids()); got != 2 || judged.Load() > 4 {
			t.Fatalf("%d delivered, %d judged", got, judged.Load())
		}
		b.crash()
		b.start()
		b.publish("a", "c")
		b.wait(time.Minute)
		if got := len(f.ids()); got != 3 {
			t.Fatalf("%d delivered after the restart", got)
		}

		// A condition that cannot be compiled any more must not pass events over.
		b.stop()
		compile := b.opts.Conditions
		b.opts.Conditions = nil
		b.start()
		b.publish("b")
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "damaged" || !strings.Contains(st.Reason, "not available here") {
			t.Fatalf("%+v", st)
		}
		b.stop()
		b.opts.Conditions = compile
		b.start()
		b.wait(time.Minute)
		if got := len(f.ids()); got != 4 {
			t.Fatalf("%d delivered when the condition was back", got)
		}

		s.Filter = mustParse(t, `{"any":[{"type":"x"},{"sql":"type = "}]}`)
		err := b.m.Apply(b.ctx, []tandem.Subscription{s})
		var e *tandem.Error
		if !errors.As(err, &e) || e.Code != tandem.CodeInvalid || !strings.Contains(err.Error(), "/filter/any/1/sql line 1, column 8") {
			t.Fatal(err)
		}
	})
}

// TestDeadLettersByConditions: a selection of dead letters takes conditions, and refuses what is none.
func TestDeadLettersByConditions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.Conditions = condition.New(condition.Options{}).Compile
		f.set(func(attemptSeen) *http.Response { return status(422) })
		b.start(sub("s"))
		b.publish("a", "b", "c")
		b.wait(time.Minute)
		for text, want := range map[string]int{`{"sql":"subject IN ('a', 'c')"}`: 2, `{"not":{"cel":"event.subject == 'a'"}}`: 2, `{"cel":"data.none"}`: 0} {
			got, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Filter: mustParse(t, text), DryRun: true})
			if err != nil || got.Count != want {
				t.Errorf("%s: %+v, %v", text, got, err)
			}
		}
		_, err := b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{Filter: mustParse(t, `{"cel":"event."}`)})
		if tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), "/filter/cel line 1, column 7") {
			t.Error(err)
		}
	})
}

func mustParse(t *testing.T, text string) tandem.Filter {
	t.Helper()
	f, err := tandem.ParseFilter([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// BenchmarkIndex is the cost of an event that none of 1,000 subscriptions with different filters wants.
func BenchmarkIndex(b *testing.B) {
	compile := condition.New(condition.Options{}).Compile
	e := &tandem.Event{ID: "1", Source: "/shop", Type: "order.placed", Subject: "c-none", Data: []byte(`{"total": 120, "customer": "c-none"}`)}
	for _, c := range []struct{ name, filter string }{
		{"exact", `{"type":"order.%d"}`},
		{"prefix", `{"prefix":{"subject":"c-%d"}}`},
		{"sql", `{"sql":"type = 'order.placed' AND subject = 'c-%d'"}`},
		{"cel", `{"cel":"event.subject == 'c-%d' && data.total > 100"}`},
		{"suffix-not-indexed", `{"suffix":{"type":".%d"}}`},
		{"sql-not-indexed", `{"sql":"LOWER(subject) = 'c-%d'"}`},
		{"cel-not-indexed", `{"cel":"data.customer == 'c-%d'"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			var all []*entry
			for i := range 1000 {
				all = append(all, &entry{filter: boundFilter(b, compile, fmt.Sprintf(c.filter, i))})
			}
			ix := newIndex(all)
			found := func(x *entry) {
				if x.filter.Match(e) {
					b.Fatal("a match")
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				ix.entries.Candidates(e, found)
			}
		})
	}
}
