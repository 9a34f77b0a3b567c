package delivery

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// TestExplainCalls: a chain that failed is told by its newest calls, who did what stands and who did not.
func TestExplainCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		first, second := requestSub("a"), requestSub("b")
		second.Service = "other"
		b.start(first, second)
		b.endpoint("other").answer(422)
		e := event("k")
		for _, flow := range []string{"before", "now"} { // the newest counts
			e.Meta.Flow = flow
			if _, err := b.opts.Chain.Publish(b.ctx, &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: e}}}); err == nil {
				t.Fatal("the chain did not fail")
			}
			b.wait(time.Minute)
		}
		got, err := b.m.ExplainCalls(b.ctx, e.Source, e.ID)
		if err != nil || len(got) != 2 {
			t.Fatalf("%+v %v", got, err)
		}
		for i, want := range []string{
			"The event was not stored: the call of a in its request chain ended at 2000-01-01T00:01:00Z with: what it did stands, and the event was not stored: *.",
			"The event was not stored: the call of b in its request chain ended at 2000-01-01T00:01:00Z with: refused; the event was not stored.",
		} {
			if r := &got[i]; r.Code != tandem.WhyCallFailed || !like(r.Sentence, want) || r.Delivery.State != tandem.DeliveryFailed {
				t.Errorf("%s\nwant\n%s", r.Sentence, want)
			}
		}
		if got, err := b.m.ExplainCalls(b.ctx, e.Source, "another"); err != nil || len(got) > 0 {
			t.Errorf("%+v %v", got, err)
		}
	})
}

// TestFailedCalls: of very many calls that failed, those from a time on are told, or the first with word that there are more; a chain is explained by
// the newest.
func TestFailedCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		b.start(requestSub("s"))
		f.answer(422)
		fail := func(key string) tandem.Event {
			_, e, err := b.ask(key)
			if err == nil {
				t.Fatal("the chain did not fail")
			}
			return e
		}
		fail("first")
		b.wait(time.Minute)
		s, err := b.m.find("s")
		b.must(err)
		var calls []driver.StateOp
		prefix := s.ledgerKey(s.ledger.segments[0].start, ledgerRequest)
		b.must(b.log.ScanState(b.ctx, prefix, func(_ string, value []byte) bool {
			for i := range maxFailedCalls {
				calls = append(calls, driver.StateOp{Key: fmt.Sprintf("%s0%05d", prefix, i), Value: bytes.Clone(value)})
			}
			return false
		}))
		_, err = b.log.Commit(b.ctx, &eventlog.Tx{State: calls})
		b.must(err)
		b.wait(tandem.DefaultLedgerAge / 2)
		last := fail("last")
		flow := func(id string) bool { return id == last.Meta.Flow }
		if got, all, err := b.m.FailedCalls(b.ctx, time.Time{}, flow); err != nil || all || len(got) != 0 {
			t.Errorf("of all: %+v, %v, %v", got, all, err)
		}
		if got, all, err := b.m.FailedCalls(b.ctx, time.Now().Add(-time.Hour), flow); err != nil || !all || len(got) != 1 || got[0].Flow != last.Meta.Flow {
			t.Errorf("of the last hour: %+v, %v, %v", got, all, err)
		}
		if got, err := b.m.ExplainCalls(b.ctx, last.Source, last.ID); err != nil || len(got) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestExplainDuplicate: where an engine stores repeats, one is given to nobody, and the event that it repeats is named.
func TestExplainDuplicate(t *testing.T) {
	eng := memlog.New(memlog.Options{Partitioned: true, LateDedup: true})
	b := &bed{t: t, eng: eng, real: true}
	b.furnish(eng, slog.New(slog.DiscardHandler))
	t.Cleanup(b.close)
	e := event("k")
	var at []tandem.Position
	for _, data := range []string{`1`, `1`, `2`} { // before anybody reads: what was read is known when it is published again
		e.Data = []byte(data)
		got, err := b.log.Append(b.ctx, "orders", []tandem.Event{e})
		b.must(err)
		at = append(at, tandem.Position{Topic: "orders", Partition: got[0].Partition, Offset: got[0].Offset})
	}
	b.start(sub("s"))
	for i, want := range []string{"", "It is given to nobody: it repeats the event at " + at[0].String() + ".",
		"It is given to nobody: its id and source were used before, for other data, by the event at " + at[0].String() + "."} {
		r := b.explain(at[i], "s")
		switch {
		case i == 0 && r.Code == tandem.WhyDuplicate:
			t.Errorf("%+v", r)
		case i > 0 && (r.Code != tandem.WhyDuplicate || r.Sentence != want || *r.First != at[0] || r.Conflict != (i == 2)):
			t.Errorf("%+v", r)
		}
	}
}
