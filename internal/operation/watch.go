package operation

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

const (
	pageEvents = 256
	// saveEvery is how often the cursor of a reader is stored when nothing ends. A restart reads that much again.
	saveEvery = 5 * time.Second
)

// watch reads one set of topics for the ends of operations. It goes on reading until Stop, whether operations run or not.
type watch struct {
	o        *Operations
	name     string // a DerivedID of the topics: they may be many
	topics   []string
	sel      eventlog.Selection
	start    tandem.Start
	reader   *eventlog.Reader // nil until open; belongs to run afterwards
	caughtUp atomic.Bool      // it has once read all there was

	ready chan struct{} // closed when it was opened, or could not be
	err   error         // why not; before ready is closed
}

func (o *Operations) newWatch(topics []string) (*watch, error) {
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	sel, err := eventlog.Select(topics...)
	return &watch{o: o, name: tandem.DerivedID(topics...), topics: topics, sel: sel, ready: make(chan struct{})}, err
}

// watchOf returns the watch of a set of topics that is past the present, starting it if need be.
func (o *Operations) watchOf(ctx context.Context, topics []string) (*watch, error) {
	w, err := o.newWatch(topics)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	if !o.open {
		o.mu.Unlock()
		return nil, errStopped()
	}
	if known := o.watches[w.name]; known != nil {
		o.mu.Unlock()
		select {
		case <-known.ready:
			return known, known.err
		case <-ctx.Done():
			return nil, tandem.Errorf(tandem.CodeUnavailable, "%w", context.Cause(ctx))
		}
	}
	if len(o.watches) >= MaxWatches {
		o.mu.Unlock()
		return nil, tandem.Errorf(tandem.CodeOverloaded, "operations wait on %d different sets of topics", MaxWatches)
	}
	o.watches[w.name] = w
	o.mu.Unlock()

	defer close(w.ready)
	if w.err = w.openFirst(); w.err != nil {
		o.mu.Lock()
		delete(o.watches, w.name)
		o.mu.Unlock()
		return nil, w.err
	}
	return w, nil
}

// openFirst opens the reader at the latest event and stores that place before any operation relies on it. Others wait
// for the outcome, so the context of the request that happens to be first does not bound it.
func (w *watch) openFirst() error {
	ctx := w.o.life
	reader, err := w.o.log.NewReader(ctx, w.sel, tandem.Start{})
	if err != nil {
		return err
	}
	w.reader = reader
	if err := w.o.ask(ctx, &ask{watch: w, cursor: reader.Cursor()}); err != nil {
		reader.Close()
		return err
	}
	w.caughtUp.Store(true)
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	if !w.o.open {
		reader.Close()
		return errStopped()
	}
	w.o.wg.Go(func() { w.run(ctx) })
	return nil
}

// run reads until ctx is done.
func (w *watch) run(ctx context.Context) {
	log := w.o.opts.Logger.With("topics", w.topics)
	for w.reader == nil {
		var err error
		if w.reader, err = w.o.log.NewReader(ctx, w.sel, w.start); err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("operations cannot read their topics", "error", err)
		if !pause(ctx, retryEvery) {
			return
		}
	}
	defer w.reader.Close()
	saved := time.Now()
	for {
		page, err := w.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Warn("operations cannot read their topics", "error", err)
			if !pause(ctx, retryEvery) {
				return
			}
			continue
		}
		if page.Gap != nil {
			log.Warn("operations missed events: some may end by their timeout only", "reason", page.Gap.Reason)
		}
		ends := w.ends(page.Events)
		if len(ends) == 0 && time.Since(saved) < saveEvery {
			continue
		}
		for {
			err := w.o.ask(ctx, &ask{ends: ends, watch: w, cursor: page.Cursor})
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			log.Warn("operations could not be ended", "error", err)
			if !pause(ctx, retryEvery) {
				return
			}
		}
		saved = time.Now()
	}
}

// read returns the next page, waiting for it. It notices when the reader has read all there is.
func (w *watch) read(ctx context.Context) (tandem.Page, error) {
	if !w.caughtUp.Load() {
		page, err := w.reader.Read(ctx, tandem.Filter{}, pageEvents)
		if err != nil || len(page.Events) > 0 || page.Gap != nil {
			return page, err
		}
		w.caughtUp.Store(true)
	}
	return w.reader.Next(ctx, tandem.Filter{}, pageEvents)
}

// ends returns the operations that these events end.
func (w *watch) ends(events []tandem.Record) (ends []ending) {
	now := time.Now()
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	for i := range events {
		ev := &events[i].Event
		if ev.Meta.Operation == "" {
			continue
		}
		e := w.o.running[ev.Meta.Operation]
		if e == nil || e.watch != w {
			continue
		}
		final := e.op
		switch {
		case slices.Contains(e.spec.Succeed, ev.Type):
			final.State = tandem.OperationSucceeded
		case slices.Contains(e.spec.Fail, ev.Type):
			final.State = tandem.OperationFailed
		default:
			continue
		}
		final.Ended = timeText(now)
		result := *ev // not the page: it would stay as long as somebody looks at the operation
		final.Result = &result
		ends = append(ends, ending{e, &final})
	}
	return ends
}

// pause waits and reports whether ctx is still going on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
