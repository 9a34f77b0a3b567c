package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// What Options mean unless they say otherwise.
const (
	DefaultTimeout = 30 * time.Second
	DefaultChains  = 1000
)

// Options configure a Chain. The zero value works.
type Options struct {
	Timeout time.Duration // of a chain, from its first call to its last; zero means DefaultTimeout
	Chains  int           // that may be under way at once, beside those of deliveries; zero means DefaultChains
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
	slots chan struct{}         // one for each chain under way

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
	if opts.Chains == 0 {
		opts.Chains = DefaultChains
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	c := &Chain{log: log, opts: opts, flights: map[string]*flight{}, slots: make(chan struct{}, opts.Chains)}
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
// store. It begins nothing if ctx was cancelled; after that ctx bounds it by its deadline alone. Codes: as eventlog.Log.Commit, as far as
// that can be told before the first call, and after the calls; Overloaded (nobody was called); RequestLink, with Link.
func (c *Chain) Publish(ctx context.Context, tx *eventlog.Tx) (Result, error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return Result{}, tandem.Errorf(tandem.CodeUnavailable, "whoever published has gone away: %w", ctx.Err())
	}
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
	if err := c.log.Takes(); err != nil {
		return Result{}, tandem.Wrap("call request links", err)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return Result{}, tandem.Errorf(tandem.CodeOverloaded, "%d request chains are under way", cap(c.slots)).
			WithRetryAfter(time.Second).WithHint("nobody was called: publish again later")
	}
	w := &walk{table: c.table.Load(), log: c.log, ctx: ctx}
	links, err := w.complete(&tx.Events[0])
	if err != nil {
		return Result{}, err
	}
	replies, err := w.visit(&tx.Events[0], links)
	if err != nil {
		return Result{}, w.broken(err)
	}
	all := &eventlog.Tx{Events: append(tx.Events[:1:1], replies.events()...), State: tx.State, Fence: tx.Fence}
	if m != nil {
		op := m.record(all.Events)
		if n, most := len(op.Key)+len(op.Value), c.log.Info().MaxEventBytes; len(replies) > 0 && most > 0 && n > most {
			last := replies[len(replies)-1].call
			return Result{}, w.broken(w.spoil(last, fmt.Sprintf("the names of the replies of the chain take %d bytes, at most %d", n, most)))
		}
		all.State = append(all.State[:len(all.State):len(all.State)], op)
	}
	receipts, err := c.log.Commit(context.WithoutCancel(ctx), all)
	if err != nil {
		return Result{}, w.broken(w.refused(replies, err))
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

// broken says to all that were called that nothing was stored, and returns why.
func (w *walk) broken(err error) error {
	if w.failed != nil {
		w.failed.Link.Done = w.done()
	}
	w.note(nil, err)
	return err
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
