package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	crowdSubs        = 1000
	crowdSickEach    = crowdSubs / 10 // hang, and as many refuse
	crowdConcurrency = 8
)

// crowdSub is subscription i of 1,000: every tenth hangs, every tenth refuses, the rest take what they get. Those that are well get
// the events of one type in twenty, the sick all of them.
func crowdSub(t testing.TB, i int) tandem.Subscription {
	kind := "well"
	switch i % 10 {
	case 3:
		kind = "hangs"
	case 7:
		kind = "refuses"
	}
	s := sub(fmt.Sprintf("%s.%d", kind, i))
	s.Service, s.Concurrency = s.Name, crowdConcurrency
	if kind == "well" {
		if err := s.Filter.UnmarshalJSON(fmt.Appendf(nil, `{"exact":{"type":"t%d"}}`, i%20)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// crowd is the endpoints of 1,000 subscriptions.
type crowd struct {
	mu    sync.Mutex
	taken map[string]int // by subscription
	late  []time.Duration
	calm  bool // all are well
}

func (c *crowd) transport(service string) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		c.mu.Lock()
		calm := c.calm
		c.mu.Unlock()
		switch {
		case calm || strings.HasPrefix(service, "well"):
		case strings.HasPrefix(service, "hangs"):
			<-r.Context().Done()
			return nil, r.Context().Err()
		default:
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		e, err := tandem.ParseEventJSON(body)
		if err != nil {
			return nil, err
		}
		at, _ := tandem.ParseTime(e.Time)
		c.mu.Lock()
		c.taken[service]++
		c.late = append(c.late, time.Since(at))
		c.mu.Unlock()
		return status(http.StatusNoContent), nil
	})
}

func (c *crowd) events(n int) []tandem.Event {
	out := make([]tandem.Event, n)
	for i := range out {
		out[i] = event(fmt.Sprint("k", rand.IntN(500)))
		out[i].Type = fmt.Sprint("t", i%20)
		out[i].Time = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return out
}

// Of 1,000 subscriptions 100 hang and 100 refuse connections: all others get everything at once, and what the sick ones hold in
// memory, in queues and in goroutines is bounded. When the sick are well they get everything, too.
func TestCrowd(t *testing.T) {
	const events = 2000
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		c := &crowd{taken: map[string]int{}}
		b.opts.Transport = c.transport
		subs := make([]tandem.Subscription, crowdSubs)
		for i := range subs {
			subs[i] = crowdSub(t, i)
		}
		b.start(subs...)
		before := heapInUse()
		goroutines := runtime.NumGoroutine()
		for range 4 {
			if _, err := b.log.Append(b.ctx, "orders", c.events(events/4)); err != nil {
				t.Fatal(err)
			}
			b.wait(time.Second)
			for i := range subs {
				if st := b.status(subs[i].Name); strings.HasPrefix(st.Name, "well") && (st.Lag != 0 || st.State != "running" || st.Failed > 0) {
					t.Fatalf("a subscription that is well: %+v", st)
				}
			}
		}
		checkCrowdBounds(t, b.m, goroutines)
		// An event held costs about a kB: a record of its own and a delivery.
		if used, most := heapInUse()-before, int64(2*crowdSickEach*maxHeld*2048); used > most {
			t.Errorf("%d MiB in use more than before, want at most %d", used>>20, most>>20)
		}
		c.mu.Lock()
		c.calm = true
		c.mu.Unlock()
		b.wait(10 * time.Minute)
		for i := range subs {
			b.settled(subs[i].Name)
			want := events
			if strings.HasPrefix(subs[i].Name, "well") {
				want = events / 20
			}
			if got := c.taken[subs[i].Name]; got != want {
				t.Errorf("%s got %d events, want %d", subs[i].Name, got, want)
			}
		}
	})
}

// checkCrowdBounds checks the queues and goroutines of all subscriptions; those of an idle manager were before.
func checkCrowdBounds(t *testing.T, m *Manager, before int) {
	t.Helper()
	workers := 0
	for _, s := range m.sorted() {
		s.mu.Lock()
		workers += s.workers
		switch {
		case s.held > maxHeld, s.heldBytes > maxHeldBytes:
			t.Errorf("%s holds %d events of %d bytes", s.name, s.held, s.heldBytes)
		case s.workers > crowdConcurrency:
			t.Errorf("%s has %d workers", s.name, s.workers)
		case s.ready.len()+s.begun.len()+len(s.retry) > s.held+len(s.parked)+s.waiting:
			t.Errorf("%s queues %d, %d and %d of %d deliveries", s.name, s.ready.len(), s.begun.len(), len(s.retry), s.held)
		case len(s.ops) > 2*maxHeld, len(s.answered)+len(s.alone)+len(s.after) > maxHeld:
			t.Errorf("%s has %d records, %d answers and %d functions that wait", s.name, len(s.ops), len(s.answered)+len(s.alone), len(s.after))
		}
		s.mu.Unlock()
	}
	if n := runtime.NumGoroutine(); n > before+workers+16 {
		t.Errorf("%d goroutines, %d before and %d workers", n, before, workers)
	}
	if workers > crowdSickEach*crowdConcurrency+crowdSickEach {
		t.Errorf("%d workers", workers)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestCrowdLatency compares how late the deliveries of the 800 that are well are, without the sick and beside them, in one run at
// one rate. The target is 1.5 at p99.
func TestCrowdLatency(t *testing.T) {
	if os.Getenv("TANDEM_SOAK") == "" {
		t.Skip("TANDEM_SOAK is not set")
	}
	const rounds, rate, seconds = 4, 200, 8
	var with, without []time.Duration
	for range rounds { // in turns, so that both meet the same neighbours
		without = append(without, crowdRun(t, false, rate, seconds)...)
		with = append(with, crowdRun(t, true, rate, seconds)...)
	}
	compareLateness(t, fmt.Sprintf("800 subscriptions, %d events/s, %d deliveries/s, beside 200 sick", rate, rate*crowdSubs*8/10/20), without, with)
}

// crowdRun publishes at a rate to the 800 that are well, and perhaps to the sick, and returns how late the former got the events.
func crowdRun(t *testing.T, sick bool, rate, seconds int) []time.Duration {
	w := newRelayBed(t)
	c := &crowd{taken: map[string]int{}}
	opts := quietOptions("http://svc")
	opts.Transport = c.transport
	var subs []tandem.Subscription
	for i := range crowdSubs {
		if s := crowdSub(t, i); sick || strings.HasPrefix(s.Name, "well") {
			subs = append(subs, s)
		}
	}
	w.startWith(t, opts, subs...)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range rate * seconds {
		<-tick.C
		e := c.events(1)
		e[0].Type = fmt.Sprint("t", rand.IntN(20))
		if _, err := w.log.Append(w.ctx, "orders", e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range subs {
		if strings.HasPrefix(subs[i].Name, "well") {
			w.settle(t, subs[i].Name)
		}
	}
	w.close(t) // before the next round
	return c.late
}

func quantiles(all []time.Duration) (p50, p99 time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}
