package delivery

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// soakOr returns the size of a test: the long one with TANDEM_SOAK=1.
func soakOr(long, short int) int {
	if os.Getenv("TANDEM_SOAK") != "" {
		return long
	}
	return short
}

// ordered is an endpoint that notes whether the events of each key come in order.
type ordered struct {
	mu     sync.Mutex
	answer func(key string) int // nil means 204
	last   map[string]uint64    // offset, by key
	first  int                  // events that came for the first time, if all keys come in order
	again  int
	taken  map[string]int
}

func newOrdered() *ordered { return &ordered{last: map[string]uint64{}, taken: map[string]int{}} }

func (o *ordered) set(answer func(key string) int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func (o *ordered) RoundTrip(r *http.Request) (*http.Response, error) {
	body := make([]byte, r.ContentLength)
	_, _ = r.Body.Read(body)
	e, err := tandem.ParseEventJSON(body)
	if err != nil {
		return nil, err
	}
	pos, err := tandem.ParsePosition(r.Header.Get(tandem.HeaderPosition))
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if last, seen := o.last[e.Subject]; !seen || pos.Offset > last {
		o.last[e.Subject] = pos.Offset
		o.first++
	} else {
		o.again++
	}
	code := http.StatusNoContent
	if o.answer != nil {
		code = o.answer(e.Subject)
	}
	if code == http.StatusNoContent {
		o.taken[e.ID]++
	}
	return status(code), nil
}

// startOrdered starts a subscription that goes to o, with short waits.
func (w *relayBed) startOrdered(t testing.TB, o *ordered) {
	opts := quietOptions("http://svc")
	opts.Transport = func(string) http.RoundTripper { return o }
	s := sub("s")
	s.Concurrency, s.Attempts = relayWorkers, 1000
	s.Backoff = tandem.Backoff{Base: tandem.Duration(10 * time.Millisecond), Max: tandem.Duration(100 * time.Millisecond)}
	w.startWith(t, opts, s)
}

// publishKeys stores n events, of 1,000 keys in turn or of the one that key says.
func (w *relayBed) publishKeys(t testing.TB, n int, key func(i int) string) {
	for at := 0; at < n; at += 500 {
		batch := make([]tandem.Event, min(500, n-at))
		for i := range batch {
			batch[i] = tandem.Event{ID: fmt.Sprint("e", w.published.Add(1)), Source: "/test", Type: "order.placed", Subject: key(at + i), Data: w.data}
		}
		if _, err := w.log.Append(w.ctx, "orders", batch); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for a state of subscription s.
func (w *relayBed) until(t testing.TB, what string, ok func(st tandem.SubscriptionStatus) bool) tandem.SubscriptionStatus {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Millisecond) {
		st, err := w.m.Status(w.ctx, "s")
		if err != nil {
			t.Fatal(err)
		}
		if ok(st) {
			return st
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, st)
		}
	}
}

// TestDownForLong: while an endpoint is down nothing is parked or dead, the cursor stays and memory holds no more than its bound;
// when it is back, all comes in order. With TANDEM_SOAK=1 a million events are behind.
func TestDownForLong(t *testing.T) {
	events := soakOr(1_000_000, 5000)
	w, o := newRelayBed(t), newOrdered()
	o.set(func(string) int { return http.StatusServiceUnavailable })
	w.startOrdered(t, o)
	w.publishKeys(t, 100, relayKey)
	before := w.until(t, "the endpoint is not found to fail", func(st tandem.SubscriptionStatus) bool { return st.State == "failing" && st.Lag == 100 }).Cursor
	w.publishKeys(t, events-100, relayKey)
	st := w.until(t, "the lag", func(st tandem.SubscriptionStatus) bool { return st.Lag == uint64(events) })
	if st.State != "failing" || st.ParkedKeys != 0 || st.Waiting != 0 || st.Dead != 0 || st.Cursor != before {
		t.Fatalf("while it is down: %+v", st)
	}
	s, err := w.m.find("s")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	if s.held > maxHeld || s.heldBytes > maxHeldBytes {
		t.Errorf("%d events of %d bytes are held", s.held, s.heldBytes)
	}
	s.mu.Unlock()
	o.mu.Lock()
	tried := o.first + o.again
	o.answer, o.first, o.again = nil, 0, 0
	clear(o.last)
	o.mu.Unlock()
	began := time.Now()
	w.until(t, "it does not catch up", func(st tandem.SubscriptionStatus) bool { return st.Lag == 0 })
	took := time.Since(began)
	if o.first != events || len(o.taken) != events {
		t.Errorf("%d events came, %d of them in order, want %d", len(o.taken), o.first, events)
	}
	if o.again > 0 {
		t.Errorf("%d came again", o.again)
	}
	if st := w.until(t, "status", func(tandem.SubscriptionStatus) bool { return true }); st.State != "running" || st.Dead != 0 || st.ParkedKeys != 0 {
		t.Errorf("in the end: %+v", st)
	}
	t.Logf("%d events behind, %d attempts while it was down; caught up in %v: %.0f/s", events, tried, took, float64(events)/took.Seconds())
}

// TestOnePoisonedKey: the events of a key whose first one fails wait for it; all others are delivered, in order.
func TestOnePoisonedKey(t *testing.T) {
	events := soakOr(200_000, 5000)
	w, o := newRelayBed(t), newOrdered()
	o.set(func(key string) int {
		if key == "poison" {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	w.startOrdered(t, o)
	poisoned := 0
	w.publishKeys(t, events, func(i int) string {
		if i%1000 == 500 {
			poisoned++
			return "poison"
		}
		return relayKey(i)
	})
	st := w.until(t, "the others are not delivered", func(st tandem.SubscriptionStatus) bool {
		return st.Delivered >= uint64(events-poisoned) && st.Lag == uint64(poisoned)
	})
	if st.State != "running" || st.ParkedKeys > 1 || st.Waiting >= poisoned {
		t.Fatalf("beside %d events of the poisoned key: %+v", poisoned, st)
	}
	o.set(nil)
	st = w.until(t, "the poisoned key", func(st tandem.SubscriptionStatus) bool { return st.Lag == 0 })
	if int(st.Delivered) != events || st.Dead > 0 {
		t.Errorf("in the end: %+v", st)
	}
	if o.again > int(st.Failed) {
		t.Errorf("%d came again, %d attempts failed", o.again, st.Failed)
	}
}
