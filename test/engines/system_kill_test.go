package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	killKeys     = 8
	killAttempts = 6
	killBehind   = 200 // how far publishers run ahead of deliveries
)

// TestSystemKill kills the server again and again in the middle of deliveries that are answered with replies. In the end every event with a
// receipt was delivered, first in order of its key; its reply is there once for readers; a kill has at most the deliveries repeated whose
// outcome was not stored, of which there is one for each key; and no attempt has a number above the most that there may be and the kills.
// TANDEM_SOAK=1 kills 50 times instead of 3.
func TestSystemKill(t *testing.T) {
	kills := 3
	if os.Getenv("TANDEM_SOAK") != "" {
		kills = 50
	}
	onEngines(t, true, func(t *testing.T, engine string) {
		k := &killed{t: t, taken: map[string]int{}, first: map[string][]int{}}
		sink := httptest.NewServer(http.HandlerFunc(k.take))
		defer sink.Close()
		k.s = startSystem(t, ownPrefix(engine), fmt.Sprintf(`
services:
  sink: {url: %s}
topics:
  orders: {partitions: 4}
  replies: {partitions: 2}
subscriptions:
  hook: {topics: [orders], service: sink, path: /, replies: replies, from: earliest, attempts: %d, backoff: {base: 10ms, max: 100ms}}
`, sink.URL, killAttempts))
		ctx, stop := context.WithCancel(t.Context())
		var publishers sync.WaitGroup
		for p := range killKeys {
			publishers.Go(func() { k.publish(ctx, fmt.Sprint("key", p)) })
		}
		defer publishers.Wait()
		defer stop()
		for range kills {
			was := k.delivered()
			k.s.within(time.Minute, "deliveries go on", func() bool { return k.delivered() > was+20 })
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the moment of the kill is any
			k.s.stop(syscall.SIGKILL)
			k.s.run()
		}
		stop()
		publishers.Wait()
		k.s.within(2*time.Minute, "all is delivered", func() bool {
			st, ok := k.s.subscription("hook")
			return ok && st.Lag+st.InFlight+st.Retrying == 0 && k.behind() <= 0
		})
		k.check(kills)
	})
}

// killed is what was done.
type killed struct {
	t *testing.T
	s *system

	mu      sync.Mutex
	stored  []string         // ids with a receipt
	taken   map[string]int   // how often
	first   map[string][]int // by key, in order of first requests
	repeats int
	highest int // attempt
}

// publish sends the events of one key in order; each again and again until there is a receipt.
func (k *killed) publish(ctx context.Context, key string) {
	for n := 0; ctx.Err() == nil; n++ {
		for k.behind() > killBehind && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		for {
			a := k.s.publish(ctx, "orders", key, n)
			if a.status == http.StatusCreated {
				break
			}
			if ctx.Err() != nil {
				return
			}
			if a.status != 0 && a.status != http.StatusServiceUnavailable {
				k.t.Errorf("publish: %d %s", a.status, a.body)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		k.mu.Lock()
		k.stored = append(k.stored, eventID(key, n))
		k.mu.Unlock()
	}
}

// take is the webhook: it answers with a reply, and fails now and then.
func (k *killed) take(w http.ResponseWriter, r *http.Request) {
	var e systemEvent
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return // the server was killed while it sent
	}
	attempt, err := strconv.Atoi(r.Header.Get("Tandem-Attempt"))
	if err != nil {
		k.t.Errorf("Tandem-Attempt: %v", err)
	}
	fails := rand.IntN(50) == 0
	k.mu.Lock()
	k.highest = max(k.highest, attempt)
	if k.taken[e.ID] > 0 {
		k.repeats++
	}
	if all := k.first[e.Subject]; k.taken[e.ID] == 0 && (len(all) == 0 || all[len(all)-1] != e.Data.N) {
		k.first[e.Subject] = append(all, e.Data.N)
	}
	if !fails {
		k.taken[e.ID]++
	}
	k.mu.Unlock()
	if fails {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	fmt.Fprintf(w, `{"specversion":"1.0","id":"reply-%s","source":"/sink","type":"order.seen"}`, e.ID)
}

func (k *killed) delivered() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.taken)
}

// behind is about how many events with a receipt were not taken: an event may be taken without one.
func (k *killed) behind() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.stored) - len(k.taken)
}

func (k *killed) check(kills int) {
	stored, replies := map[string]int{}, map[string]int{}
	for _, e := range k.s.events("orders") {
		stored[e.ID]++
	}
	for _, e := range k.s.events("replies") {
		replies[strings.TrimPrefix(e.ReplyID, "reply-")]++
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range k.stored {
		if stored[id] != 1 || k.taken[id] == 0 || replies[id] != 1 {
			k.t.Errorf("%s has a receipt, is there %d times, was taken %d times and has %d replies", id, stored[id], k.taken[id], replies[id])
		}
	}
	for key, all := range k.first {
		next := 0
		for _, n := range all {
			if n > next {
				k.t.Errorf("event %d of %s came before %d", n, key, next)
			}
			next = max(next, n+1)
		}
	}
	if most := kills * killKeys; k.repeats > most {
		k.t.Errorf("%d deliveries were repeated in %d kills, at most %d may be", k.repeats, kills, most)
	}
	if most := killAttempts + kills; k.highest > most {
		k.t.Errorf("an attempt has number %d, at most %d may be", k.highest, most)
	}
	if st, ok := k.s.subscription("hook"); !ok || st.Dead+st.Expired != 0 || st.State != "running" {
		k.t.Errorf("the subscription: %+v", st)
	}
	k.t.Logf("%d kills, %d events, %d deliveries repeated, highest attempt %d", kills, len(k.stored), k.repeats, k.highest)
}
