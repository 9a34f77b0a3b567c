package operation

import (
	"container/heap"
	"context"
	"slices"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// load reads the operations that were running and the places up to which their topics were read. Called with mu held,
// before any goroutine runs.
func (o *Operations) load(ctx context.Context) error {
	var entries []*entry
	var bad error
	err := o.log.ScanState(ctx, prefixRun, func(key string, value []byte) bool {
		var e *entry
		if e, bad = decodeRun(slices.Clone(value)); bad == nil {
			entries = append(entries, e)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !o.log.Info().Atomic { // a crash may have come between the end and the removal of what runs
			switch _, err := o.ended(ctx, e.op.ID); {
			case err == nil:
				continue
			case tandem.CodeOf(err) != tandem.CodeNotFound:
				return err
			}
		}
		w, err := o.newWatch(e.spec.Topics)
		if err != nil {
			return err
		}
		if known := o.watches[w.name]; known != nil {
			w = known
		} else {
			close(w.ready)
			o.watches[w.name] = w
		}
		e.watch = w
		o.running[e.op.ID] = e
		heap.Push(&o.due, e)
	}
	return o.loadPlaces(ctx)
}

// loadPlaces sets where the watches go on. A place without running operations is removed: a later operation starts at
// the present, not there.
func (o *Operations) loadPlaces(ctx context.Context) error {
	var tx eventlog.Tx
	var bad error
	err := o.log.ScanState(ctx, prefixAt, func(key string, value []byte) bool {
		w := o.watches[key[len(prefixAt):]]
		if w == nil {
			tx.State = append(tx.State, driver.StateOp{Key: key})
			return true
		}
		var p place
		p, bad = decodePlace(value)
		w.start.Cursor = p.Cursor
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err == nil && len(tx.State) > 0 {
		_, err = o.log.Commit(ctx, &tx)
	}
	for _, w := range o.watches {
		if w.start.Cursor == "" {
			w.start.Earliest = true // cannot be: the place is stored before the first operation
		}
	}
	return err
}
