package gateway

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// replies finds the events that requests wait for. Each set of topics is read once for all who wait, from before the
// first of them stored its event, and not at all while nobody waits.
type replies struct {
	log    *eventlog.Log
	logger *slog.Logger
	life   context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows, and waiters of the readers
	readers  map[string]*replyReader
	stopping bool
}

// replyReader reads one set of topics while somebody waits.
type replyReader struct {
	waiters map[string][]*waiter // by flow: one, and its repeats
	cancel  context.CancelFunc
	ready   chan struct{} // closed when it reads, or could not
	err     error         // why not; before ready is closed
}

// waiter is one request that waits.
type waiter struct {
	of     *replies
	reader *replyReader
	key    string // of the reader
	wanted
	found chan *tandem.Event // room for one
}

// wanted is a reply: an event of the flow and the type that is not the request's own.
type wanted struct{ flow, typ, ownSource string }

func (w *wanted) is(ev *tandem.Event) bool {
	return ev.Meta.Flow == w.flow && ev.Type == w.typ && ev.Source != w.ownSource
}

func (rs *replies) init(log *eventlog.Log, logger *slog.Logger) {
	rs.log, rs.logger = log, logger
	rs.life, rs.cancel = context.WithCancel(context.Background())
	rs.readers = map[string]*replyReader{}
}

func (rs *replies) stop(ctx context.Context) error {
	rs.mu.Lock()
	rs.stopping = true
	rs.mu.Unlock()
	rs.cancel()
	gone := make(chan struct{})
	go func() { rs.wg.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeTimeout, "stop gateway: %w", context.Cause(ctx))
	}
}

// wait registers a request. When it returns, no reply stored from then on is missed. Leave in any case.
func (rs *replies) wait(ctx context.Context, sel eventlog.Selection, want wanted) (*waiter, error) {
	w := &waiter{of: rs, key: sel.String(), wanted: want, found: make(chan *tandem.Event, 1)}
	rs.mu.Lock()
	if rs.stopping {
		rs.mu.Unlock()
		return nil, tandem.Errorf(tandem.CodeUnavailable, "the server is stopping")
	}
	r := rs.readers[w.key]
	first := r == nil
	if first {
		r = &replyReader{waiters: map[string][]*waiter{}, ready: make(chan struct{})}
		rs.readers[w.key] = r
	}
	w.reader = r
	r.waiters[want.flow] = append(r.waiters[want.flow], w)
	rs.mu.Unlock()
	if first {
		rs.open(r, sel)
	}
	select {
	case <-r.ready:
	case <-ctx.Done():
		w.leave()
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		w.leave()
		return nil, r.err
	}
	return w, nil
}

// open starts a reader at the latest event.
func (rs *replies) open(r *replyReader, sel eventlog.Selection) {
	defer close(r.ready)
	ctx, cancel := context.WithCancel(rs.life)
	reader, err := rs.log.NewReader(ctx, sel, tandem.Start{})
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if err == nil && rs.stopping {
		reader.Close()
		err = tandem.Errorf(tandem.CodeUnavailable, "the server is stopping")
	}
	r.cancel = cancel
	if r.err = err; err != nil {
		cancel()
		return
	}
	rs.wg.Go(func() { rs.read(ctx, r, reader) })
}

// read hands out replies until nobody waits any more.
func (rs *replies) read(ctx context.Context, r *replyReader, reader *eventlog.Reader) {
	defer reader.Close()
	for {
		page, err := reader.Next(ctx, tandem.Filter{}, 256)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			rs.logger.Warn("replies cannot be read", "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
			continue
		}
		rs.mu.Lock()
		for i := range page.Events {
			ev := &page.Events[i].Event
			for _, w := range r.waiters[ev.Meta.Flow] {
				if w.is(ev) {
					reply := *ev // not the page: it would stay as long as the client reads
					w.give(&reply)
				}
			}
		}
		rs.mu.Unlock()
	}
}

func (w *waiter) give(ev *tandem.Event) {
	select {
	case w.found <- ev:
	default: // the first reply counts
	}
}

// reply waits for the reply; nil when ctx is done or the gateway stops.
func (w *waiter) reply(ctx context.Context) *tandem.Event {
	select {
	case ev := <-w.found:
		return ev
	case <-ctx.Done():
	case <-w.of.life.Done():
	}
	return nil
}

// leave unregisters. The last to leave ends the reader.
func (w *waiter) leave() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	r := w.reader
	if rest := slices.DeleteFunc(r.waiters[w.flow], func(o *waiter) bool { return o == w }); len(rest) > 0 {
		r.waiters[w.flow] = rest
	} else {
		delete(r.waiters, w.flow)
	}
	if len(r.waiters) == 0 && w.of.readers[w.key] == r {
		delete(w.of.readers, w.key)
		if r.cancel != nil { // not yet open: open's own waiter has not left
			r.cancel()
		}
	}
}

// find waits for a reply that may be stored already, behind the event, which was repeated; nil as in reply.
func (rs *replies) find(ctx context.Context, sel eventlog.Selection, from tandem.Cursor, want wanted) *tandem.Event {
	w, err := rs.wait(ctx, sel, want)
	if err != nil {
		rs.logger.Warn("replies cannot be waited for", "error", err)
		return nil
	}
	defer w.leave()
	if reply := rs.stored(ctx, sel, from, want); reply != nil {
		return reply
	}
	return w.reply(ctx)
}

// stored looks for a reply up to the end of the log; nil if there is none, or ctx is done or the gateway stops.
func (rs *replies) stored(ctx context.Context, sel eventlog.Selection, from tandem.Cursor, want wanted) *tandem.Event {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(rs.life, cancel)()
	reader, err := rs.log.NewReader(ctx, sel, tandem.Start{Cursor: from})
	if err != nil {
		rs.logger.Warn("replies cannot be read", "error", err)
		return nil
	}
	defer reader.Close()
	for {
		page, err := reader.Read(ctx, tandem.Filter{}, 256)
		if err != nil {
			return nil
		}
		for i := range page.Events {
			if ev := &page.Events[i].Event; want.is(ev) {
				reply := *ev
				return &reply
			}
		}
		if ctx.Err() != nil || !reader.More() {
			return nil
		}
	}
}
