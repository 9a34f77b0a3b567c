package delivery

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestRedriveUnderTraffic: dead letters are redriven at a rate, each delivered once with the id of its event, while live events go
// on. TANDEM_SOAK=1 redrives 100,000 and shows how late the live ones are with and without.
func TestRedriveUnderTraffic(t *testing.T) {
	letters, rate, live := soakOr(100_000, 5000), float64(soakOr(2000, 5000)), 500
	var late lateness
	var refuse atomic.Bool
	w := newRelayBed(t)
	refuse.Store(true)
	var mu sync.Mutex
	redriven := map[string]int{}
	w.sinkHandler(t, func(rw http.ResponseWriter, r *http.Request, e *tandem.Event, body []byte) {
		switch {
		case strings.HasPrefix(e.Subject, "live"):
			late.note(body)
		case refuse.Load():
			rw.WriteHeader(http.StatusUnprocessableEntity)
			return
		default:
			mu.Lock()
			redriven[e.ID]++
			mu.Unlock()
		}
		rw.WriteHeader(http.StatusNoContent)
	})
	w.start(t, w.subscription("s"))
	w.publishKeys(t, letters, relayKey)
	w.until(t, "the letters are not dead", func(st tandem.SubscriptionStatus) bool { return st.Dead == letters && st.Lag == 0 })
	refuse.Store(false)
	during := time.Duration(float64(letters) / rate * float64(time.Second))
	w.traffic(t, live, during)
	alone := late.take()
	began := time.Now()
	n, err := w.m.Redrive(w.ctx, "s", tandem.DeadLetterSelection{Rate: rate})
	if err != nil || n.Count != letters {
		t.Fatal(n, err)
	}
	w.traffic(t, live, during)
	beside := late.take()
	w.until(t, "the letters are not redriven", func(st tandem.SubscriptionStatus) bool { return st.Dead == 0 && st.InFlight == 0 })
	took := time.Since(began)
	// A tenth of a second's worth may go at once.
	if least := during - 100*time.Millisecond; took < least {
		t.Errorf("%d letters at %.0f/s were redriven in %v, want at least %v", letters, rate, took, least)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(redriven) != letters {
		t.Errorf("%d letters came, want %d", len(redriven), letters)
	}
	for id, n := range redriven {
		if n != 1 || !strings.HasPrefix(id, "e") {
			t.Errorf("%s came %d times", id, n)
		}
	}
	compareLateness(t, fmt.Sprintf("live at %d/s, %d redriven at %.0f/s in %v", live, letters, rate, took), alone, beside)
}

// TestReplayUnderTraffic: all that was delivered is replayed once, with the ids that it had, while live events go on; the replay ends, and
// gets nothing that is newer. TANDEM_SOAK=1 replays a million events and shows how late the live ones are with and without.
func TestReplayUnderTraffic(t *testing.T) {
	events, rate, live := soakOr(1_000_000, 5000), float64(5000), 500
	var late lateness
	w := newRelayBed(t)
	var mu sync.Mutex
	hooks, replayed := make(map[string]uint64, events), make(map[string]int, events)
	w.sinkHandler(t, func(rw http.ResponseWriter, r *http.Request, e *tandem.Event, body []byte) {
		hook := tandem.Fingerprint(r.Header.Get(tandem.HeaderWebhookID))
		id := binary.BigEndian.Uint64(hook[:])
		mu.Lock()
		switch again := r.Header.Get(tandem.HeaderReplay); {
		case again == "" && strings.HasPrefix(e.Subject, "live"):
			late.note(body)
		case again == "":
			hooks[e.ID] = id
		default:
			replayed[e.ID]++
			if hooks[e.ID] != id || again != "1" || r.Header.Get(tandem.HeaderSubscription) != "s" {
				t.Errorf("%s is replayed with the id %s: %v", e.ID, r.Header.Get(tandem.HeaderWebhookID), r.Header)
			}
		}
		mu.Unlock()
		rw.WriteHeader(http.StatusNoContent)
	})
	w.start(t, w.subscription("s"))
	w.publishKeys(t, events, relayKey)
	w.settle(t, "s")
	during := time.Duration(float64(events) / rate * float64(time.Second))
	w.traffic(t, live, min(during, 30*time.Second))
	alone := late.take()
	began := time.Now()
	again, err := w.m.Replay(w.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}, Filter: replayFilter(t), Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	w.traffic(t, live, during)
	beside := late.take()
	for st := (tandem.SubscriptionStatus{}); st.State != "ended"; time.Sleep(time.Millisecond) {
		if st, err = w.m.Status(w.ctx, again.Name); err != nil || time.Since(began) > during+5*time.Minute {
			t.Fatalf("the replay does not end: %+v %v", st, err)
		}
	}
	took := time.Since(began)
	mu.Lock()
	defer mu.Unlock()
	if len(replayed) != events {
		t.Errorf("%d events were replayed, want %d", len(replayed), events)
	}
	for id, n := range replayed {
		if n != 1 {
			t.Errorf("%s was replayed %d times", id, n)
		}
	}
	compareLateness(t, fmt.Sprintf("live at %d/s, %d replayed at %.0f/s in %v", live, events, rate, took), alone, beside)
}

// replayFilter leaves out the events of live traffic.
func replayFilter(t *testing.T) tandem.Filter { return filter(t, `{"exact":{"source":"/test"}}`) }

// traffic publishes live events at a rate, each with the time at which it was due, and waits until all have their outcome.
func (w *relayBed) traffic(t testing.TB, rate int, d time.Duration) {
	atRate(rate, d, func(due time.Time, i int) {
		e := tandem.Event{Source: "/live", Type: "order.placed", Subject: fmt.Sprint("live", i%100), Data: dueAt(due)}
		if _, err := w.log.Append(w.ctx, "orders", []tandem.Event{e}); err != nil {
			t.Error(err)
		}
	})
	w.settle(t, "s")
}

// compareLateness logs how late events were without something and beside it.
func compareLateness(t *testing.T, what string, alone, beside []time.Duration) {
	p50, p99 := quantiles(alone)
	beside50, beside99 := quantiles(beside)
	if p99 == 0 {
		t.Fatal("no event was received")
	}
	t.Logf("%s: p50 %v, p99 %v alone; p50 %v, p99 %v beside it: ratio %.2f at p99", what, p50, p99, beside50, beside99, float64(beside99)/float64(p99))
}
