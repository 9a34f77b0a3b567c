package pebblelog

import (
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
)

// commit is the committer: it alone decides numbers, sequences, ids, fences and conditions, and writes all but what
// retention removes.
func (e *Engine) commit() {
	defer close(e.written)
	defer func() {
		// Pebble panics where it cannot write its log. The lock it holds then is never released.
		if v := recover(); v != nil {
			e.fail(fmt.Errorf("commit: %v", v))
		}
	}()
	for {
		g := e.spare()
		var open bool
		// Writers that the last group woke are about to queue their next batch.
		runtime.Gosched()
		if g.requests, open = e.queue.take(g.requests); !open {
			return
		}
		if err := e.build(g); err != nil {
			e.fail(err)
			return
		}
		if g.batch != nil {
			e.state.applied.Add(1)
			if err := e.stall.during(&e.stall.applying, func() error { return e.apply(g.batch) }); err != nil {
				e.fail(err)
				return
			}
		}
		select {
		case e.written <- g:
		case <-e.failure.done:
			return
		}
	}
}

// apply hands a batch to Pebble, which begins to sync it.
func (e *Engine) apply(b *pebble.Batch) error {
	if e.opts.noSync {
		return e.db.Apply(b, pebble.NoSync)
	}
	return e.db.ApplyNoSyncWait(b, pebble.Sync)
}

func (e *Engine) syncWait(b *pebble.Batch) error {
	if e.opts.noSync {
		return nil
	}
	return b.SyncWait()
}

// finish is the finisher: it waits for the sync of each group in turn and makes it visible.
func (e *Engine) finish() {
	defer close(e.finished)
	for {
		var g *group
		select {
		case g = <-e.written:
		case <-e.failure.done:
		}
		if g == nil {
			return
		}
		if g.batch != nil {
			if err := e.stall.during(&e.stall.syncing, func() error { return e.syncWait(g.batch) }); err != nil {
				e.fail(fmt.Errorf("sync: %w", err))
				return
			}
			g.batch.Close()
		}
		// Pebble reports some failures only through its logger.
		if e.failure.get() != nil {
			return
		}
		e.publish(g)
		for _, r := range g.requests {
			r.done <- struct{}{}
		}
		e.recycle(g)
	}
}

// publish makes a durable group visible and then tells of it.
func (e *Engine) publish(g *group) {
	e.mu.Lock()
	for i, p := range g.touched {
		if p.start.Seq == p.synced.Seq {
			p.oldest = 0
		}
		p.synced = g.ends[i]
	}
	for _, fn := range g.after {
		fn()
	}
	e.synced.Store(g.next)
	e.mu.Unlock()
	if g.batch != nil {
		e.state.advance()
	}
	e.saveSoon(g.next)
	if len(g.touched) == 0 {
		return
	}
	if fn := e.notify.Load(); fn != nil {
		(*fn)(g.notes)
	}
}

// spare returns an empty group; at most four exist.
func (e *Engine) spare() *group {
	select {
	case g := <-e.groups:
		return g
	default:
		return &group{}
	}
}

func (e *Engine) recycle(g *group) {
	g.reset()
	select {
	case e.groups <- g:
	default:
	}
}
