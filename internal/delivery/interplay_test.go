package delivery

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// run returns what runs a subscription, to look into.
func (b *bed) running(name string) *subscription {
	b.t.Helper()
	s, err := b.m.find(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// crowdFake answers everything with a status after a second, and counts the requests that are under way at once.
type crowdFake struct {
	mu     sync.Mutex
	code   int
	inside int
	most   int
}

func (f *crowdFake) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.inside++
	f.most = max(f.most, f.inside)
	code := f.code
	f.mu.Unlock()
	time.Sleep(time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inside--
	return status(code), nil
}

// Attempts whose start was recorded for batches keep to the concurrency when the next requests have single events.
func TestFromBatchesToSingleEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		f := &crowdFake{code: 204}
		b.opts.Transport = func(string) http.RoundTripper { return f }
		b.publish(keys(100, 100)...)
		s := sub("s")
		s.Content, s.BatchSize, s.Concurrency = tandem.ContentBatch, 100, 2
		s.Rate = minRate // holds back all but the first
		b.start(s)
		b.wait(2 * time.Second)
		run := b.running("s")
		run.mu.Lock()
		for range 50 { // as when a batch was recorded a moment ago
			d := run.ready.pop()
			run.inFlight++
			d.attempts++
			d.stage = stageStarting
			run.begun.push(d)
		}
		run.mu.Unlock()
		s.Content, s.BatchSize, s.Rate = "", 0, 0
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
		b.wait(2 * time.Minute)
		b.settled("s")
		if f.most > 2 {
			t.Fatalf("%d requests at once, want 2", f.most)
		}
	})
}

// A key whose events are taken slowly does not hold back what others have behind them in the log.
func TestSlowKey(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "slow" {
				return after(5*time.Second, status(204))
			}
			return after(time.Second, status(204))
		})
		b.topic("one", 1)
		for range 700 {
			b.publishTo("one", "slow")
		}
		b.publishTo("one", keys(400, 400)...)
		late := b.publishTo("one", "late")[0]
		s := sub("s")
		s.Topics = []string{"one"}
		b.start(s)
		b.wait(20 * time.Second)
		for _, a := range f.all() {
			if a.id == late {
				return
			}
		}
		t.Fatalf("the event of another key was not sent; status %+v", b.status("s"))
	})
}

// What disabled a subscription is said as it was.
func TestDisabledByAnotherStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(404) })
		s := sub("s")
		s.Answers = map[string]string{"404": tandem.AnswerDisable}
		b.start(s)
		b.publish("a")
		b.wait(time.Second)
		if st := b.status("s"); st.State != "disabled" || strings.Contains(st.Reason, "410") || !strings.Contains(st.Reason, "404") {
			t.Fatalf("status %+v", st)
		}
	})
}

// Stop does not wait for attempts of a subscription that another process has: their start can never be recorded.
func TestStopAfterTakeover(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(404) })
		s := sub("s")
		s.Backoff.List = seconds(1)
		b.start(s)
		b.publish("a")
		b.wait(100 * time.Millisecond)
		if _, err := b.log.Own(b.ctx, "delivery/s"); err != nil {
			t.Fatal(err)
		}
		b.wait(5 * time.Second)
		run := b.running("s")
		run.mu.Lock()
		lost, inFlight := run.lost, run.inFlight
		run.mu.Unlock()
		if !lost || inFlight != 1 {
			t.Fatalf("lost %v with %d in flight", lost, inFlight)
		}
		ctx, cancel := ctxAfter(time.Hour)
		defer cancel()
		began := time.Now()
		if err := b.m.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Fatalf("it took %v", took)
		}
		b.m = nil
	})
}

// A seek gives up what waits in the log, also where its order does not count any more.
func TestSeekOverWhatWaited(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return after(5*time.Second, status(404)) })
		s := sub("s")
		s.Backoff.List = seconds(60)
		b.start(s)
		b.publish("k", "k", "k")
		b.wait(10 * time.Second)
		if st := b.status("s"); st.ParkedKeys != 1 || st.Waiting != 2 {
			t.Fatalf("status %+v", st)
		}
		s.Ordering = tandem.OrderingNone
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
		b.stop()
		b.start()
		b.wait(time.Second)
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{}, false); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.settled("s")
	})
}

// A breaker that opens at once does not keep an event from using up its attempts.
func TestBreakerThatOpensAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(404)
			}
			return status(204)
		})
		s := sub("s")
		s.Attempts, s.Backoff.List, s.Breaker.Failures = 3, seconds(1), 1
		b.start(s)
		b.publish("bad")
		for range 60 {
			b.publish("good")
			b.wait(10 * time.Second)
		}
		if st := b.status("s"); st.Dead != 1 || st.Lag != 0 {
			t.Fatalf("status %+v after %d attempts", st, len(f.all()))
		}
	})
}

// Leases that nobody ends do not hold back what is sent since the subscription is not pulled any more.
func TestLeasesOfBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		p := pulledSub("s")
		p.Concurrency, p.Pull.Visibility = 2, tandem.Duration(tandem.MaxVisibility)
		b.start(p)
		b.publish("a", "b")
		b.wait(time.Second)
		if n := len(b.pull(2, 0)); n != 2 {
			t.Fatalf("%d leases", n)
		}
		s := sub("s")
		s.Concurrency = 2
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
		b.publish("c", "d")
		b.wait(time.Second)
		if n := len(f.all()); n != 2 {
			t.Fatalf("%d requests beside the leases, want 2", n)
		}
		b.wait(tandem.MaxVisibility)
		b.settled("s")
	})
}

// Nor do they when they, and what waits behind them, fill the memory.
func TestLongLeasesOfBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		p := pulledSub("s")
		p.Pull.Visibility = tandem.Duration(tandem.MaxVisibility)
		b.start(p)
		b.publish(keys(900, 1100)...)
		b.wait(time.Second)
		b.pull(tandem.DefaultLeases, 0)
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{sub("s")}))
		last := b.publish("x")[0]
		b.wait(time.Minute)
		if !slices.Contains(f.ids(), last) {
			t.Fatalf("%s was not sent; status %+v", last, b.status("s"))
		}
	})
}

// The rate that an endpoint allowed says nothing about clients that pull.
func TestAllowedRateAndPull(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		run := b.running("s")
		run.mu.Lock()
		run.allowed = 0.01 // as a handshake does
		run.mu.Unlock()
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{pulledSub("s")}))
		b.publish("a", "b", "c")
		b.wait(time.Second)
		if n := len(b.pull(3, 0)); n != 3 {
			t.Fatalf("%d leases, want 3", n)
		}
	})
}

// An event that is tried on after its last attempt can be acknowledged, however often it was leased.
func TestAckOfAHighAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Attempts, s.Exhausted = 1, tandem.ExhaustedPause
		b.start(s)
		b.publish("a")
		b.wait(time.Second)
		for range maxAttempts + 1 {
			b.nack(0, b.pull(1, 0)...)
		}
		expect(t, "acknowledgement", b.ack(b.pull(1, 0)...), tandem.LeaseAcknowledged)
		b.settled("s")
	})
}

// An event that is not in memory and turns out to be too many replies away is a dead letter where it would be leased, too.
func TestLoopIsNotLeased(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(404) })
		b.start(sub("s"))
		b.publish("k")
		far := event("k")
		far.Meta.Hops = tandem.MaxHops + 1
		if _, err := b.log.Append(b.ctx, "orders", []tandem.Event{far}); err != nil {
			t.Fatal(err)
		}
		b.wait(500 * time.Millisecond)
		if st := b.status("s"); st.Waiting != 1 {
			t.Fatalf("status %+v", st)
		}
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{pulledSub("s")}))
		b.wait(time.Minute)
		b.ack(b.pull(1, 0)...)
		if leases := b.pull(1, 0); len(leases) != 0 {
			t.Fatalf("leased: %+v", leases)
		}
		b.wait(time.Second)
		if st := b.status("s"); st.Dead != 1 || st.Lag != 0 || st.InFlight != 0 {
			t.Fatalf("status %+v", st)
		}
	})
}

// The bytes of a dead letter are given back, whoever ends it.
func TestLateAckOfARedrive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Attempts = 1
		b.start(s)
		b.publish("a")
		b.wait(time.Second)
		b.nack(0, b.pull(1, 0)...)
		b.wait(time.Second)
		if _, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		leases := b.pull(1, 0)
		b.stop()
		b.start()
		b.wait(time.Second)
		if got := b.ack(leases...); got[0] != tandem.LeaseAcknowledged {
			b.ack(b.pull(1, 0)...)
		}
		b.wait(time.Second)
		run := b.running("s")
		run.mu.Lock()
		defer run.mu.Unlock()
		if run.copies != (tally{}) {
			t.Fatalf("counted: %+v", run.copies)
		}
	})
}

// The ledger has the time of an acknowledgement that came after a restart.
func TestLedgerOfALateAck(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		b.publish("a")
		b.wait(time.Second)
		leases := b.pull(1, 0)
		b.stop()
		b.start()
		b.wait(time.Second)
		now := time.Now()
		expect(t, "acknowledgement", b.ack(leases...), tandem.LeaseAcknowledged)
		b.wait(time.Second)
		rows := b.rows(tandem.DeliveryQuery{})
		if len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered || rows[0].Ended != rfc3339(now) {
			t.Fatalf("rows %+v", rows)
		}
	})
}

// What was parked when it was leased is told with its event.
func TestLedgerOfAParkedLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(404) })
		b.start(sub("s"))
		ids := b.publish("k", "k")
		b.wait(500 * time.Millisecond)
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{pulledSub("s")}))
		b.wait(time.Minute)
		b.ack(b.pull(1, 0)...)
		b.ack(b.pull(1, 0)...)
		b.wait(time.Second)
		for i, d := range b.rows(tandem.DeliveryQuery{}) {
			if d.ID != ids[i] {
				t.Errorf("row %+v", d)
			}
		}
	})
}
