package kafkalog

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
)

// group is what the committer writes in one step. Only its goroutine uses it.
type group struct {
	engine   *Engine
	taken    []*request
	accepted []*request
	pending  map[string][]byte // state changed by accepted; nil is deleted
	records  []*kgo.Record     // events, then state
	parts    []*partition      // of the events
	bytes    int
}

// runCommitter writes groups until the committer is closed.
func (e *Engine) runCommitter() {
	g := &group{engine: e, pending: map[string][]byte{}}
	for {
		var ok bool
		if g.taken, ok = e.committer.take(g.taken[:0]); !ok {
			return
		}
		g.run()
		clear(g.taken)
		clear(g.accepted)
		clear(g.records)
		clear(g.parts)
		clear(g.pending)
		g.accepted, g.records, g.parts, g.bytes = g.accepted[:0], g.records[:0], g.parts[:0], 0
	}
}

func (g *group) run() {
	for _, r := range g.taken {
		if err := g.decide(r); err != nil {
			r.answer(err)
		}
	}
	if len(g.accepted) == 0 {
		return
	}
	err := g.write()
	if alone := tandem.CodeOf(err); len(g.accepted) > 1 && (alone == tandem.CodeTooLarge || alone == tandem.CodeNotFound || alone == tandem.CodeInternal) {
		// One of them is at fault, and none was stored: each goes alone.
		for _, r := range slices.Clone(g.accepted) {
			g.accepted = append(g.accepted[:0], r)
			err := g.write()
			for _, r := range g.accepted {
				r.answer(err)
			}
		}
		return
	}
	for _, r := range g.accepted {
		r.answer(err)
	}
}

// write stores what was accepted in one step.
func (g *group) write() error {
	g.records, g.parts, g.bytes = g.records[:0], g.parts[:0], 0
	for _, r := range g.accepted {
		g.records = append(g.records, r.events...)
		g.parts = append(g.parts, r.parts...)
	}
	for _, r := range g.accepted {
		for i := range r.state {
			rec := g.engine.state.record(r.state[i].key, r.state[i].value)
			g.records = append(g.records, rec)
			g.bytes += sizeOf(rec)
		}
	}
	switch {
	case len(g.records) == 0:
		return nil
	case len(g.parts) == 0 && g.bytes < g.engine.opts.MaxMessageBytes*3/4:
		return g.writeState() // a batch of records is stored whole
	}
	return g.transact()
}

// decide checks fence and conditions against the index and what the group changes already.
func (g *group) decide(r *request) error {
	if err := g.engine.writable(); err != nil {
		return err
	}
	if r.control != nil {
		ops, err := r.control(g)
		if err != nil {
			return err
		}
		r.state = ops
	}
	if r.fenced {
		cur, err := g.epoch(r.fence.Name)
		if err != nil {
			return err
		}
		if r.fence.Epoch < cur {
			return tandem.Errorf(tandem.CodePrecondition, "%s was taken over: epoch %d is over, it is %d", r.fence.Name, r.fence.Epoch, cur)
		}
	}
	for i := range r.state {
		op := &r.state[i]
		if op.is == nil {
			continue
		}
		value, err := g.get(op.key)
		if err != nil {
			return err
		}
		if len(op.is) == 0 && value != nil || len(op.is) > 0 && !bytes.Equal(value, op.is) {
			r.failed = i
			return tandem.Errorf(tandem.CodeConflict, "state %s has another value", op.key[len(kindState):])
		}
	}
	for _, p := range r.parts {
		if p.gone.Load() {
			return errNoPartition(p.topic.Load().Name, p.num)
		}
	}
	for i := range r.state {
		g.pending[r.state[i].key] = r.state[i].value
	}
	g.accepted = append(g.accepted, r)
	return nil
}

// get returns the value of a state record as it is after what the group holds so far, nil if there is none.
func (g *group) get(key string) ([]byte, error) {
	if v, ok := g.pending[key]; ok {
		return v, nil
	}
	v, _, _, err := g.engine.state.index.Get(key)
	return v, err
}

// epoch is that of the newest fence of a name, zero if there is none.
func (g *group) epoch(name string) (uint64, error) {
	v, err := g.get(kindFence + name)
	if err != nil || len(v) != 8 {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// writeState stores the records, all of state, in one batch without a transaction, and returns when the index has them.
func (g *group) writeState() error {
	return g.engine.produceState(g.records, func() {
		err := errLate("commit")
		for _, r := range g.accepted {
			r.answer(err)
		}
		clear(g.accepted)
		g.accepted = g.accepted[:0]
	})
}

// produceState stores records of state as one batch. When that takes longer than Options.Timeout it calls late, once, and goes on: the next
// batch must not overtake one whose outcome is not known.
func (e *Engine) produceState(records []*kgo.Record, late func()) error {
	outcome := make(chan error, len(records))
	for _, rec := range records {
		e.stateProducer.TryProduce(context.Background(), rec, func(_ *kgo.Record, err error) { outcome <- err })
	}
	last := func() uint64 { return uint64(records[len(records)-1].Offset) }
	var refused error
	steps := [...]func(context.Context) error{
		e.stateProducer.Flush, // the outcomes are there, or about to come, when it returns
		func(context.Context) error {
			for range records {
				if err := <-outcome; err != nil {
					refused = err
				}
			}
			return nil
		},
		func(ctx context.Context) error {
			if refused == nil {
				return e.state.wait(ctx, last()+1)
			}
			return nil
		},
	}
	stalled := false
	for _, step := range steps {
		for {
			ctx, cancel := context.WithTimeout(e.life, e.opts.Timeout)
			err := step(ctx)
			cancel()
			if err == nil {
				break
			}
			if e.life.Err() != nil {
				return errClosed()
			}
			if !stalled {
				stalled = true
				e.committer.stall(true)
				late()
			}
		}
	}
	if stalled {
		e.committer.stall(false)
	}
	if refused != nil {
		return coded("commit", refused)
	}
	return e.state.confirm(last())
}

// transact stores the records in one transaction.
func (g *group) transact() error {
	e := g.engine
	if e.tx == nil {
		if err := e.openTx(); err != nil {
			return err
		}
	}
	if err := e.tx.BeginTransaction(); err != nil {
		e.closeTx()
		return coded("commit", err)
	}
	outcome := make(chan error, len(g.records))
	for _, rec := range g.records {
		e.tx.TryProduce(e.life, rec, func(_ *kgo.Record, err error) { outcome <- err })
	}
	// Nobody is held back before a broker has the first record.
	limit := time.NewTimer(e.opts.Timeout)
	defer limit.Stop()
	began := time.Now()
	for i := range g.records {
		select {
		case err := <-outcome:
			if err != nil {
				return g.abort(err)
			}
		case <-limit.C:
			return g.abort(tandem.Errorf(tandem.CodeUnavailable, "the brokers took too long to take a transaction, which was given up"))
		}
		if i == 0 {
			began = time.Now()
			limit.Reset(e.opts.HoldAtMost)
		}
	}
	ctx, cancel := context.WithTimeout(e.life, e.opts.Timeout)
	defer cancel()
	if err := e.tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
		e.closeTx()
		return coded("commit", err)
	}
	e.stats.transaction(time.Since(began))
	for i := len(g.parts) - 1; i >= 0; i-- { // the last of each partition tells of all
		p := g.parts[i]
		p.bytes.Add(int64(sizeOf(g.records[i])))
		e.told(p, uint64(g.records[i].Offset)+1)
	}
	if len(g.records) == len(g.parts) {
		return nil
	}
	last := uint64(g.records[len(g.records)-1].Offset)
	if err := e.state.wait(ctx, last+1); err != nil {
		return errLate("commit")
	}
	return e.state.confirm(last)
}

// abort ends a transaction that cannot be stored. One that cannot be ended either is ended by the next producer of its id.
func (g *group) abort(why error) error {
	e := g.engine
	ctx, cancel := context.WithTimeout(e.life, e.opts.Timeout/2)
	defer cancel()
	err := e.tx.AbortBufferedRecords(ctx)
	if err == nil {
		err = e.tx.EndTransaction(ctx, kgo.TryAbort)
	}
	if err != nil || kgoFatal(why) {
		e.closeTx()
	}
	for _, p := range g.parts {
		if p.gone.Load() {
			return errNoPartition(p.topic.Load().Name, p.num)
		}
	}
	return coded("commit", why)
}
