package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
)

// TestConcurrent is promises 1, 2, 3 and 4 together, in real time: while publishers, changes of filters, new topics and pauses go on, the
// process starts, stops and crashes again and again. In the end every receipt is in the log, every event of the log was taken by
// every subscription, first in order of its key, every reply is stored once, and nothing that was acknowledged by a client that pulls
// was leased again. On Pebble a crash drops what was not synced.
// TANDEM_SOAK=1 runs many more rounds.
func TestConcurrent(t *testing.T) {
	rounds := 4
	if os.Getenv("TANDEM_SOAK") != "" {
		rounds = 300
	}
	for _, engine := range []string{"memory", "pebble"} {
		t.Run(engine, func(t *testing.T) {
			for seed := range rounds {
				if t.Failed() {
					return
				}
				c := newConcurrent(t, uint64(seed))
				if engine == "pebble" {
					c.mem = vfs.NewCrashableMem()
				}
				c.run()
			}
		})
	}
}

// concurrent is one round: its log, which a crash replaces, and what must hold in the end.
type concurrent struct {
	t    *testing.T
	ctx  context.Context
	seed uint64
	rng  *rand.Rand
	mem  *vfs.MemFS // nil: the log is in memory and loses nothing
	eng  *memlog.Engine
	log  *eventlog.Log
	m    *Manager
	n    atomic.Int64 // of events and topics

	mu    sync.Mutex
	acked []string                     // ids with a receipt
	taken map[string]map[string]int    // by subscription and event
	sent  map[string][]tandem.Position // by subscription, in order of first attempts
	first map[string]map[string]bool   // by subscription and event
	done  map[string]bool              // by event: a client that pulls was told that it is acknowledged
	calm  bool
}

// concurrentSubs are the subscriptions; the last is pulled.
var concurrentSubs = []string{"a", "b", "c", "d", "e", "f", "pull"}

func newConcurrent(t *testing.T, seed uint64) *concurrent {
	c := &concurrent{t: t, ctx: context.Background(), seed: seed, rng: rand.New(rand.NewPCG(seed, 9)), taken: map[string]map[string]int{},
		sent: map[string][]tandem.Position{}, first: map[string]map[string]bool{}, done: map[string]bool{}}
	for _, name := range concurrentSubs {
		c.taken[name], c.first[name] = map[string]int{}, map[string]bool{}
	}
	return c
}

func (c *concurrent) run() {
	c.open()
	c.topic("t.0")
	c.topic("replies")
	c.start()
	if err := c.m.Apply(c.ctx, c.declared(0)); err != nil {
		c.t.Fatal(err)
	}
	for range 6 {
		c.cycle()
	}
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	c.settle()
	c.check()
	if err := errors.Join(c.m.Stop(c.ctx), c.log.Close()); err != nil {
		c.t.Error(err)
	}
}

func (c *concurrent) open() {
	var drv driver.Driver
	if c.mem == nil {
		if c.eng != nil {
			return // it outlives the process
		}
		c.eng = memlog.New(memlog.Options{})
		drv = c.eng
	} else {
		e, err := pebblelog.Open("log", pebblelog.Options{FS: c.mem, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, FreeBytes: -1, RetentionEvery: -1})
		if err != nil {
			c.t.Fatal(err)
		}
		drv = e
	}
	log, err := eventlog.Open(c.ctx, drv, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.log = log
}

func (c *concurrent) topic(name string) {
	if _, err := c.log.CreateTopic(c.ctx, tandem.Topic{Name: name, Partitions: 3}); err != nil {
		c.t.Error(err)
	}
}

func (c *concurrent) start() {
	c.m = New(c.log, Options{
		Logger: slog.New(slog.DiscardHandler),
		Services: func(name string) (tandem.Service, bool) {
			return tandem.Service{Name: name, URL: "http://" + name}, true
		},
		Transport: func(name string) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) { return c.handle(name, r) })
		},
	})
	if err := c.m.Start(c.ctx); err != nil {
		c.t.Fatal(err)
	}
}

// declared returns the subscriptions; those of each generation have filters of other words that pass every event.
func (c *concurrent) declared(generation int) []tandem.Subscription {
	filters := []string{`{"prefix":{"source":"/"}}`, `{"exact":{"type":"order.placed"}}`, `{"exact":{"source":"/test"}}`, `{"suffix":{"type":"placed"}}`}
	var subs []tandem.Subscription
	for i, name := range concurrentSubs {
		s := tandem.Subscription{Name: name, Topics: []string{"t.*"}, From: "earliest", Attempts: 1000, Concurrency: 4 * (i + 1)}
		if name == "pull" {
			s.Pull = &tandem.Pull{}
		} else {
			s.Service, s.Replies = name, "replies"
		}
		s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Millisecond), Max: tandem.Duration(20 * time.Millisecond)}
		if i%2 == 0 {
			if err := s.Filter.UnmarshalJSON([]byte(filters[(i/2+generation)%len(filters)])); err != nil {
				c.t.Fatal(err)
			}
		}
		subs = append(subs, s)
	}
	return subs
}

// handle is the endpoint of a subscription: a, c and e answer with a reply.
func (c *concurrent) handle(name string, r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	e, err := tandem.ParseEventJSON(body)
	if err != nil {
		return nil, err
	}
	pos, err := tandem.ParsePosition(r.Header.Get(tandem.HeaderPosition))
	if err != nil {
		return nil, err
	}
	calm := c.got(name, e.ID, pos)
	if rand.IntN(3) == 0 {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	}
	if n := rand.IntN(100); !calm && r.Context().Err() == nil {
		switch {
		case n < 1:
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		case n < 3:
			return status(503), nil
		case n < 4:
			return status(404), nil
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[name][e.ID]++
	if name == "a" || name == "c" || name == "e" {
		return reply(tandem.MediaEvent, `{"specversion":"1.0","id":"r","source":"/svc","type":"reply"}`), nil
	}
	return status(204), nil
}

// got notes that a subscription got an event, and reports whether nothing goes wrong any more.
func (c *concurrent) got(name, id string, pos tandem.Position) (calm bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.first[name][id] {
		c.first[name][id] = true
		pos.Topic = id // the check finds the rest by it
		c.sent[name] = append(c.sent[name], pos)
	}
	return c.calm
}

// pull is a client. It works on several leases at a time, and now and then releases or forgets one.
func (c *concurrent) pull(ctx context.Context, m *Manager) {
	for ctx.Err() == nil {
		leases, err := m.Pull(ctx, "pull", tandem.PullRequest{Max: 1 + rand.IntN(8), Wait: tandem.Duration(50 * time.Millisecond), Visibility: tandem.Duration(time.Second)})
		if err != nil || len(leases) == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		var ack, release []string
		ids := map[string]string{}
		for i := range leases {
			l := &leases[i]
			id := l.Event.ID
			ids[l.Token] = id
			calm := c.got("pull", id, l.Event.Position)
			c.mu.Lock()
			if c.done[id] {
				c.t.Errorf("seed %d: %s was leased again though it was acknowledged", c.seed, id)
			}
			c.mu.Unlock()
			switch n := rand.IntN(200); {
			case calm || n >= 10:
				ack = append(ack, l.Token)
			case n > 0:
				release = append(release, l.Token)
			}
		}
		if len(release) > 0 {
			_, _ = m.Nack(ctx, "pull", release, time.Duration(rand.IntN(5))*time.Millisecond)
		}
		if len(ack) == 0 {
			continue
		}
		out, err := m.Ack(ctx, "pull", ack)
		c.mu.Lock()
		if err != nil { // what is stored of it is not known: it was taken, and may be leased again
			for _, token := range ack {
				c.taken["pull"][ids[token]]++
			}
		}
		for _, r := range out {
			if r.Outcome == tandem.LeaseAcknowledged {
				c.done[ids[r.Token]] = true
				c.taken["pull"][ids[r.Token]]++
			}
		}
		c.mu.Unlock()
	}
}

// cycle lets everything go on at once, ends the process in the midst of it, and starts it again.
func (c *concurrent) cycle() {
	ctx, cancel := context.WithCancel(c.ctx)
	var busy sync.WaitGroup
	log, m := c.log, c.m
	for w := range 3 {
		busy.Go(func() { c.publish(ctx, log, w) })
	}
	busy.Go(func() { c.operate(ctx, m, rand.New(rand.NewPCG(c.seed, uint64(c.n.Load())))) })
	for range 2 {
		busy.Go(func() { c.pull(ctx, m) })
	}
	if c.rng.IntN(2) == 0 {
		busy.Go(func() { c.topic(fmt.Sprint("t.", c.n.Add(1))) })
	}
	time.Sleep(time.Duration(c.rng.IntN(60)) * time.Millisecond)
	switch crash := c.rng.IntN(3) > 0; {
	case crash && c.mem != nil:
		keep := c.rng.IntN(101)
		c.mu.Lock()
		must, done := c.acked[:len(c.acked):len(c.acked)], maps.Clone(c.done)
		c.mu.Unlock()
		clone := c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: c.rng})
		cancel()
		busy.Wait()
		m.crash()
		log.Close()
		c.acked, c.done, c.mem = must, done, clone
		c.open()
	case crash:
		m.crash()
		c.start() // while publishing goes on
		cancel()
		busy.Wait()
		return
	default:
		if err := m.Stop(c.ctx); err != nil {
			c.t.Error(err)
		}
		c.start()
		cancel()
		busy.Wait()
		return
	}
	ctx, cancel = context.WithCancel(c.ctx)
	log = c.log
	busy.Go(func() { c.publish(ctx, log, 9) })
	c.start()
	cancel()
	busy.Wait()
}

func (c *concurrent) publish(ctx context.Context, log *eventlog.Log, writer int) {
	for ctx.Err() == nil {
		topics := log.Topics()
		topic := topics[rand.IntN(len(topics))].Name
		if topic == "replies" || topic == operatorTopic {
			continue
		}
		batch := make([]tandem.Event, 1+rand.IntN(5))
		for i := range batch {
			key := fmt.Sprintf("%d.%d", writer, rand.IntN(8))
			batch[i] = tandem.Event{ID: fmt.Sprint("e", c.n.Add(1)), Source: "/test", Type: "order.placed", Subject: key, Data: []byte(`{}`)}
		}
		if _, err := log.Append(c.ctx, topic, batch); err != nil {
			c.t.Errorf("publish: %v", err)
			return
		}
		c.mu.Lock()
		for i := range batch {
			c.acked = append(c.acked, batch[i].ID)
		}
		c.mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
	}
}

// operate changes filters and pauses until the manager ends.
func (c *concurrent) operate(ctx context.Context, m *Manager, rng *rand.Rand) {
	for i := rng.IntN(4); ctx.Err() == nil; i++ {
		time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
		name := concurrentSubs[rng.IntN(len(concurrentSubs))]
		// The manager may have ended, or the subscription be too far behind for another version: neither is at fault.
		if rng.IntN(2) == 0 {
			_ = m.Apply(c.ctx, c.declared(i))
		} else if m.Pause(c.ctx, name) == nil {
			_ = m.Resume(c.ctx, name)
		}
	}
}

// settle waits until every subscription has nothing left to do.
func (c *concurrent) settle() {
	for _, name := range concurrentSubs {
		if err := c.m.Resume(c.ctx, name); err != nil {
			c.t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	var client sync.WaitGroup
	client.Go(func() { c.pull(ctx, c.m) })
	defer client.Wait()
	defer cancel()
	deadline := time.Now().Add(30 * time.Second)
	for _, name := range concurrentSubs {
		for {
			st, err := c.m.Status(c.ctx, name)
			if err != nil {
				c.t.Fatal(err)
			}
			if st.Lag == 0 && st.InFlight == 0 && st.Retrying == 0 {
				break
			}
			if time.Now().After(deadline) {
				c.t.Fatalf("seed %d: %s does not settle: %+v", c.seed, name, st)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// check compares what the endpoints saw with what the log holds.
func (c *concurrent) check() {
	stored := map[string]tandem.Record{}
	replies := map[string]int{}
	for _, info := range c.log.Topics() {
		if info.Name == operatorTopic {
			continue
		}
		for p := range info.Partitions {
			for from := uint64(0); ; {
				recs, err := c.log.ReadPartition(c.ctx, info.ID, p, from, 1000, nil)
				if err != nil {
					c.t.Fatal(err)
				}
				for _, r := range recs {
					if from = r.Position.Offset + 1; info.Name == "replies" {
						replies[r.ID]++
					} else {
						stored[r.ID] = r
					}
				}
				if len(recs) == 0 {
					break
				}
			}
		}
	}
	for _, id := range c.acked {
		if _, ok := stored[id]; !ok {
			c.t.Errorf("seed %d: %s has a receipt and is not in the log", c.seed, id)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range concurrentSubs {
		missing := 0
		for id, r := range stored {
			if c.taken[name][id] == 0 {
				missing++
			}
			rid := tandem.DerivedID(r.Position.Topic, "/test", id, name, "0", "0")
			if want := map[string]int{"a": 1, "c": 1, "e": 1}[name]; replies[rid] != want {
				c.t.Errorf("seed %d: the reply of %s to %s is stored %d times, want %d", c.seed, name, id, replies[rid], want)
			}
		}
		if missing > 0 {
			c.t.Errorf("seed %d: %s did not get %d of %d events", c.seed, name, missing, len(stored))
		}
		last := map[string]uint64{}
		for _, pos := range c.sent[name] {
			r, ok := stored[pos.Topic]
			if !ok {
				continue // lost with a crash, as it had no receipt
			}
			key := r.Position.Topic + "/" + r.Subject
			if r.Position.Offset < last[key] {
				c.t.Errorf("seed %d: %s got %s first after a later event of its key", c.seed, name, r.ID)
			}
			last[key] = max(last[key], r.Position.Offset)
		}
	}
}
