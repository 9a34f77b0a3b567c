package memlog

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Options choose what kind of engine to be. The zero value is like the embedded one.
type Options struct {
	Partitioned bool             // offsets count within each partition (Info.TotalOrder is false)
	LateDedup   bool             // repeats are stored, and left to be recognised at delivery
	Now         func() time.Time // the clock of retention; zero means time.Now
}

// Engine is a driver.Driver in memory.
type Engine struct {
	info driver.Info
	now  func() time.Time

	mu      sync.Mutex
	open    bool
	fault   error         // what Append and Health answer, if set
	gate    chan struct{} // closed when syncing is not stalled
	reached chan struct{} // closed by the first that waits for gate, then nil
	last    uint64        // last number given, with TotalOrder
	nextID  driver.ID
	byName  map[string]*topic
	byID    map[driver.ID]*topic
	seen    map[string]bool // names that had a topic once
	state   map[string][]byte
	epochs  map[string]uint64
	ids     map[[16]byte]place
	notify  func([]driver.End)
}

type topic struct {
	driver.Topic
	parts []partition
}

type partition struct {
	records []stored
	end     uint64 // as in driver.Bounds
	seq     uint64 // of the last record
	removed uint64
	bytes   int64
}

// stored is a record and the identity it is known by, so that both go together.
type stored struct {
	tandem.Record
	identity [16]byte
	dedup    bool
	size     int64
}

// place is the first event stored under an identity.
type place struct {
	topic     driver.ID
	partition int
	offset    uint64
	seq       uint64
	sum       uint64
}

var (
	_ driver.Driver     = (*Engine)(nil)
	_ driver.Foreteller = (*Engine)(nil)
)

// New returns an empty engine.
func New(opts Options) *Engine {
	e := &Engine{
		info: driver.Info{Engine: "memory", Atomic: true, TotalOrder: !opts.Partitioned, Dedup: driver.DedupAtAppend},
		now:  opts.Now,
		open: true,
		gate: make(chan struct{}),

		byName: map[string]*topic{},
		byID:   map[driver.ID]*topic{},
		seen:   map[string]bool{},
		state:  map[string][]byte{},
		epochs: map[string]uint64{},
		ids:    map[[16]byte]place{},
		notify: func([]driver.End) {},
	}
	if opts.LateDedup {
		e.info.Dedup = driver.DedupAtDelivery
	}
	rand.Read(e.info.LogID[:])
	close(e.gate)
	if e.now == nil {
		e.now = time.Now
	}
	return e
}

// Info implements driver.Driver.
func (e *Engine) Info() driver.Info { return e.info }

// Notify implements driver.Driver.
func (e *Engine) Notify(fn func(ends []driver.End)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notify = fn
}

// Health implements driver.Driver.
func (e *Engine) Health() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writable()
}

// Close implements driver.Driver. Repeating it is harmless.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open {
		e.open = false
		e.unstall()
	}
	return nil
}

// Stall makes every Append wait, as a disk does that does not answer, until resume is called or the engine is closed.
// reached is closed when one waits.
func (e *Engine) Stall() (reached <-chan struct{}, resume func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unstall()
	e.gate = make(chan struct{})
	e.reached = make(chan struct{})
	return e.reached, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.unstall()
	}
}

func (e *Engine) unstall() {
	select {
	case <-e.gate:
	default:
		close(e.gate)
	}
}

// Fail makes Append and Health answer err; nil heals the engine.
func (e *Engine) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = err
}

// writable is called with mu held.
func (e *Engine) writable() error {
	if !e.open {
		return errClosed()
	}
	return e.fault
}

func errClosed() error { return tandem.Errorf(tandem.CodeUnavailable, "the log is closed") }

// wait returns with mu held once syncing is not stalled.
func (e *Engine) wait(ctx context.Context) error {
	for {
		e.mu.Lock()
		gate := e.gate
		select {
		case <-gate:
			return nil
		default:
		}
		if e.reached != nil {
			close(e.reached)
			e.reached = nil
		}
		e.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return tandem.Errorf(tandem.CodeUnavailable, "not stored: %w", context.Cause(ctx))
		}
	}
}
