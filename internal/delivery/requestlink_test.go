package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// linked lets the manager of a bed have request links.
func (b *bed) linked() *chain.Chain {
	c := chain.New(b.log, chain.Options{Logger: b.opts.Logger})
	b.opts.Chain = c
	return c
}

func requestSub(name string) tandem.Subscription {
	s := sub(name)
	s.Mode = tandem.DeliverRequest
	return s
}

// ask publishes an event through the links of orders.
func (b *bed) ask(key string) (chain.Result, tandem.Event, error) {
	b.t.Helper()
	tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: event(key)}}}
	tx.Events[0].Event.Meta.Flow = "flow-" + key
	res, err := b.opts.Chain.Publish(b.ctx, tx)
	return res, tx.Events[0].Event, err
}

func outcomeOf(err error) tandem.LinkOutcome {
	var e *tandem.Error
	if errors.As(err, &e) && e.Link != nil {
		return e.Link.Outcome
	}
	return ""
}

// TestRequestLinkIsNotDelivered: what a link took is not sent to it again, and what came past it is, as an event.
func TestRequestLinkIsNotDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		b.start(requestSub("s"))
		res, e, err := b.ask("a")
		if err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		if n := len(f.all()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		b.settled("s")
		rows := b.rows(tandem.DeliveryQuery{Flow: "flow-a"})
		if len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered || rows[0].Position.Offset != res.Receipt.Offset || rows[0].ID != e.ID || rows[0].Attempts != 1 {
			t.Errorf("the ledger has %+v", rows)
		}
		past := b.publish("b")
		b.wait(time.Minute)
		if got := f.ids(); len(got) != 2 || got[1] != past[0] {
			t.Errorf("sent %v, and %v came past the link", got, past)
		}
		b.settled("s")
		// A row that was lost does not make the call unknown.
		b.crash()
		var lost eventlog.Tx
		if err := b.log.ScanState(b.ctx, subPrefix("s")+kindLedger, func(key string, _ []byte) bool {
			lost.State = append(lost.State, driver.StateOp{Key: strings.Clone(key)})
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.log.Commit(b.ctx, &lost); err != nil {
			t.Fatal(err)
		}
		b.start(requestSub("s"))
		if rows := b.rows(tandem.DeliveryQuery{ID: e.ID}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
			t.Errorf("after a crash: %+v", rows)
		}
	})
}

// TestModeChanges: whatever was published before, between and after, each event reaches the service, once.
func TestModeChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		c := b.linked()
		b.start(sub("s"))
		if c.Has("orders") {
			t.Error("an event link is a request link")
		}
		b.publish("a")
		b.wait(time.Second)
		if err := b.m.Apply(b.ctx, []tandem.Subscription{requestSub("s")}); err != nil || !c.Has("orders") {
			t.Fatalf("has %v, %v", c.Has("orders"), err)
		}
		b.publish("b") // its publisher had looked before
		if _, _, err := b.ask("c"); err != nil {
			t.Fatal(err)
		}
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("s")}); err != nil || c.Has("orders") {
			t.Fatalf("has %v, %v", c.Has("orders"), err)
		}
		b.publish("d")
		b.wait(time.Minute)
		if got := f.ids(); len(got) != 4 || len(f.all()) != 4 {
			t.Errorf("sent %v in %d requests", got, len(f.all()))
		}
		b.settled("s")
		// An orphan refuses nobody.
		if err := b.m.Apply(b.ctx, []tandem.Subscription{requestSub("s")}); err != nil {
			t.Fatal(err)
		}
		if err := b.m.Apply(b.ctx, nil); err != nil || c.Has("orders") {
			t.Errorf("has %v, %v", c.Has("orders"), err)
		}
	})
}

// TestDeclaredOrder: links are called in the order of the file, whatever their names.
func TestDeclaredOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		b.start(requestSub("z"), requestSub("a"), requestSub("m"))
		order := func() string {
			if _, _, err := b.ask("k"); err != nil {
				t.Fatal(err)
			}
			var names []string
			all := f.all()
			for _, a := range all[len(all)-3:] {
				names = append(names, a.header.Get(tandem.HeaderSubscription))
			}
			return strings.Join(names, " ")
		}
		if got := order(); got != "z a m" {
			t.Errorf("called %s", got)
		}
		if err := b.m.Apply(b.ctx, []tandem.Subscription{requestSub("m"), requestSub("z"), requestSub("a")}); err != nil {
			t.Fatal(err)
		}
		if got := order(); got != "m z a" {
			t.Errorf("after a reload: %s", got)
		}
	})
}

// TestRequestBreaker: after so many failures nobody is called for a while, then one call shows how it is.
func TestRequestBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		s := requestSub("s")
		s.Breaker = tandem.Breaker{Failures: 2, Wait: tandem.Duration(10 * time.Second)}
		b.start(s)
		f.set(func(attemptSeen) *http.Response { return status(500) })
		for i, called := range []int{1, 2, 2, 2} {
			if _, _, err := b.ask("a"); outcomeOf(err) != tandem.LinkUnavailable || len(f.all()) != called {
				t.Errorf("%d: %v, %d calls", i, err, len(f.all()))
			}
		}
		b.wait(11 * time.Second)
		b.ask("a")
		b.ask("a")
		if n := len(f.all()); n != 3 {
			t.Errorf("%d calls after the wait", n)
		}
		b.wait(11 * time.Second)
		f.set(nil)
		for range 3 {
			if _, _, err := b.ask("a"); err != nil {
				t.Error(err)
			}
		}
		b.wait(time.Second)
		rows := b.rows(tandem.DeliveryQuery{State: tandem.DeliveryFailed})
		if len(rows) != 6 || rows[0].Flow != "flow-a" || rows[0].Position != (tandem.Position{}) {
			t.Errorf("%d rows: %+v", len(rows), rows)
		}
		b.stop()
		b.migrate(true)
		b.linked()
		b.start(s)
		if moved := b.rows(tandem.DeliveryQuery{State: tandem.DeliveryFailed}); len(moved) != len(rows) {
			t.Errorf("%d of %d rows in a copy of the log", len(moved), len(rows))
		}
	})
}

// TestRequestCutOff: time that the client cut off says nothing of the endpoint, and the whole of an attempt's own does.
func TestRequestCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		s := requestSub("s")
		s.Breaker = tandem.Breaker{Failures: 2, Wait: tandem.Duration(10 * time.Second)}
		s.Timeout = tandem.Duration(5 * time.Second)
		b.start(s)
		f.set(func(attemptSeen) *http.Response {
			resp := status(204)
			resp.Header.Set("X-Wait", "1m")
			return resp
		})
		ask := func(patience time.Duration, calls int) {
			t.Helper()
			ctx, cancel := context.WithTimeout(b.ctx, patience)
			defer cancel()
			_, err := b.opts.Chain.Publish(ctx, &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: event("a")}}})
			if outcomeOf(err) == "" || len(f.all()) != calls {
				t.Errorf("%v, and %d calls, want %d", err, len(f.all()), calls)
			}
		}
		for i := range 4 {
			ask(time.Second, i+1)
		}
		ask(time.Minute, 5)
		ask(time.Second, 6) // in between it is no success either
		ask(time.Minute, 7)
		ask(time.Minute, 7) // the breaker is open
		b.wait(11 * time.Second)
		ask(time.Second, 8) // a probe that shows nothing
		f.set(nil)
		if _, _, err := b.ask("a"); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// TestRepliesGoThroughLinks: replies of a delivery are stored with what the links of their topic answered, or the attempt has failed.
func TestRepliesGoThroughLinks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		b.topic("results", 2)
		answer := func(typ string) *http.Response {
			return reply(tandem.MediaEvent, fmt.Sprintf(`{"specversion":"1.0","id":"x","source":"/s","type":%q}`, typ))
		}
		f.set(func(attemptSeen) *http.Response { return answer("first") })
		link := b.endpoint("link")
		link.set(func(attemptSeen) *http.Response { return status(422) })
		s := sub("s")
		s.Replies = "results"
		r := requestSub("r")
		r.Service, r.Topics, r.Filter = "link", []string{"results"}, filter(t, `{"exact":{"type":"first"}}`)
		b.start(s, r)
		id := b.publish("a")
		b.wait(500 * time.Millisecond)
		rows := b.rows(tandem.DeliveryQuery{ID: id[0]})
		if len(rows) != 1 || rows[0].State != tandem.DeliveryRetrying || !strings.Contains(rows[0].History[0].Detail, "request link r") {
			t.Errorf("while the link refuses: %+v", rows)
		}
		count := func() (n int) {
			info, _ := b.log.Topic(b.ctx, "results")
			for part := range info.Partitions {
				recs, err := b.log.ReadPartition(b.ctx, info.ID, part, 0, 100, nil)
				if err != nil {
					t.Fatal(err)
				}
				n += len(recs)
			}
			return n
		}
		if n := count(); n != 0 {
			t.Errorf("%d replies stored", n)
		}
		link.set(func(attemptSeen) *http.Response { return answer("second") })
		b.wait(time.Hour)
		b.settled("s")
		if n := count(); n != 2 {
			t.Errorf("%d replies stored, want that of the delivery and that of the link", n)
		}
		b.settled("r")
		page, err := b.m.Deliveries(b.ctx, "r", tandem.DeliveryQuery{State: tandem.DeliveryDelivered})
		if err != nil || len(page.Deliveries) != 1 {
			t.Errorf("the ledger of the link: %+v, %v", page.Deliveries, err)
		}
	})
}

func TestRequestModeIsRefusedBeside(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start()
		if err := b.m.Check([]tandem.Subscription{requestSub("s")}); tandem.CodeOf(err) != tandem.CodeUnsupported {
			t.Errorf("without chains: %v", err)
		}
		b.stop()
		b.linked()
		b.start()
		pulled := tandem.Subscription{Name: "s", Topics: []string{"orders"}, Pull: &tandem.Pull{}, Mode: tandem.DeliverRequest}
		batch := requestSub("s")
		batch.Content = tandem.ContentBatch
		side := sub("s")
		side.Parallel = true
		for _, bad := range []tandem.Subscription{pulled, batch, side} {
			if err := b.m.Check([]tandem.Subscription{bad}); tandem.CodeOf(err) != tandem.CodeInvalid {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}
