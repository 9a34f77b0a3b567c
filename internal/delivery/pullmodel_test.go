package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestPullModel lets clients pull, acknowledge in time and late, release, extend, forget and vanish, while the process stops, crashes and
// is sought, in virtual time. It checks at each lease that no earlier event of the key is without outcome, that nobody else
// holds the event and that its acknowledgement was not returned before, and in the end that everything was acknowledged or is dead
// after the attempts of the policy. TANDEM_SOAK=1 runs many more seeds; TANDEM_SEED=N runs one.
func TestPullModel(t *testing.T) {
	seeds, first := 60, 1
	if os.Getenv("TANDEM_SOAK") != "" {
		seeds = 5000
	}
	if one, err := strconv.Atoi(os.Getenv("TANDEM_SEED")); err == nil {
		seeds, first = 1, one
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
				rng := rand.New(rand.NewPCG(uint64(seed), 11))
				m := &pullModel{t: t, b: b, rng: rng, stop: make(chan struct{}), events: map[string]*pullEvent{}, byKey: map[string][]*pullEvent{}}
				m.run()
			})
		})
	}
}

const pullAttempts = 4

type pullModel struct {
	t    *testing.T
	b    *bed
	rng  *rand.Rand // of the driver
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	m      *Manager // nil while there is none
	lives  int      // starts of the process
	epoch  int
	events map[string]*pullEvent
	byKey  map[string][]*pullEvent
	calm   bool
	leased int
	late   int
}

type pullEvent struct {
	id, key string
	index   int
	acked   bool // an acknowledgement returned, in this epoch
	trying  int  // acknowledgements under way, or that returned an error: it may have its outcome
	dead    bool
	leases  int       // in this epoch
	attempt int       // of the newest
	life    int       // of the process that leased it
	until   time.Time // end of the lease that is held; zero when none is
	token   string
}

func (m *pullModel) run() {
	s := pulledSub("s")
	s.Attempts, s.Pull.Visibility = pullAttempts, tandem.Duration(4*time.Second)
	s.Concurrency = []int{0, 3, 20}[m.rng.IntN(3)]
	s.Backoff = tandem.Backoff{Base: tandem.Duration(200 * time.Millisecond), Max: tandem.Duration(2 * time.Second)}
	m.b.opts.WaitingEvents, m.b.opts.ParkedKeys = 40, 8
	m.b.start(s)
	m.m = m.b.m
	for i := range 1 + m.rng.IntN(5) {
		rng := rand.New(rand.NewPCG(m.rng.Uint64(), uint64(i)))
		m.done.Go(func() { m.client(rng) })
	}
	for range 25 + m.rng.IntN(25) {
		m.step()
	}
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	m.b.wait(10 * time.Minute)
	close(m.stop)
	m.done.Wait()
	m.check()
}

func (m *pullModel) step() {
	switch n := m.rng.IntN(100); {
	case n < 50:
		for range 1 + m.rng.IntN(20) {
			m.publish()
		}
	case n < 75:
		time.Sleep(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
	case n < 83:
		m.end((*bed).crash)
	case n < 89:
		m.end((*bed).stop)
	case n < 92:
		m.seek()
	case n < 95:
		if err := m.b.m.Pause(m.b.ctx, "s"); err != nil {
			m.t.Fatal(err)
		}
		m.b.wait(time.Second)
		if err := m.b.m.Resume(m.b.ctx, "s"); err != nil {
			m.t.Fatal(err)
		}
	default:
		m.b.wait(time.Duration(m.rng.IntN(30)) * time.Second)
	}
}

func (m *pullModel) publish() {
	key := []string{"a", "b", "c", "d", "e", "f", ""}[m.rng.IntN(7)]
	e := event(key)
	m.mu.Lock()
	p := &pullEvent{id: e.ID, key: key, index: len(m.events)}
	m.events[e.ID] = p
	m.byKey[key] = append(m.byKey[key], p)
	m.mu.Unlock()
	if _, err := m.b.log.Append(m.b.ctx, "orders", []tandem.Event{e}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *pullModel) end(how func(*bed)) {
	time.Sleep(time.Duration(m.rng.IntN(30)) * time.Millisecond)
	m.mu.Lock()
	m.m = nil
	m.mu.Unlock()
	how(m.b)
	m.b.start()
	m.mu.Lock()
	m.m = m.b.m
	m.lives++
	m.mu.Unlock()
}

// seek goes back to the beginning: everything is handed out again.
func (m *pullModel) seek() {
	m.mu.Lock()
	defer m.mu.Unlock() // no lease of the old epoch is noted as one of the new
	if _, err := m.b.m.Seek(m.b.ctx, "s", tandem.Start{Earliest: true}, false); err != nil {
		m.t.Fatal(err)
	}
	m.epoch++
	for _, e := range m.events {
		*e = pullEvent{id: e.id, key: e.key, index: e.index}
	}
}

// client pulls until the test ends.
func (m *pullModel) client(rng *rand.Rand) {
	for {
		select {
		case <-m.stop:
			return
		case <-time.After(time.Duration(rng.IntN(100)) * time.Millisecond):
		}
		m.mu.Lock()
		mgr := m.m
		m.mu.Unlock()
		if mgr == nil {
			continue
		}
		req := tandem.PullRequest{Max: 1 + rng.IntN(10), Wait: tandem.Duration(rng.IntN(3)) * tandem.Duration(time.Second)}
		if rng.IntN(4) == 0 {
			req.Visibility = tandem.Duration(1+rng.IntN(8)) * tandem.Duration(time.Second)
		}
		ctx, cancel := context.WithCancel(m.b.ctx)
		if rng.IntN(10) == 0 {
			time.AfterFunc(time.Duration(rng.IntN(2000))*time.Millisecond, cancel)
		}
		leases, err := mgr.Pull(ctx, "s", req)
		cancel()
		if err != nil {
			continue
		}
		epoch, leases := m.note(mgr, leases)
		m.work(rng, mgr, epoch, leases)
	}
}

// note checks what was leased, and returns what of it is of the newest epoch.
func (m *pullModel) note(mgr *Manager, leases []tandem.Lease) (epoch int, current []tandem.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	leases = slices.DeleteFunc(leases, func(l tandem.Lease) bool {
		return l.ID != "msg_"+tandem.DerivedID("s", "orders", "/test", l.Event.ID, strconv.Itoa(m.epoch))
	})
	if m.m != mgr {
		return m.epoch, leases // it ended while this call returned
	}
	now := time.Now()
	for i := range leases {
		l := &leases[i]
		e := m.events[l.Event.ID]
		m.leased++
		switch {
		case e.acked:
			m.t.Errorf("%s is leased again after its acknowledgement returned", e.id)
		case e.life == m.lives && now.Before(e.until):
			m.t.Errorf("%s is leased twice", e.id)
		case l.Attempt > pullAttempts:
			m.t.Errorf("%s: attempt %d", e.id, l.Attempt)
		case e.life == m.lives && e.leases > 0 && l.Attempt != e.attempt+1:
			m.t.Errorf("%s: attempt %d after %d", e.id, l.Attempt, e.attempt)
		}
		if e.key != "" {
			for _, p := range m.byKey[e.key] {
				if p.index >= e.index {
					break
				}
				if !p.acked && p.trying == 0 && !(p.attempt >= pullAttempts || p.leases >= pullAttempts) {
					m.t.Errorf("%s is leased before %s of its key has an outcome", e.id, p.id)
				}
			}
		}
		until, err := time.Parse(time.RFC3339Nano, l.Until)
		if err != nil {
			m.t.Error(err)
		}
		e.leases, e.attempt, e.life, e.until, e.token = e.leases+1, l.Attempt, m.lives, until, l.Token
	}
	return m.epoch, leases
}

// work does something with each lease: most are acknowledged in time.
func (m *pullModel) work(rng *rand.Rand, mgr *Manager, epoch int, leases []tandem.Lease) {
	m.mu.Lock()
	calm := m.calm
	m.mu.Unlock()
	time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
	var ack, late []tandem.Lease
	for _, l := range leases {
		switch n := rng.IntN(20); {
		case n < 11 || calm:
			ack = append(ack, l)
		case n < 13:
			m.nack(rng, mgr, l)
		case n < 15:
			m.extend(rng, mgr, l)
			late = append(late, l)
		case n < 18:
			late = append(late, l)
		}
	}
	if len(ack) > 0 {
		m.ack(mgr, epoch, ack)
	}
	if len(late) > 0 && rng.IntN(3) == 0 {
		takes := time.Duration(rng.IntN(8000)) * time.Millisecond
		m.done.Go(func() { // works on, and comes back after the lease, and maybe to another process
			time.Sleep(takes)
			m.mu.Lock()
			now := m.m
			m.mu.Unlock()
			if now != nil {
				m.ack(now, epoch, late)
			}
		})
	}
}

func (m *pullModel) ack(mgr *Manager, epoch int, leases []tandem.Lease) {
	m.each(epoch, leases, func(e *pullEvent, _ string) { e.trying++ })
	out, err := mgr.Ack(m.b.ctx, "s", tokensOf(leases))
	if err != nil {
		return // whether it is stored is not known
	}
	outcome := map[string]string{}
	for i, l := range leases {
		outcome[l.Event.ID] = out[i].Outcome
	}
	m.each(epoch, leases, func(e *pullEvent, token string) {
		e.trying--
		switch {
		case outcome[e.id] == tandem.LeaseAcknowledged:
			e.acked = true
			if e.token == token && e.life == m.lives && time.Now().After(e.until) || e.life != m.lives {
				m.late++
			}
			e.until = time.Time{}
		case outcome[e.id] == tandem.LeaseInvalid:
			m.t.Errorf("%s: %s", e.id, outcome[e.id])
		case e.token == token && e.life == m.lives && time.Now().Before(e.until) && mgr == m.m:
			m.t.Errorf("%s is %s before its end", e.id, outcome[e.id])
		}
	})
}

func (m *pullModel) nack(rng *rand.Rand, mgr *Manager, l tandem.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock() // nobody notes a lease of what is given back before that is noted
	out, err := mgr.Nack(m.b.ctx, "s", []string{l.Token}, time.Duration(rng.IntN(4)-1)*time.Second)
	if e := m.events[l.Event.ID]; err == nil && out[0].Outcome == tandem.LeaseReleased && e.token == l.Token {
		e.until = time.Time{}
	}
}

func (m *pullModel) extend(rng *rand.Rand, mgr *Manager, l tandem.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock() // nobody pulls what is shortened before that is noted
	out, err := mgr.Extend(m.b.ctx, "s", []string{l.Token}, time.Duration(1+rng.IntN(10))*time.Second)
	if e := m.events[l.Event.ID]; err == nil && out[0].Outcome == tandem.LeaseExtended && e.token == l.Token {
		e.until, _ = time.Parse(time.RFC3339Nano, out[0].Until)
	}
}

// each calls fn for the events of leases, unless a seek has begun another epoch.
func (m *pullModel) each(epoch int, leases []tandem.Lease, fn func(e *pullEvent, token string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if epoch != m.epoch {
		return
	}
	for i := range leases {
		fn(m.events[leases[i].Event.ID], leases[i].Token)
	}
}

func (m *pullModel) check() {
	synctest.Wait()
	page, _, err := m.b.m.DeadLetters(m.b.ctx, "s", "", 0)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range page {
		if l.Attempts != pullAttempts {
			m.t.Errorf("%s is dead after %d attempts", l.Event.ID, l.Attempts)
		}
		if strings.HasSuffix(l.ID, fmt.Sprintf("-%x", m.epoch)) {
			m.events[l.Event.ID].dead = true
		}
	}
	for _, e := range m.events {
		if !e.acked && e.trying == 0 && !e.dead {
			m.t.Errorf("%s has no outcome: %+v", e.id, *e)
		}
		if e.acked && e.dead {
			m.t.Errorf("%s is acknowledged and dead", e.id)
		}
		if e.leases > pullAttempts+m.lives {
			m.t.Errorf("%s was leased %d times", e.id, e.leases)
		}
	}
	m.b.settled("s")
	m.t.Logf("%d events, %d leases, %d late, %d dead, %d starts, %d seeks", len(m.events), m.leased, m.late, len(page), m.lives, m.epoch)
}
