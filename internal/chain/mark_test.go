package chain_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// marked is an event that says that links took it.
func marked(id, links string) tandem.Event {
	e := placed(id)
	e.Extensions = []tandem.Extension{{Name: tandem.AttrLinks, Value: links}, {Name: "other", Value: "x"}}
	return e
}

// records returns what topic has.
func (b *bed) records(topic string) []tandem.Record {
	b.t.Helper()
	info, err := b.log.Topic(b.t.Context(), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []tandem.Record
	for part := range info.Partitions {
		recs, err := b.log.ReadPartition(b.t.Context(), info.ID, part, 0, 1000, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, recs...)
	}
	return all
}

// TestMarkIsNotForged: whatever an event says of links itself is left out, on all ways into the log, and does not change what else it says.
func TestMarkIsNotForged(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{})
	truth := &fake{name: "a", topic: "orders", trace: b.trace}
	b.use(truth)
	if _, err := b.publish(placed("true")); err != nil {
		t.Fatal(err)
	}
	stolen, ok := b.records("orders")[0].Extension(tandem.AttrLinks)
	if !ok || !strings.HasPrefix(stolen, "a=") {
		t.Fatalf("marked as %q", stolen)
	}
	b.use() // while there is no link, everything goes past the chain
	for i, claim := range []string{"a", stolen} {
		e := []tandem.Event{marked(fmt.Sprint("append", i), claim)}
		if _, err := b.log.Append(t.Context(), "orders", e); err != nil {
			t.Fatal(err)
		}
		if _, err := b.chain.Append(t.Context(), "orders", []tandem.Event{marked(fmt.Sprint("chain", i), claim)}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.publish(marked(fmt.Sprint("publish", i), claim)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.log.Commit(t.Context(), &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: marked(fmt.Sprint("commit", i), claim)}}}); err != nil {
			t.Fatal(err)
		}
	}
	// Nor does a reply that repeats the attributes of its cause.
	echo := func(e tandem.Event) chain.Answer {
		e.ID, e.Type = "echo", "echoed"
		return chain.Answer{Status: 200, Replies: []eventlog.TopicEvent{{Topic: "results", Event: e}}}
	}
	truth.call = answering(echo)
	b.use(truth)
	if _, err := b.publish(placed("echoed")); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"orders", "results"} {
		for _, rec := range b.records(topic) {
			claim, has := rec.Extension(tandem.AttrLinks)
			if mine := rec.ID == "true" || rec.ID == "echoed"; has != mine || chain.Took(&rec, "a", 0) != mine {
				t.Errorf("%s is marked as %q", rec.ID, claim)
			}
			if other, ok := rec.Extension("other"); ok != strings.ContainsAny(rec.ID, "01") || ok && other != "x" {
				t.Errorf("%s has lost what else it said", rec.ID)
			}
		}
	}
}

// TestMarkIsOfOneEvent: a mark that was copied to another topic or event, or was made by a subscription that had the name before, is not
// believed.
func TestMarkIsOfOneEvent(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", born: 7, topic: "orders"})
	if _, err := b.publish(placed("1")); err != nil {
		t.Fatal(err)
	}
	rec := b.records("orders")[0]
	if !chain.Took(&rec, "a", 7) {
		t.Errorf("not taken: %+v", rec.Extensions)
	}
	if chain.Took(&rec, "a", 8) || chain.Took(&rec, "b", 7) {
		t.Error("another subscription believes it")
	}
	other := rec
	if other.ID = "2"; chain.Took(&other, "a", 7) {
		t.Error("it is believed of another event")
	}
	other = rec
	if other.Position.Topic = "copies"; chain.Took(&other, "a", 7) {
		t.Error("it is believed in another topic")
	}
}

// TestMarkIsNotSent: links are told what the publisher said, and not of each other.
func TestMarkIsNotSent(t *testing.T) {
	var told []tandem.Extension
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", call: answering(func(e tandem.Event) chain.Answer {
		told = e.Extensions
		return chain.Answer{Status: 204}
	})})
	ev := placed("1")
	ev.Extensions = []tandem.Extension{{Name: "other", Value: "x"}}
	if _, err := b.publish(ev); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Name != "other" || len(b.records("orders")[0].Extensions) != 2 {
		t.Errorf("the link was told %+v", told)
	}
}

// TestMarkDoesNotCount: an event that is as large as it may be, and has as many attributes, can be marked, and read again by others.
func TestMarkDoesNotCount(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", types: []string{"placed"}, call: answering(func(e tandem.Event) chain.Answer {
		reply := e
		reply.ID, reply.Type = "2", "again"
		return chain.Answer{Status: 200, Replies: []eventlog.TopicEvent{{Topic: "orders", Event: reply}}}
	})}, &fake{name: "b", topic: "orders", types: []string{"again"}})
	full := placed("1")
	for i := range tandem.MaxExtensions {
		full.Extensions = append(full.Extensions, tandem.Extension{Name: fmt.Sprint("a", i), Value: "v"})
	}
	full.Data = []byte(`"` + strings.Repeat("d", tandem.DefaultMaxEventBytes-eventlog.SizeOf(&full)+len(full.Data)-2) + `"`)
	if n := eventlog.SizeOf(&full); n != tandem.DefaultMaxEventBytes {
		t.Fatalf("%d bytes", n)
	}
	if _, err := b.publish(full); err != nil {
		t.Fatal(err)
	}
	recs := b.records("orders")
	if len(recs) != 2 || len(recs[0].Extensions) != tandem.MaxExtensions+1 {
		t.Fatalf("%d events", len(recs))
	}
	for range 2 { // with the mark behind the others, and before them
		if _, err := tandem.ParseEventJSON(tandem.AppendEventJSON(nil, &recs[0].Event)); err != nil {
			t.Error(err)
		}
		slices.Reverse(recs[0].Extensions)
	}
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}
	for _, x := range recs[0].Extensions {
		h.Set("Ce-"+x.Name, x.Value)
	}
	for range 500 { // a header has no order
		if _, err := tandem.ParseBinaryHTTP(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	h.Set("Ce-More", "v")
	if _, err := tandem.ParseBinaryHTTP(h, nil); err == nil {
		t.Error("an event has more attributes than it may")
	}
}
