package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
)

// TestPullConcurrent is pulling in real time: clients lease, acknowledge, release and forget while a publisher goes on and the process
// stops and crashes. What Ack returned is never leased again, also over a crash that drops what was not synced; no event is leased
// before one of its key without outcome; and in the end every receipt was acknowledged. TANDEM_SOAK=1 runs many more rounds.
func TestPullConcurrent(t *testing.T) {
	rounds := 1
	if os.Getenv("TANDEM_SOAK") != "" {
		rounds = 100
	}
	for _, engine := range []string{"memory", "pebble"} {
		t.Run(engine, func(t *testing.T) {
			for seed := range rounds {
				c := &pullConcurrent{t: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(uint64(seed), 21)), events: map[string]*pulledEvent{}}
				if engine == "pebble" {
					c.mem = vfs.NewCrashableMem()
				}
				if c.run(); t.Failed() {
					t.Logf("seed %d", seed)
					return
				}
			}
		})
	}
}

type pullConcurrent struct {
	t   *testing.T
	ctx context.Context
	rng *rand.Rand
	mem *vfs.MemFS // nil: the log is in memory and loses nothing
	log *eventlog.Log
	m   *Manager

	mu     sync.Mutex
	life   int // of the process
	events map[string]*pulledEvent
	keys   [20][]*pulledEvent // those with a receipt, in log order
	calm   bool
	leases int
}

type pulledEvent struct {
	index        int  // in its key
	tried, acked bool // its acknowledgement was sent, and returned
	holder       string
	holderLife   int
	until        time.Time
}

func (c *pullConcurrent) run() {
	c.open()
	if _, err := c.log.CreateTopic(c.ctx, tandem.Topic{Name: "orders", Partitions: 3}); err != nil {
		c.t.Fatal(err)
	}
	c.start()
	s := pulledSub("s")
	s.Attempts, s.Pull.Visibility = 1000, tandem.Duration(time.Second)
	if err := c.m.Apply(c.ctx, []tandem.Subscription{s}); err != nil {
		c.t.Fatal(err)
	}
	for range 5 {
		c.cycle()
	}
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(c.ctx)
	var busy sync.WaitGroup
	c.clients(ctx, &busy)
	c.settle()
	cancel()
	busy.Wait()
	c.t.Logf("%d leases", c.leases)
	for _, key := range c.keys {
		for _, e := range key {
			if !e.tried {
				c.t.Errorf("%+v was not leased", *e)
			}
		}
	}
	if err := errors.Join(c.m.Stop(c.ctx), c.log.Close()); err != nil {
		c.t.Error(err)
	}
}

func (c *pullConcurrent) open() {
	var drv driver.Driver = memlog.New(memlog.Options{})
	if c.mem != nil {
		e, err := pebblelog.Open("log", pebblelog.Options{FS: c.mem, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, FreeBytes: -1, RetentionEvery: -1})
		if err != nil {
			c.t.Fatal(err)
		}
		drv = e
	}
	var err error
	if c.log, err = eventlog.Open(c.ctx, drv, eventlog.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *pullConcurrent) start() {
	c.m = New(c.log, Options{Logger: slog.New(slog.DiscardHandler)})
	if err := c.m.Start(c.ctx); err != nil {
		c.t.Fatal(err)
	}
}

// cycle lets everything go on at once and ends the process in the midst of it.
func (c *pullConcurrent) cycle() {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	var busy sync.WaitGroup
	log, life := c.log, c.life
	busy.Go(func() { c.publish(ctx, log, life) })
	c.clients(ctx, &busy)
	time.Sleep(time.Duration(50+c.rng.IntN(150)) * time.Millisecond)
	switch {
	case c.rng.IntN(4) == 0:
		if err := c.m.Stop(c.ctx); err != nil {
			c.t.Error(err)
		}
		cancel()
		busy.Wait()
		c.next()
	case c.mem == nil:
		c.m.crash()
		cancel()
		busy.Wait()
		c.next()
	default:
		c.next() // what is stored, or acknowledged, from here on may be lost
		clone := c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng})
		cancel()
		busy.Wait()
		c.m.crash()
		c.log.Close()
		c.mem = clone
		c.open()
	}
	c.start()
}

// next begins another life of the process: what publishers and clients of the one before are told counts no more.
func (c *pullConcurrent) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life++
}

func (c *pullConcurrent) publish(ctx context.Context, log *eventlog.Log, life int) {
	for ctx.Err() == nil {
		batch := make([]tandem.Event, 1+rand.IntN(20))
		noted := make([]*pulledEvent, len(batch))
		keys := make([]int, len(batch))
		c.mu.Lock()
		for i := range batch {
			keys[i] = rand.IntN(len(c.keys))
			id := fmt.Sprintf("%d.%d", len(c.events), keys[i])
			batch[i] = tandem.Event{ID: id, Source: "/test", Type: "order.placed", Subject: fmt.Sprint(keys[i]), Data: []byte(`{}`)}
			noted[i] = &pulledEvent{index: -1}
			c.events[id] = noted[i]
		}
		c.mu.Unlock()
		if _, err := log.Append(c.ctx, "orders", batch); err != nil {
			c.t.Errorf("publish: %v", err)
			return
		}
		c.mu.Lock()
		for i, e := range noted {
			if life == c.life || c.mem == nil {
				e.index = len(c.keys[keys[i]])
				c.keys[keys[i]] = append(c.keys[keys[i]], e)
			}
		}
		c.mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	}
}

func (c *pullConcurrent) clients(ctx context.Context, busy *sync.WaitGroup) {
	c.mu.Lock()
	life, m := c.life, c.m
	c.mu.Unlock()
	for range 6 {
		busy.Go(func() {
			for ctx.Err() == nil {
				leases, err := m.Pull(ctx, "s", tandem.PullRequest{Max: 1 + rand.IntN(100), Wait: tandem.Duration(100 * time.Millisecond)})
				if err == nil && len(leases) > 0 {
					c.work(m, life, leases)
				} else if ctx.Err() == nil && err != nil {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
}

// work checks what was leased, acknowledges most of it, releases some and forgets a little.
func (c *pullConcurrent) work(m *Manager, life int, leases []tandem.Lease) {
	var ack, nack []string
	c.mu.Lock()
	if life != c.life {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	for i := range leases {
		l := &leases[i]
		e := c.events[l.Event.ID]
		c.leases++
		if e.acked {
			c.t.Errorf("%s is leased after its acknowledgement returned", l.Event.ID)
		}
		if e.holderLife == life && now.Before(e.until) && e.holder != "" {
			c.t.Errorf("%s is leased twice: %s, %s", l.Event.ID, e.holder, l.Token)
		}
		e.until, _ = time.Parse(time.RFC3339Nano, l.Until)
		e.holder, e.holderLife = l.Token, life
		var key int
		fmt.Sscan(l.Event.Subject, &key)
		for _, p := range c.keys[key][:max(e.index, 0)] {
			if !p.tried {
				c.t.Errorf("%s is leased before event %d of its key", l.Event.ID, p.index)
			}
		}
		switch n := rand.IntN(100); {
		case n < 90 || c.calm:
			e.tried = true
			ack = append(ack, l.Token)
		case n < 98:
			e.holder = ""
			nack = append(nack, l.Token)
		}
	}
	c.mu.Unlock()
	if len(nack) > 0 {
		_, _ = m.Nack(c.ctx, "s", nack, 0) // the manager may have ended
	}
	if len(ack) == 0 {
		return
	}
	ctx, cancel := ctxAfter(10 * time.Second)
	defer cancel()
	out, err := m.Ack(ctx, "s", ack)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || life != c.life {
		return
	}
	byToken := map[string]string{}
	for _, r := range out {
		byToken[r.Token] = r.Outcome
	}
	for i := range leases {
		if e := c.events[leases[i].Event.ID]; byToken[leases[i].Token] == tandem.LeaseAcknowledged {
			e.acked, e.holder = true, ""
		}
	}
}

func (c *pullConcurrent) settle() {
	deadline := time.Now().Add(30 * time.Second)
	for {
		st, err := c.m.Status(c.ctx, "s")
		if err != nil {
			c.t.Fatal(err)
		}
		if st.Lag == 0 && st.InFlight == 0 && st.Retrying == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("it does not settle: %+v", st)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
