package pebblelog

import (
	"context"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

var _ driver.Foreteller = (*Engine)(nil)

// Takes implements driver.Foreteller.
func (e *Engine) Takes() error {
	if err := e.writable(); err != nil {
		return err
	}
	if e.disk.full() {
		return e.disk.errFull()
	}
	return nil
}

// Find implements driver.Foreteller.
func (e *Engine) Find(_ context.Context, r *driver.Record) error {
	e.mu.RLock()
	part, err := e.partition(r.Topic, 0)
	e.mu.RUnlock()
	if err != nil {
		return err
	}
	g := group{now: e.opts.Now()}
	p := pending{part: part, id: identityOf(r.Topic, r.Identity)}
	w := e.window
	w.mu.Lock()
	defer w.mu.Unlock()
	f := e.remembered(&g, &p)
	if r.Duplicate = f != nil && int64(f.at) >= g.now.Add(-w.keep).Unix(); r.Duplicate {
		r.Offset, r.Seq, r.Stored, r.Sum = f.offset, f.seq(), f.partition(), f.sum
	}
	return nil
}
