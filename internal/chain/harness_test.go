package chain_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// engines are those whose differences a chain meets: one order over all topics, partitions of their own, and repeats that show late.
var engines = map[string]memlog.Options{
	"embedded":    {},
	"partitioned": {Partitioned: true},
	"late":        {Partitioned: true, LateDedup: true},
}

// trace is what links were asked, in order.
type trace struct {
	mu    sync.Mutex
	calls []string
}

func (t *trace) add(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, s)
}

func (t *trace) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := t.calls
	t.calls = nil
	return calls
}

// fake is a link that answers as call says.
type fake struct {
	name     string
	born     int64
	topic    string
	types    []string // that it takes; none: all
	parallel bool
	trace    *trace
	call     func(ctx context.Context, rec *tandem.Record) chain.Answer // nil: no replies

	mu    sync.Mutex
	noted []chain.Called
}

func (f *fake) Name() string            { return f.name }
func (f *fake) Born() int64             { return f.born }
func (f *fake) Parallel() bool          { return f.parallel }
func (f *fake) Reads(topic string) bool { return tandem.MatchTopic(f.topic, topic) }
func (f *fake) Matches(e *tandem.Event) bool {
	return len(f.types) == 0 || slices.Contains(f.types, e.Type)
}

func (f *fake) Call(ctx context.Context, rec *tandem.Record) chain.Answer {
	f.trace.add(f.name + " " + rec.Type)
	if f.call == nil {
		return chain.Answer{Status: 204}
	}
	return f.call(ctx, rec)
}

func (f *fake) Note(c *chain.Called) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted = append(f.noted, *c)
}

// replying answers with events of types into a topic, with derived ids.
func replying(name, topic string, types ...string) func(context.Context, *tandem.Record) chain.Answer {
	return func(_ context.Context, rec *tandem.Record) chain.Answer {
		a := chain.Answer{Status: 200}
		for _, typ := range types {
			e := tandem.Event{ID: tandem.DerivedID(rec.ID, name, typ), Source: "/" + name, Type: typ, Subject: rec.Subject}
			e.Meta.Hops, e.Meta.Flow = rec.Meta.Hops+1, rec.Meta.Flow
			a.Replies = append(a.Replies, eventlog.TopicEvent{Topic: topic, Event: e})
		}
		return a
	}
}

// answering answers what answer makes of the event.
func answering(answer func(tandem.Event) chain.Answer) func(context.Context, *tandem.Record) chain.Answer {
	return func(_ context.Context, rec *tandem.Record) chain.Answer { return answer(rec.Event) }
}

func failing(outcome tandem.LinkOutcome, status int) func(context.Context, *tandem.Record) chain.Answer {
	return func(context.Context, *tandem.Record) chain.Answer {
		return chain.Answer{Outcome: outcome, Status: status, Detail: "secret of the service"}
	}
}

type bed struct {
	t     *testing.T
	eng   *memlog.Engine
	log   *eventlog.Log
	chain *chain.Chain
	trace *trace
}

func newBed(t *testing.T, engine memlog.Options, opts chain.Options, links ...*fake) *bed {
	t.Helper()
	eng := memlog.New(engine)
	b := newBedOn(t, eng, opts, links...)
	b.eng = eng
	return b
}

func newBedOn(t *testing.T, engine driver.Driver, opts chain.Options, links ...*fake) *bed {
	t.Helper()
	b := &bed{t: t, trace: &trace{}}
	var err error
	if b.log, err = eventlog.Open(t.Context(), engine, eventlog.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.log.Close() })
	for _, name := range []string{"orders", "results"} {
		if _, err := b.log.CreateTopic(t.Context(), tandem.Topic{Name: name, Partitions: 4}); err != nil {
			t.Fatal(err)
		}
	}
	b.chain = chain.New(b.log, opts)
	b.use(links...)
	t.Cleanup(func() { b.chain.Stop(context.Background()) })
	return b
}

func (b *bed) use(links ...*fake) {
	all := make([]chain.Link, len(links))
	for i, l := range links {
		l.trace = b.trace
		all[i] = l
	}
	b.chain.Use(all)
}

func placed(id string) tandem.Event {
	return tandem.Event{ID: id, Source: "/shop", Type: "placed", Subject: "o1", Data: []byte(`{"n":1}`), Meta: tandem.Meta{Flow: "flow-1"}}
}

func (b *bed) publish(e tandem.Event) (chain.Result, error) {
	return b.chain.Publish(b.t.Context(), &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: e}}})
}

// stored returns the types of all events of both topics, in the order of storing within each.
func (b *bed) stored() string {
	b.t.Helper()
	var out []string
	for _, name := range []string{"orders", "results"} {
		info, err := b.log.Topic(b.t.Context(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		for part := range info.Partitions {
			recs, err := b.log.ReadPartition(b.t.Context(), info.ID, part, 0, 1000, nil)
			if err != nil {
				b.t.Fatal(err)
			}
			for i := range recs {
				out = append(out, recs[i].Type)
			}
		}
	}
	return strings.Join(out, " ")
}

func (b *bed) calls(want ...string) {
	b.t.Helper()
	if got := b.trace.take(); !slices.Equal(got, want) {
		b.t.Errorf("called %q, want %q", got, want)
	}
}

func types(events []tandem.Event) string {
	out := make([]string, len(events))
	for i := range events {
		out[i] = events[i].Type
	}
	return strings.Join(out, " ")
}
