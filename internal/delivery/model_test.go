package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestModel runs random publishes, failures, crashes, restarts, seeks and redrives in virtual time and checks promises 2, 3 and
// 4 on what endpoints and clients saw and what the log holds. TANDEM_SOAK=1 runs 100,000 seeds, TANDEM_SEEDS=N so many;
// TANDEM_SEED=N runs that one.
func TestModel(t *testing.T) {
	seeds, first := 200, 1
	if os.Getenv("TANDEM_SOAK") != "" {
		seeds = 100_000
	}
	if n, err := strconv.Atoi(os.Getenv("TANDEM_SEEDS")); err == nil {
		seeds = n
	}
	if one, err := strconv.Atoi(os.Getenv("TANDEM_SEED")); err == nil {
		seeds, first = 1, one
	}
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		t.Run(fmt.Sprint("worker", w), func(t *testing.T) {
			t.Parallel()
			for seed := first + w; seed < first+seeds && !t.Failed(); seed += workers {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) { newModel(t, b, uint64(seed)).run() })
				})
			}
		})
	}
}

const modelAttempts = 4

// Ways in which the events of a model reach somebody.
const (
	modelWebhook   = iota // one by one, in order of their keys
	modelPull             // leased by clients
	modelBatch            // several in a request, in order of their keys
	modelUnordered        // one by one or several in a request, in any order
	modelKinds
)

// model is what must hold, and what was done.
type model struct {
	t    *testing.T
	b    *bed
	rng  *rand.Rand
	kind int
	sub  tandem.Subscription

	moves bool // each end of a process is followed by a migration into another log

	events  map[string]*modelEvent
	order   []string
	crashes []time.Time
	ends    []time.Time // of processes, by a crash or not
	seeks   []time.Time // the epoch rises at each

	replays []modelReplay

	mu        sync.Mutex
	again     []*sending // to replays
	dice      *rand.Rand // of endpoints and clients
	down      int        // 0 up, 1 refuses connections, 2 answers 503; to a client that is down leases expire
	flaky     float64
	poisoned  map[string]bool
	sent      []*sending
	redriven  map[string]bool // event ids that were dead and are, or were, redriven
	discarded map[string]bool
	healed    bool

	// of clients that pull:
	mgr     *Manager
	process int // rises when all leases become void
	clients sync.WaitGroup
}

func newModel(t *testing.T, b *bed, seed uint64) *model {
	return &model{t: t, b: b, rng: rand.New(rand.NewPCG(seed, 7)), dice: rand.New(rand.NewPCG(seed, 8)), kind: int(seed % modelKinds),
		events: map[string]*modelEvent{}, redriven: map[string]bool{}, discarded: map[string]bool{}, poisoned: map[string]bool{}}
}

// modelReplay is a replay of all that there was when it began.
type modelReplay struct {
	name string
	upto int // index of the first event that it does not have
}

type modelEvent struct {
	id, key string
	index   int // in order of publishing
}

// sending is an event that an endpoint got, or a client leased.
type sending struct {
	event    string
	key      string
	hook     string // webhook-id: event, subscription and epoch
	attempt  int
	from, to time.Time // to is the end of the attempt; of a lease it is known from the beginning
	ok       bool
	maybe    bool      // ok was not confirmed
	done     time.Time // of ok
	replay   int       // its number, zero for none
	replies  bool      // the endpoint answers with a reply if it takes it
	replied  bool
}

func (m *model) run() {
	m.b.topic("replies", 2)
	m.b.opts.Transport = func(string) http.RoundTripper { return roundTrip(m.handle) }
	m.b.opts.WaitingEvents, m.b.opts.ParkedKeys = 40, 8
	m.sub = m.subscription()
	m.start(m.sub)
	ctx, cancel := context.WithCancel(m.b.ctx)
	if m.kind == modelPull {
		for range 1 + m.rng.IntN(3) {
			m.clients.Go(func() { m.client(ctx) })
		}
	}
	defer m.clients.Wait()
	defer cancel()
	for range 30 + m.rng.IntN(30) {
		m.step()
	}
	m.heal()
	cancel()
	m.clients.Wait() // they note what was acknowledged after it is
	m.check()
}

// subscription draws a declaration.
func (m *model) subscription() tandem.Subscription {
	s := sub("s")
	s.Attempts, s.Concurrency = modelAttempts, 1+m.rng.IntN(8)
	short := func(d time.Duration) tandem.Duration { return tandem.Duration(m.b.short(d)) }
	s.Backoff = tandem.Backoff{Base: short(200 * time.Millisecond), Max: short(5 * time.Second)}
	if m.rng.IntN(4) == 0 {
		s.Backoff = tandem.Backoff{List: []tandem.Duration{short(100 * time.Millisecond), short(2 * time.Second)}}
	}
	if m.kind == modelPull {
		s.Service, s.Path, s.Pull = "", "", &tandem.Pull{Visibility: tandem.Duration(m.b.lease(2 * time.Second))}
		return s
	}
	s.Replies, s.Timeout = "replies", tandem.Duration(m.b.lease(2*time.Second))
	if m.kind == modelUnordered {
		s.Ordering = tandem.OrderingNone
	}
	if m.kind == modelBatch || m.kind == modelUnordered && m.rng.IntN(2) == 0 {
		s.Content, s.BatchSize = tandem.ContentBatch, 1+m.rng.IntN(10)
	}
	if m.rng.IntN(4) == 0 {
		s.Breaker = tandem.Breaker{Failures: 2 + m.rng.IntN(4), Wait: tandem.Duration(m.rng.IntN(2)) * short(3*time.Second)}
	}
	if m.rng.IntN(4) == 0 {
		s.Rate = float64(20 + m.rng.IntN(80))
	}
	if m.rng.IntN(4) == 0 {
		s.Answers = map[string]string{"404": tandem.AnswerDead, "5xx": tandem.AnswerRetry}
	}
	if m.rng.IntN(6) == 0 {
		s.Exhausted, s.PauseAfter = tandem.ExhaustedPause, short(5*time.Second)
	}
	return s
}

// start and end let clients know which manager there is.
func (m *model) start(subs ...tandem.Subscription) {
	m.b.start(subs...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mgr = m.b.m
}

// turn does what ends all leases.
func (m *model) turn(how func()) {
	void := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.process++
		for _, s := range m.sent {
			if m.kind == modelPull && s.to.After(time.Now()) {
				s.to = time.Now()
			}
		}
	}
	void()
	how()
	void()
}

func (m *model) step() {
	b := m.b
	switch n := m.rng.IntN(100); {
	case n < 40:
		for range 1 + m.rng.IntN(30) {
			m.publish()
		}
	case n < 65:
		b.wait(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
	case n < 70:
		time.Sleep(time.Duration(m.rng.IntN(30)) * time.Millisecond)
		m.crash()
	case n < 73:
		m.turn(func() {
			b.stop()
			m.move()
		})
		m.ends = append(m.ends, time.Now())
		m.start()
	case n < 78:
		m.mu.Lock()
		m.down = m.rng.IntN(3)
		m.mu.Unlock()
	case n < 84:
		m.mu.Lock()
		k := m.key()
		m.poisoned[k] = !m.poisoned[k]
		m.mu.Unlock()
	case n < 88:
		m.mu.Lock()
		m.flaky = m.rng.Float64() * 0.5
		m.mu.Unlock()
	case n < 91:
		m.redrive()
	case n < 93:
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			m.t.Fatal(err)
		}
		b.wait(time.Second)
		m.resume()
	case n < 96:
		m.seek()
	case n < 97:
		m.replay()
	default:
		b.wait(time.Duration(m.rng.IntN(60)) * time.Second)
	}
	if st := b.status("s"); st.ParkedKeys > 8+maxHeld || st.Waiting > 40+maxHeld {
		m.t.Fatalf("over the caps: %+v", st)
	}
}

func (m *model) resume() {
	if err := m.b.m.Resume(m.b.ctx, "s"); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) key() string {
	return []string{"a", "b", "c", "d", "e", "f", ""}[m.rng.IntN(7)]
}

func (m *model) publish() {
	n := len(m.order)
	e := &modelEvent{key: m.key(), index: n}
	e.id = fmt.Sprintf("%s-%d", e.key, n)
	m.events[e.id] = e
	m.order = append(m.order, e.id)
	event := tandem.Event{ID: e.id, Source: "/test", Type: "order.placed", Subject: e.key, Data: fmt.Appendf(nil, `{"n":%d}`, n%2)}
	m.b.publishEvent(event)
}

func (m *model) crash() {
	m.crashes, m.ends = append(m.crashes, time.Now()), append(m.ends, time.Now())
	m.turn(func() {
		m.b.crash()
		m.move()
	})
	m.start()
}

// seek goes back to the beginning: from then on everything is delivered again, in a new epoch.
func (m *model) seek() {
	m.turn(func() {
		if _, err := m.b.m.Seek(m.b.ctx, "s", tandem.Start{Earliest: true}, false); err != nil {
			m.t.Fatal(err)
		}
	})
	m.seeks = append(m.seeks, time.Now())
}

// replay delivers everything again beside the live subscription.
func (m *model) replay() {
	if m.kind == modelPull || len(m.replays) == maxReplays {
		return
	}
	sub, err := m.b.m.Replay(m.b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}, EvenIfSeen: m.rng.IntN(2) == 0})
	if err != nil {
		m.t.Fatal(err)
	}
	m.replays = append(m.replays, modelReplay{sub.Name, len(m.order)})
}

func (m *model) redrive() {
	for _, l := range m.lettersOf("s") {
		id := l.Event.ID
		verb, rate := m.b.m.Redrive, float64(m.rng.IntN(3)*10)
		m.mu.Lock()
		m.redriven[id] = true
		if m.rng.IntN(4) == 0 {
			verb, rate = m.b.m.Discard, 0
			m.discarded[id] = true
			for _, s := range m.sent { // a lease of its redrive ends, too
				if m.kind == modelPull && s.event == id && s.to.After(time.Now()) {
					s.to = time.Now()
				}
			}
		}
		m.mu.Unlock()
		if _, err := verb(m.b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{l.ID}, Rate: rate}); err != nil && tandem.CodeOf(err) != tandem.CodeNotFound {
			m.t.Fatal(err)
		}
	}
}

func (m *model) lettersOf(name string) []tandem.DeadLetter {
	all, _, err := m.b.m.DeadLetters(m.b.ctx, name, "", 0)
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

// heal lets everything succeed and waits until nothing is left to do.
func (m *model) heal() {
	m.mu.Lock()
	m.healed = true
	m.mu.Unlock()
	if m.b.real {
		m.healReal()
		return
	}
	for range 60 {
		m.resume() // it may have paused by itself
		m.b.wait(30 * time.Second)
		if st := m.b.status("s"); st.Lag == 0 && st.InFlight == 0 && st.Retrying == 0 {
			break
		}
	}
	m.b.settled("s")
	for _, r := range m.replays {
		for i := 0; m.b.status(r.name).State != "ended"; i++ {
			if i == 60 {
				m.t.Fatalf("the replay does not end: %+v", m.b.status(r.name))
			}
			if err := m.b.m.Resume(m.b.ctx, r.name); err != nil {
				m.t.Fatal(err)
			}
			m.b.wait(30 * time.Second)
		}
	}
}
