package pebblelog

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// retain runs retention now and then, until ctx is done.
func (e *Engine) retain(ctx context.Context) {
	if e.opts.RetentionEvery < 0 {
		return
	}
	tick := time.NewTicker(e.opts.RetentionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.failure.done:
			return
		case <-tick.C:
		case <-e.retainNow:
		}
		if err := e.RunRetention(ctx); err != nil && ctx.Err() == nil {
			e.opts.Logger.Warn("retention will try again", "error", err)
		}
	}
}

// RunRetention removes what the retention of topics says, by the clock of Options.Now, and returns when that is durable.
// It goes beside appends and reads and waits for neither; readers of what is removed go on with what is left. Events go
// in whole segments, or as all that one topic has in a segment, so by age up to a segment's span late. By size a topic is
// cut when it is a sixteenth over its limit. It works below the free-space mark.
func (e *Engine) RunRetention(ctx context.Context) error {
	e.retaining.Lock()
	defer e.retaining.Unlock()
	if err := e.sealOld(ctx); err != nil {
		return tandem.Wrap("retention", err)
	}
	if err := e.reading(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	e.mu.Lock()
	deleted := removal{spans: e.cleared}
	e.cleared = nil
	e.mu.Unlock()
	return tandem.Wrap("retention", errors.Join(deleted.giveBack(ctx, e), e.removeByAge(ctx), e.removeBySize(ctx)))
}

// sealOld seals the open segment when all it holds is older than the shortest retention.
func (e *Engine) sealOld(ctx context.Context) error {
	shortest := time.Duration(0)
	e.mu.RLock()
	for _, t := range e.byID {
		if r := time.Duration(t.meta.Retention); r > 0 && (shortest == 0 || r < shortest) {
			shortest = r
		}
	}
	e.mu.RUnlock()
	if shortest == 0 {
		return nil
	}
	return e.control(ctx, true, func(g *group) error {
		if s := e.segment; s != nil && g.now.Sub(time.Unix(0, s.Newest)) > shortest {
			return e.seal(g)
		}
		return nil
	})
}
