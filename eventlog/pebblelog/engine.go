package pebblelog

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Engine is an open log. It implements driver.Driver.
type Engine struct {
	opts Options
	dir  string
	info driver.Info
	db   *pebble.DB
	lock *pebble.Lock

	failure failure
	stall   stall
	opened  atomic.Bool               // Open has done its part
	warned  atomic.Pointer[time.Time] // of an error in Pebble's background
	queue   queue
	written chan *group // from the committer to the finisher: two groups are under way at most
	groups  chan *group // spare ones
	disk    *disk
	window  *window
	saved   *saved
	state   durableState
	notify  atomic.Pointer[func([]driver.End)]

	saveNow   chan struct{} // one signal
	saveAsked uint64        // owned by the finisher

	finished chan struct{}      // closed when the finisher has ended
	stop     context.CancelFunc // ends the goroutines in background
	running  sync.WaitGroup     // those goroutines

	// life is held for reading while Pebble is read, and for writing to close it.
	life      sync.RWMutex
	closed    atomic.Bool
	abandoned atomic.Bool // by Close, after a failure

	// synced: every event with a smaller number is durable and readable.
	synced   atomic.Uint64
	segments segments
	autoSpan atomic.Int64

	// mu guards what readers see of topics, partitions and segments. Nothing slow is done under it.
	mu         sync.RWMutex
	byID       map[driver.ID]*topic
	bySlot     map[slot]*topic
	generation uint64 // of declarations
	cleared    []span // of deleted topics, whose disk space is not given back yet

	// retaining is held by the one retention run under way.
	retaining sync.Mutex
	dues      map[uint32]due // by segment
	retainNow chan struct{}  // one signal

	// Owned by the committer.
	names   map[string]*topic
	epochs  map[string]uint64
	next    uint64 // number of the next event
	lastID  driver.ID
	segment *openSegment
}

var _ driver.Driver = (*Engine)(nil)

// Open opens the log in a directory, which it creates if need be, and takes it for this process. Codes: Invalid (the
// directory cannot be one, or cannot be written), Conflict (another process has it), Unavailable (the volume is full),
// Unsupported (a newer version wrote it), Internal (it is damaged).
func Open(dir string, opts Options) (*Engine, error) {
	e := &Engine{
		opts:      opts.withDefaults(),
		dir:       dir,
		info:      Declared(),
		failure:   failure{done: make(chan struct{})},
		queue:     queue{wake: make(chan struct{}, 1)},
		written:   make(chan *group),
		groups:    make(chan *group, 4),
		finished:  make(chan struct{}),
		saveNow:   make(chan struct{}, 1),
		retainNow: make(chan struct{}, 1),
		byID:      map[driver.ID]*topic{},
		bySlot:    map[slot]*topic{},
		names:     map[string]*topic{},
		epochs:    map[string]uint64{},
		dues:      map[uint32]due{},
		next:      1,
	}
	e.autoSpan.Store(int64(maxSpan))
	e.window = newWindow(e.opts.DedupWindow, e.opts.DedupBytes)
	e.state.init()
	e.stall.init()
	if err := e.open(); err != nil {
		return nil, tandem.Wrap("open the log in "+dir, err)
	}
	e.opened.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	go e.commit()
	go e.finish()
	e.background(ctx)
	return e, nil
}

func (e *Engine) open() error {
	if err := e.opts.FS.MkdirAll(e.dir, 0o755); err != nil {
		return errDirectory(err)
	}
	lock, err := pebble.LockDirectory(e.dir, e.opts.FS)
	if err != nil {
		return e.errLock(err)
	}
	e.lock = lock
	if err := e.openStore(); err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

func (e *Engine) openStore() (err error) {
	if e.disk, err = openDisk(e.opts, e.dir); err != nil {
		return errDirectory(err)
	}
	if e.db, err = pebble.Open(e.dir, e.pebbleOptions()); err != nil {
		return errDirectory(err)
	}
	if err = e.recover(); err == nil {
		err = e.recoverWindow()
	}
	if err != nil {
		return errors.Join(err, e.db.Close())
	}
	return nil
}

// background starts the goroutines that nobody waits for but Close.
func (e *Engine) background(ctx context.Context) {
	e.running.Go(func() { e.retain(ctx) })
	e.running.Go(func() { e.save(ctx) })
	e.running.Go(func() { e.watch(ctx) })
}

// Info implements driver.Driver.
func (e *Engine) Info() driver.Info { return e.info }

// Notify implements driver.Driver.
func (e *Engine) Notify(fn func(ends []driver.End)) { e.notify.Store(&fn) }

// Health implements driver.Driver.
func (e *Engine) Health() error { return e.writable() }

// writable returns why nothing can be appended.
func (e *Engine) writable() error {
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	if e.queue.closed {
		return errClosed()
	}
	if e.queue.refusal != nil {
		return e.queue.refusal
	}
	return e.failure.get()
}

// closeWithin is how long Close waits for the store.
const closeWithin = 30 * time.Second

// Close implements driver.Driver. Batches that the committer has taken are finished, those that wait end with
// Unavailable. After a failure, and when it does not end within 30 seconds, Pebble is left as it is: closing it could wait
// for a lock that is never released. Code: Unavailable, in the second case.
func (e *Engine) Close() error {
	answer(e.queue.close(), errClosed())
	e.stop()
	ended := make(chan error, 1)
	go func() {
		<-e.finished
		e.running.Wait()
		ended <- e.closeStore()
	}()
	late := time.NewTimer(closeWithin)
	defer late.Stop()
	select {
	case err := <-ended:
		if e.failure.get() == nil {
			return err
		}
	case <-late.C:
		// It may go on later, so the directory stays taken until this process ends.
		e.abandoned.Store(true)
		e.closed.Store(true)
		e.fail(errors.New("the store does not close"))
		return e.failure.get()
	case <-e.failure.done:
	}
	if e.abandoned.Swap(true) {
		return nil
	}
	e.closed.Store(true)
	// One hold is ours, the other one the store's, which will not be closed.
	return errors.Join(e.lock.Close(), e.lock.Close())
}

// closeStore closes what Open opened, once.
func (e *Engine) closeStore() error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.failure.get() != nil || e.closed.Swap(true) {
		return nil
	}
	b := e.db.NewBatch()
	err := errors.Join(e.putCounters(b), e.db.Apply(b, pebble.Sync))
	return errors.Join(err, e.db.Close(), e.lock.Close())
}

// reading takes life for a reader; the caller releases it.
func (e *Engine) reading() error {
	e.life.RLock()
	if e.closed.Load() {
		e.life.RUnlock()
		return errClosed()
	}
	return nil
}

func newLogID() (id [8]byte) {
	rand.Read(id[:])
	return id
}

// Declared is what Info says of any log.
func Declared() driver.Info {
	return driver.Info{Engine: "embedded", Atomic: true, TotalOrder: true, Dedup: driver.DedupAtAppend, Durable: "synced to disk"}
}
