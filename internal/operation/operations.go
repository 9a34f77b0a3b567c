package operation

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Defaults and limits.
const (
	DefaultKeep       = 24 * time.Hour
	DefaultMaxRunning = 100_000
	MaxWatches        = 256 // different sets of topics
)

// Options configure Operations. The zero value works.
type Options struct {
	Keep       time.Duration // how long an ended operation is kept; zero means DefaultKeep
	MaxRunning int           // operations running at a time; zero means DefaultMaxRunning
	Logger     *slog.Logger  // nil means slog.Default
}

// Operations keeps the operations of a log. All methods are safe for concurrent use.
type Operations struct {
	log  *eventlog.Log
	opts Options

	asks chan *ask     // to the keeper; 64, then senders wait
	poke chan struct{} // the earliest deadline may have changed

	life   context.Context // of the goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	running map[string]*entry
	due     deadlines
	watches map[string]*watch
	open    bool          // between Start and Stop
	closing chan struct{} // closed by Stop
	started time.Time

	drain    sync.Once
	draining chan struct{} // closed by Drain: waiters leave
}

// entry is one operation that runs, or has ended a moment ago while somebody still looks at it.
type entry struct {
	op       tandem.Operation // while running; does not change
	spec     tandem.OperationSpec
	watch    *watch
	deadline time.Time // guarded by Operations.mu
	heapPos  int       // place in Operations.due; guarded by Operations.mu

	final *tandem.Operation // written by the keeper under Operations.mu, before done is closed
	done  chan struct{}
}

// New returns the operations of a log. Start them before use.
func New(log *eventlog.Log, opts Options) *Operations {
	if opts.Keep == 0 {
		opts.Keep = DefaultKeep
	}
	if opts.MaxRunning == 0 {
		opts.MaxRunning = DefaultMaxRunning
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Operations{
		log:     log,
		opts:    opts,
		asks:    make(chan *ask, 64),
		poke:    make(chan struct{}, 1),
		running: map[string]*entry{},
		watches: map[string]*watch{},
		closing: make(chan struct{}),

		draining: make(chan struct{}),
	}
}

// Start loads what was running and goes on reading where the last process stopped. It may be repeated. ctx bounds the
// loading only.
func (o *Operations) Start(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		return nil
	}
	select {
	case <-o.closing:
		return tandem.Errorf(tandem.CodeUnavailable, "operations were stopped")
	default:
	}
	if err := o.load(ctx); err != nil {
		return tandem.Wrap("start operations", err)
	}
	o.life, o.cancel = context.WithCancel(context.Background())
	o.open = true
	o.started = time.Now()
	o.wg.Go(func() { o.keep(o.life) })
	for _, w := range o.watches {
		o.wg.Go(func() { w.run(o.life) })
	}
	return nil
}

// Drain lets those who wait go with what is known, and ends streams, so that a server need not wait for them. Operations
// still begin and end. From then on nobody waits. It may be repeated.
func (o *Operations) Drain(context.Context) error {
	o.drain.Do(func() { close(o.draining) })
	return nil
}

// Stop drains, ends the goroutines and waits for them until ctx is done. Operations that run are taken up again by the
// next process on the same log. It may be repeated.
func (o *Operations) Stop(ctx context.Context) error {
	_ = o.Drain(ctx)
	o.mu.Lock()
	if o.open {
		o.open = false
		close(o.closing)
		o.cancel()
	}
	o.mu.Unlock()
	gone := make(chan struct{})
	go func() { o.wg.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeTimeout, "stop operations: %w", context.Cause(ctx))
	}
}

// Begin makes an operation in a flow. It is not stored yet: the caller commits state, with its event, before it tells
// anybody the id, or lets Confirm do so; if that comes to nothing it calls Abandon. Until then the operation counts as
// running, and its event, however early, ends it.
//
// Codes: Invalid (the spec), NotFound (a topic of the spec), Overloaded, Unavailable.
func (o *Operations) Begin(ctx context.Context, spec tandem.OperationSpec, flow string) (op tandem.Operation, state driver.StateOp, err error) {
	if err := spec.Check(); err != nil {
		return op, state, err
	}
	w, err := o.watchOf(ctx, spec.Topics)
	if err != nil {
		return op, state, tandem.Wrap("begin operation", err)
	}
	if spec.Timeout == 0 {
		spec.Timeout = tandem.Duration(tandem.DefaultOperationTimeout)
	}
	now := time.Now()
	e := &entry{
		spec:     spec,
		watch:    w,
		deadline: now.Add(time.Duration(spec.Timeout)),
		done:     make(chan struct{}),
		op: tandem.Operation{
			ID:      tandem.NewID(),
			State:   tandem.OperationRunning,
			Flow:    flow,
			Created: timeText(now),
			Expires: timeText(now.Add(time.Duration(spec.Timeout))),
		},
	}
	if state, err = runState(e); err != nil {
		return op, state, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return op, state, errStopped()
	}
	if len(o.running) >= o.opts.MaxRunning {
		return op, state, tandem.Errorf(tandem.CodeOverloaded, "%d operations are running", len(o.running)).
			WithHint("operations end by their event or their timeout: is a timeout too long, or a service behind?")
	}
	o.running[e.op.ID] = e
	heap.Push(&o.due, e)
	if e.heapPos == 0 {
		o.wakeKeeper()
	}
	return e.op, state, nil
}

// Confirm stores an operation that Begin made, unless its event has ended and so stored it already. After an error the
// caller abandons it. Codes: NotFound, Unavailable.
func (o *Operations) Confirm(ctx context.Context, id string) error {
	e := o.entry(id)
	if e == nil {
		_, err := o.ended(ctx, id)
		return err
	}
	return o.ask(ctx, &ask{confirm: e})
}

// Abandon forgets an operation whose id was told to nobody. stored says that its state may have been committed all the
// same; it is then removed behind the scenes, and if even that fails, its time ends it.
func (o *Operations) Abandon(id string, stored bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.running[id]
	if e == nil {
		return
	}
	o.forget(e)
	if !stored {
		return
	}
	select {
	case o.asks <- &ask{drop: id, done: make(chan error, 1)}:
	default: // the keeper is busy: the record is loaded by the next Start, and timed out
	}
}

// Get returns an operation. Code: NotFound, also when it ended longer ago than Options.Keep.
func (o *Operations) Get(ctx context.Context, id string) (tandem.Operation, error) {
	if e := o.entry(id); e != nil {
		return o.look(e), nil
	}
	return o.ended(ctx, id)
}

// Wait returns an operation as soon as it is final, or as it is when ctx is done or Drain was called. Code: NotFound.
func (o *Operations) Wait(ctx context.Context, id string) (tandem.Operation, error) {
	e := o.entry(id)
	if e == nil {
		return o.ended(ctx, id)
	}
	select {
	case <-e.done:
	case <-ctx.Done():
	case <-o.draining:
	}
	return o.look(e), nil
}

// Cancel ends an operation as cancelled. The work itself goes on: who does it may read the state. Cancelling what is
// cancelled changes nothing. Codes: NotFound, Conflict (it had ended otherwise), Unavailable.
func (o *Operations) Cancel(ctx context.Context, id string) (op tandem.Operation, err error) {
	if e := o.entry(id); e != nil {
		final := e.op
		final.State = tandem.OperationCancelled
		final.Ended = timeText(time.Now())
		if err := o.ask(ctx, &ask{ends: []ending{{e, &final}}}); err != nil {
			return op, tandem.Wrap("cancel operation", err)
		}
		op = o.look(e)
	} else if op, err = o.ended(ctx, id); err != nil {
		return op, err
	}
	if op.State != tandem.OperationCancelled {
		return op, tandem.Errorf(tandem.CodeConflict, "the operation has %s", op.State)
	}
	return op, nil
}

// Running returns how many operations run.
func (o *Operations) Running() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.running)
}

func (o *Operations) entry(id string) *entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running[id]
}

// look returns what an entry shows now.
func (o *Operations) look(e *entry) tandem.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.final != nil {
		return *e.final
	}
	return e.op
}

// ended reads an operation that is not running. The entry of one that ends just now disappears after its record is stored.
func (o *Operations) ended(ctx context.Context, id string) (tandem.Operation, error) {
	if !validID(id) {
		return tandem.Operation{}, errNoOperation
	}
	value, err := o.log.State(ctx, prefixEnd+id)
	if err != nil {
		return tandem.Operation{}, tandem.Wrap("read operation", err)
	}
	if value == nil {
		return tandem.Operation{}, errNoOperation
	}
	return decodeEnd(value)
}

// forget removes an entry. Called with mu held.
func (o *Operations) forget(e *entry) {
	delete(o.running, e.op.ID)
	heap.Remove(&o.due, e.heapPos)
}

func (o *Operations) wakeKeeper() {
	select {
	case o.poke <- struct{}{}:
	default:
	}
}

var errNoOperation = &tandem.Error{Code: tandem.CodeNotFound, Err: errors.New("no such operation"),
	Hint: "operations are forgotten some time after they ended"}

func errStopped() error {
	return tandem.Errorf(tandem.CodeUnavailable, "operations are not running").WithRetryAfter(time.Second)
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
