package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
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

// TestRequestConcurrencyIsABound: no more calls than declared are made at once, whatever is declared anew meanwhile.
func TestRequestConcurrencyIsABound(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		s := requestSub("s")
		s.Concurrency = 2
		b.start(s)
		f.set(func(attemptSeen) *http.Response { return after(time.Second, status(204)) })
		other := sub("other")
		other.Service, other.From = "well", ""
		declare := func(concurrency int) {
			t.Helper()
			s.Concurrency = concurrency
			if err := b.m.Apply(b.ctx, []tandem.Subscription{s, other}); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		ask := func(n int) {
			for range n {
				all.Go(func() {
					if _, _, err := b.ask("a"); err != nil {
						t.Error(err)
					}
				})
			}
			b.idle()
		}
		called := 0
		calls := func(n int) {
			t.Helper()
			b.idle()
			if now := len(f.all()); now-called != n {
				t.Errorf("%d calls at once, want %d", now-called, n)
			}
			called = len(f.all())
		}
		ask(3)
		calls(2)
		declare(2) // beside another
		ask(3)
		calls(0)
		declare(3)
		calls(1)
		ask(20)
		b.wait(time.Second)
		calls(3)
		declare(1)
		b.wait(time.Second)
		calls(1)
		ctx, cancel := context.WithTimeout(b.ctx, time.Millisecond)
		defer cancel()
		_, err := b.opts.Chain.Publish(ctx, &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: event("b")}}})
		if outcomeOf(err) != tandem.LinkTimeout {
			t.Errorf("without a turn: %v", err)
		}
		b.wait(time.Second)
		calls(1)
		rows := b.rows(tandem.DeliveryQuery{State: tandem.DeliveryFailed})
		if len(rows) != 1 || !strings.Contains(rows[0].History[0].Detail, "concurrency") {
			t.Errorf("the ledger has %+v", rows)
		}
		declare(0)
		calls(18)
		all.Wait()
		declare(1)
		ask(1)
		calls(1) // nothing is left of those that had no turn
		all.Wait()
	})
}

// TestRequestBreakerInABurst: those that fail together open the breaker once, and it waits as after the first time.
func TestRequestBreakerInABurst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		s := requestSub("s")
		s.Breaker = tandem.Breaker{Failures: 2}
		s.Backoff = tandem.Backoff{List: []tandem.Duration{tandem.Duration(time.Second), tandem.Duration(time.Hour)}}
		b.start(s)
		f.set(func(attemptSeen) *http.Response { return after(time.Second, status(500)) })
		var burst sync.WaitGroup
		for range 50 {
			burst.Go(func() { b.ask("a") })
		}
		burst.Wait()
		if _, _, err := b.ask("a"); outcomeOf(err) != tandem.LinkUnavailable || len(f.all()) != 50 {
			t.Errorf("%v, %d calls", err, len(f.all()))
		}
		b.wait(2 * time.Second)
		b.ask("a") // fails as well: from here on the second wait holds
		b.wait(2 * time.Second)
		b.ask("a")
		if n := len(f.all()); n != 51 {
			t.Errorf("%d calls, want one after the first wait", n)
		}
	})
}

// TestRequestsWhileTheLogFails: nobody is called whose outcome cannot be stored, and what waits for the log has a bound.
func TestRequestsWhileTheLogFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		b.start(requestSub("s"))
		f.set(func(attemptSeen) *http.Response {
			b.eng.Fail(errDisk)
			return status(204)
		})
		if _, _, err := b.ask("a"); err == nil || len(f.all()) != 1 {
			t.Errorf("%v, %d calls", err, len(f.all()))
		}
		b.wait(time.Second) // now it is known
		s, err := b.m.find("s")
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		l := &requestLink{s: s, policy: s.policy()}
		s.mu.Unlock()
		rec := &tandem.Record{Event: event("b")}
		for range maxUncommitted + 100 {
			a := l.Call(b.ctx, rec)
			if a.Outcome != tandem.LinkUnavailable {
				t.Fatalf("answered with %+v", a)
			}
			l.Note(&chain.Called{Event: rec, Answer: &a})
		}
		s.mu.Lock()
		waiting := len(s.ledger.pending)
		s.mu.Unlock()
		if n := len(f.all()); n != 1 || waiting != maxUncommitted {
			t.Errorf("%d calls, %d rows wait", n, waiting)
		}
		b.eng.Fail(nil)
		f.set(nil)
		b.wait(time.Minute)
		if _, _, err := b.ask("c"); err != nil {
			t.Error(err)
		}
		b.wait(time.Second)
		if rows := b.rows(tandem.DeliveryQuery{Flow: "flow-c"}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
			t.Errorf("the ledger has %+v", rows)
		}
	})
}

// TestRequestRefusedInWords: what a service said is in the ledger alone; the publisher is told what that came to.
func TestRequestRefusedInWords(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		s := requestSub("s")
		s.Answers = map[string]string{"202": tandem.AnswerRetry}
		b.start(s)
		says := func(status int, mediaType string) {
			f.set(func(attemptSeen) *http.Response {
				resp := reply(mediaType, `{"specversion":"1.0","id":"x","source":"/s","type":"t","hunter2":{}}`)
				resp.StatusCode = status
				return resp
			})
		}
		asked := 0
		told := func(want string) {
			t.Helper()
			asked++
			key := fmt.Sprint(asked)
			_, _, err := b.ask(key)
			if outcomeOf(err) == "" || !strings.Contains(err.Error(), want) || strings.Contains(fmt.Sprintf("%v %+v", err, tandem.ProblemOf(err)), "hunter2") {
				t.Errorf("the publisher is told: %v", err)
			}
			b.wait(time.Second)
			rows := b.rows(tandem.DeliveryQuery{Flow: "flow-" + key})
			if len(rows) != 1 || !strings.Contains(rows[0].History[0].Detail, "hunter2") {
				t.Errorf("the ledger has %+v", rows)
			}
		}
		says(422, "text/plain")
		told("422")
		says(202, "text/plain")
		told("202")
		says(200, tandem.MediaEvent)
		told("refused")
		says(410, "text/plain")
		b.publish("a") // as an event, which disables it
		b.wait(time.Second)
		if st := b.status("s"); st.State != "disabled" || !strings.Contains(st.Reason, "hunter2") {
			t.Fatalf("status %+v", st)
		}
		told("it is disabled")
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
