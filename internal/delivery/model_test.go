package delivery

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestModel runs random publishes, failures, crashes, restarts, seeks and redrives in virtual time and checks promises 2, 3 and
// 4 on what the endpoint saw and what the log holds. TANDEM_SOAK=1 runs many more seeds; TANDEM_SEED=N runs one.
func TestModel(t *testing.T) {
	seeds, first := 50, 1
	if os.Getenv("TANDEM_SOAK") != "" {
		seeds = 5000
	}
	if one, err := strconv.Atoi(os.Getenv("TANDEM_SEED")); err == nil {
		seeds, first = 1, one
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				m := &model{t: t, b: b, f: f, rng: rand.New(rand.NewPCG(uint64(seed), 7)), events: map[string]*modelEvent{}, redriven: map[string]bool{},
					discarded: map[string]bool{}, poisoned: map[string]bool{}}
				m.run()
			})
		})
	}
}

const modelAttempts = 4

// model is what must hold, and what was done.
type model struct {
	t   *testing.T
	b   *bed
	f   *endpointFake
	rng *rand.Rand

	events  map[string]*modelEvent
	order   []string
	crashes []time.Time
	seeks   []time.Time // the epoch rises at each

	mu        sync.Mutex
	down      int // 0 up, 1 refuses connections, 2 answers 503
	flaky     float64
	poisoned  map[string]bool
	sent      []sending
	redriven  map[string]bool // event ids that were dead and are, or were, redriven
	discarded map[string]bool
	healed    bool
}

type modelEvent struct {
	id, key string
	index   int // in order of publishing
}

type sending struct {
	event    string
	key      string
	hook     string // webhook-id: event, subscription and epoch
	attempt  int
	from, to time.Time
	ok       bool
	replied  bool
	gone     bool // cancelled by us
}

func (m *model) run() {
	m.b.topic("replies", 2)
	m.f.set(nil)
	m.b.opts.Transport = func(string) http.RoundTripper { return roundTrip(m.handle) }
	m.b.opts.WaitingEvents, m.b.opts.ParkedKeys = 40, 8
	s := sub("s")
	s.Attempts, s.Replies, s.Concurrency = modelAttempts, "replies", 1+m.rng.IntN(8)
	s.Backoff = tandem.Backoff{Base: tandem.Duration(200 * time.Millisecond), Max: tandem.Duration(5 * time.Second)}
	s.Timeout = tandem.Duration(2 * time.Second)
	m.b.start(s)
	for range 30 + m.rng.IntN(30) {
		m.step()
	}
	m.heal()
	m.check()
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
		b.stop()
		b.start()
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
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			m.t.Fatal(err)
		}
	case n < 96:
		m.seek()
	default:
		b.wait(time.Duration(m.rng.IntN(60)) * time.Second)
	}
	if st := b.status("s"); st.ParkedKeys > 8+maxHeld || st.Waiting > 40+maxHeld {
		m.t.Fatalf("over the caps: %+v", st)
	}
}

func (m *model) key() string {
	return []string{"a", "b", "c", "d", "e", "f", ""}[m.rng.IntN(7)]
}

func (m *model) publish() {
	ids := m.b.publish(m.key())
	e := &modelEvent{id: ids[0], index: len(m.order)}
	e.key, _, _ = strings.Cut(e.id, "-")
	m.events[e.id] = e
	m.order = append(m.order, e.id)
}

func (m *model) crash() {
	m.crashes = append(m.crashes, time.Now())
	m.b.crash()
	m.b.start()
}

// seek goes back to the beginning: from then on everything is delivered again, in a new epoch.
func (m *model) seek() {
	if err := m.b.m.Seek(m.b.ctx, "s", tandem.Start{Earliest: true}); err != nil {
		m.t.Fatal(err)
	}
	m.seeks = append(m.seeks, time.Now())
}

func (m *model) redrive() {
	for _, l := range m.letters() {
		m.mu.Lock()
		m.redriven[l.Event.ID] = true
		m.mu.Unlock()
		verb, which := m.b.m.Redrive, m.redriven
		if m.rng.IntN(4) == 0 {
			verb, which = m.b.m.Discard, m.discarded
		}
		if _, err := verb(m.b.ctx, "s", []string{l.ID}); err != nil && tandem.CodeOf(err) != tandem.CodeNotFound {
			m.t.Fatal(err)
		}
		which[l.Event.ID] = true
	}
}

func (m *model) letters() []tandem.DeadLetter {
	all, _, err := m.b.m.DeadLetters(m.b.ctx, "s", "", 0)
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// handle is the endpoint.
func (m *model) handle(r *http.Request) (*http.Response, error) {
	buf := make([]byte, r.ContentLength)
	r.Body.Read(buf)
	e, err := tandem.ParseEventJSON(buf)
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(r.Header.Get(tandem.HeaderAttempt))
	m.mu.Lock()
	at := len(m.sent)
	m.sent = append(m.sent, sending{event: e.ID, key: e.Subject, hook: r.Header.Get(tandem.HeaderWebhookID), attempt: n, from: time.Now()})
	down, flaky := m.down, m.flaky
	bad := m.poisoned[e.Subject] || rand.Float64() < flaky
	kind, took := rand.IntN(20), time.Duration(rand.IntN(20))*time.Millisecond
	if m.healed {
		down, bad = 0, false
	}
	m.mu.Unlock()
	finish := func(set func(s *sending)) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sent[at].to = time.Now()
		set(&m.sent[at])
	}
	if down == 1 {
		finish(func(*sending) {})
		return (&endpointFake{handle: func(attemptSeen) *http.Response { return nil }}).RoundTrip(r.Clone(r.Context()))
	}
	if bad && kind == 0 {
		took = time.Minute
	}
	t := time.NewTimer(took)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		finish(func(s *sending) { s.gone = true })
		return nil, r.Context().Err()
	}
	resp := status(204)
	switch {
	case down == 2:
		resp = status(503)
	case bad && kind < 3:
		resp = status(422)
	case bad && kind < 6:
		resp = status(404)
	case bad && kind < 8:
		resp = reply(tandem.MediaEvent, `{"specversion":"1.0","id":"x"}`)
	case bad:
		resp = status(500)
	case e.Data[5]%2 == 1:
		finish(func(s *sending) { s.ok, s.replied = true, true })
		return reply(tandem.MediaEvent, `{"specversion":"1.0","id":"r","source":"/svc","type":"reply"}`), nil
	}
	finish(func(s *sending) { s.ok = resp.StatusCode == 204 })
	return resp, nil
}

// heal lets everything succeed and waits until nothing is left to do.
func (m *model) heal() {
	m.mu.Lock()
	m.healed = true
	m.mu.Unlock()
	m.b.wait(30 * time.Minute)
	m.b.settled("s")
}

func (m *model) hook(id string, epoch int) string {
	return "msg_" + tandem.DerivedID("s", "orders", "/test", id, strconv.Itoa(epoch))
}

func (m *model) check() {
	epochs := len(m.seeks)
	m.checkOrder(epochs)
	dead := map[string]bool{}
	for _, l := range m.letters() {
		dead[l.Event.ID] = true
		if l.Attempts > modelAttempts+len(m.crashes) {
			m.t.Errorf("%s is dead after %d attempts", l.Event.ID, l.Attempts)
		}
	}
	stored := m.replies()
	for _, id := range m.order {
		ok, replied := false, false
		var done time.Time
		hook := m.hook(id, epochs)
		for i := range m.sent {
			s := &m.sent[i]
			if s.event != id {
				continue
			}
			if s.attempt > modelAttempts+len(m.crashes) {
				m.t.Errorf("attempt %d of %s", s.attempt, id)
			}
			if s.hook != hook {
				continue
			}
			if ok && !m.crashedSince(done) && !m.redriven[id] {
				m.t.Errorf("%s was sent again at %v though it was delivered at %v", id, s.from, done)
			}
			if s.ok {
				ok, done, replied = true, s.to, replied || s.replied
			}
		}
		if !ok && !dead[id] && !m.discarded[id] {
			m.t.Errorf("%s has no outcome", id)
		}
		rid := tandem.DerivedID("orders", "/test", id, "s", strconv.Itoa(epochs), "0")
		if replied && !dead[id] && !m.discarded[id] && stored[rid] != 1 {
			m.t.Errorf("the reply to %s is stored %d times", id, stored[rid])
		}
	}
	for id, n := range stored {
		if n != 1 {
			m.t.Errorf("reply %s is stored %d times", id, n)
		}
	}
}

// crashedSince reports whether a process ended so soon after t that what was done then may not have been stored.
func (m *model) crashedSince(t time.Time) bool {
	for _, c := range m.crashes {
		if d := c.Sub(t); d >= 0 && d <= 20*time.Millisecond {
			return true
		}
	}
	return false
}

func (m *model) sameProcess(a, b time.Time) bool {
	for _, c := range m.crashes {
		if !c.Before(a) && !c.After(b) {
			return false
		}
	}
	return true
}

// checkOrder checks promise 2 for each epoch.
func (m *model) checkOrder(epochs int) {
	for epoch := 0; epoch <= epochs; epoch++ {
		last, until := map[string]int{}, map[string]time.Time{}
		run, ran := map[string]int{}, map[string]time.Time{}
		seen := map[string]bool{}
		for i := range m.sent {
			s := &m.sent[i]
			if s.key == "" || s.hook != m.hook(s.event, epoch) || m.redriven[s.event] {
				continue
			}
			if s.from.Before(until[s.key]) {
				m.t.Errorf("epoch %d: two events of key %s at once, at %v", epoch, s.key, s.from)
			}
			until[s.key] = s.to
			// While a process lives, an event that was followed by a later one of its key is not sent again.
			if n := m.events[s.event].index; run[s.key] > n && m.sameProcess(ran[s.key], s.from) {
				m.t.Errorf("epoch %d: %s was sent after event %d of its key", epoch, s.event, run[s.key])
			} else {
				run[s.key], ran[s.key] = n, s.from
			}
			if seen[s.event] {
				continue
			}
			seen[s.event] = true
			if n := m.events[s.event].index; n < last[s.key] {
				m.t.Errorf("epoch %d: %s was first sent after event %d of its key", epoch, s.event, last[s.key])
			} else {
				last[s.key] = n
			}
		}
	}
}

// replies counts the stored replies by id.
func (m *model) replies() map[string]int {
	out := map[string]int{}
	info, err := m.b.log.Topic(m.b.ctx, "replies")
	if err != nil {
		m.t.Fatal(err)
	}
	for p := range info.Partitions {
		recs, err := m.b.log.ReadPartition(m.b.ctx, info.ID, p, 0, 1<<20, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, r := range recs {
			out[r.ID]++
		}
	}
	synctest.Wait()
	return out
}
