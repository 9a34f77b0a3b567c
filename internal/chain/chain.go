package chain

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// DefaultTimeout is the deadline of a chain unless Options says otherwise.
const DefaultTimeout = 30 * time.Second

// Options configure a Chain. The zero value works.
type Options struct {
	Timeout time.Duration // of a chain, from its first call to its last; zero means DefaultTimeout
	Logger  *slog.Logger  // nil means slog.Default
}

// Chain publishes to topics with request links. All methods are safe for concurrent use; a nil Chain has no links.
type Chain struct {
	log    *eventlog.Log
	opts   Options
	life   context.Context
	cancel context.CancelCauseFunc
	swept  sync.WaitGroup

	table atomic.Pointer[table] // nil: there are no links

	mu      sync.Mutex
	flights map[string]*flight // guarded by mu: chains under way, by the key of their cause
}

// Result is what a publish through request links brought.
type Result struct {
	Receipt tandem.Receipt // of the cause
	// Replies are what the links answered, depth first, not nil even if there are none.
	Replies []tandem.Event
}

var errStopped = errors.New("the server is stopping")

// New returns a Chain without links.
func New(log *eventlog.Log, opts Options) *Chain {
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	c := &Chain{log: log, opts: opts, flights: map[string]*flight{}}
	c.life, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// Start begins to remove what need not be remembered any more.
func (c *Chain) Start() { c.swept.Go(c.sweep) }

// Stop ends the chains under way.
func (c *Chain) Stop(context.Context) error {
	c.cancel(errStopped)
	c.swept.Wait()
	return nil
}

// Use makes links those in force, in declared order. Chains under way keep what they began with.
func (c *Chain) Use(links []Link) {
	if c == nil {
		return
	}
	if len(links) == 0 {
		c.table.Store(nil)
		return
	}
	c.table.Store(&table{links: links})
}

// Has reports whether a topic has request links.
func (c *Chain) Has(topic string) bool { return c != nil && len(c.table.Load().of(topic)) > 0 }

// Publish calls the links for the one event of tx and then stores it with all replies and the state of tx, which a repeat does not
// store. ctx bounds it by its deadline alone. Codes: as eventlog.Log.Commit, before and after the calls; RequestLink, with Link.
func (c *Chain) Publish(ctx context.Context, tx *eventlog.Tx) (Result, error) {
	cause := &tx.Events[0]
	chosen := cause.Event.ID != ""
	sum, err := c.log.Complete(ctx, cause)
	if err != nil {
		return Result{}, err
	}
	bound := context.WithoutCancel(ctx)
	if d, ok := ctx.Deadline(); ok {
		var done context.CancelFunc
		bound, done = context.WithDeadline(bound, d)
		defer done()
	}
	ctx, cancel := c.bound(bound)
	defer cancel()
	if !chosen {
		res, err := c.run(ctx, tx, nil)
		if res.Receipt.Duplicate == tandem.DuplicateUnknown {
			res.Receipt.Duplicate = tandem.DuplicateNo // the id is new
		}
		return res, err
	}
	return c.once(ctx, &memory{cause: cause, sum: sum}, func(m *memory) (Result, error) { return c.run(ctx, tx, m) })
}

// bound returns the context of a chain: it ends with ctx, with the deadline, and when the server stops.
func (c *Chain) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { cancel(errStopped) })
	ctx, done := context.WithTimeout(ctx, c.opts.Timeout)
	return ctx, func() { done(); stop(); cancel(nil) }
}

// run makes the calls and stores what came of them.
func (c *Chain) run(ctx context.Context, tx *eventlog.Tx, m *memory) (Result, error) {
	w := &walk{table: c.table.Load(), log: c.log, ctx: ctx}
	replies, err := w.visit(&tx.Events[0])
	if err != nil {
		w.failed.Link.Done = w.done()
		w.note(nil, err)
		return Result{}, err
	}
	all := &eventlog.Tx{Events: append(tx.Events[:1:1], replies.events()...), State: tx.State, Fence: tx.Fence}
	if m != nil {
		all.State = append(all.State[:len(all.State):len(all.State)], m.record(all.Events))
	}
	receipts, err := c.log.Commit(context.WithoutCancel(ctx), all)
	if err != nil {
		if err = w.refused(replies, err); w.failed != nil {
			w.failed.Link.Done = w.done()
		}
		w.note(nil, err)
		return Result{}, err
	}
	tx.Events[0] = all.Events[0]
	stored := map[*eventlog.TopicEvent]tandem.Receipt{&tx.Events[0]: receipts[0]}
	for i := range replies {
		stored[replies[i].event] = receipts[i+1]
	}
	w.note(stored, nil)
	res := Result{Receipt: receipts[0], Replies: make([]tandem.Event, len(replies))}
	for i := range replies {
		res.Replies[i] = all.Events[i+1].Event
	}
	return res, nil
}

// refused makes an error of the log that is about a reply one of the link that sent it.
func (w *walk) refused(replies replies, err error) error {
	var e *tandem.Error
	if len(replies) == 0 || !errors.As(err, &e) {
		return err
	}
	for next := err; errors.As(next, &e); next = e.Err {
		for i := range e.Fields {
			index, rest, ok := strings.Cut(strings.TrimPrefix(e.Fields[i].Pointer, "/"), "/")
			n, bad := strconv.Atoi(index)
			if !ok || bad != nil || n < 0 || n > len(replies) {
				continue
			}
			if n > 0 {
				return w.spoil(replies[n-1].call, "its reply cannot be stored: "+rest+" "+e.Fields[i].Detail)
			}
			e.Fields[i].Pointer = "/" + rest
		}
	}
	return err
}
