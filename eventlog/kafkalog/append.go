package kafkalog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Append implements driver.Driver. One event alone goes to the producer; everything else to the committer.
//
// An Append that is not acknowledged within Options.Timeout, or whose context ends first, gets Unavailable, and its batch may yet be stored.
func (e *Engine) Append(ctx context.Context, b *driver.Batch) error {
	if err := e.writable(); err != nil {
		return err
	}
	if len(b.Records) == 1 && len(b.State) == 0 && b.Fence == nil {
		return e.publish(ctx, &b.Records[0])
	}
	return e.commit(ctx, b)
}

// publication is one event on its way. It holds all that the producer refers to.
type publication struct {
	engine  *Engine
	p       *partition
	rec     kgo.Record
	enc     encoding
	promise func(*kgo.Record, error)

	// state is decided once: the outcome came first, or the sender stopped waiting.
	state atomic.Int32
	err   error
	done  chan struct{}
}

const (
	waiting int32 = iota
	decided
	abandoned
)

// pooledBytes is how large an event may be for its room to be kept.
const pooledBytes = 64 << 10

func newPublications(e *Engine) *sync.Pool {
	return &sync.Pool{New: func() any {
		c := &publication{engine: e, done: make(chan struct{}, 1)}
		c.promise = c.outcome
		return c
	}}
}

func (e *Engine) publish(ctx context.Context, r *driver.Record) error {
	p, err := e.topics.partition(r.Topic, r.Partition)
	if err != nil {
		return err
	}
	if p.stuck.Load() > 0 {
		return errLate("append to " + p.topic.Load().Name)
	}
	c := e.publications.Get().(*publication)
	c.p = p
	c.rec = kgo.Record{Topic: p.topic.Load().kafka, Partition: p.num}
	c.enc.encode(&c.rec, r.Event, !r.Dedup)
	size := int64(len(c.enc.buf))
	if limit := p.topic.Load().limit; sizeOf(&c.rec) > limit-batchOverhead {
		return errTooLarge(p.topic.Load(), sizeOf(&c.rec))
	}
	c.state.Store(waiting)
	late := *e.patience.Load()
	e.client.TryProduce(e.life, &c.rec, c.promise)
	select {
	case <-c.done:
	case <-late:
		if c.abandon() {
			return errLate("append to " + p.topic.Load().Name)
		}
	case <-ctx.Done():
		if c.abandon() {
			return tandem.Errorf(tandem.CodeUnavailable, "the answer was not waited for, and it may yet be stored: %w", context.Cause(ctx))
		}
	}
	err, offset := c.err, c.rec.Offset
	if cap(c.enc.buf) <= pooledBytes {
		c.err, c.p, c.rec = nil, nil, kgo.Record{}
		e.publications.Put(c)
	}
	if err != nil {
		return e.refused(p, err)
	}
	p.bytes.Add(size)
	r.Offset, r.Seq, r.Duplicate, r.Stored = uint64(offset), uint64(offset)+1, false, r.Partition
	return nil
}

// abandon stops waiting; false if the outcome came first, and is in done by the time it returns.
func (c *publication) abandon() bool {
	c.p.stuck.Add(1)
	if c.state.CompareAndSwap(waiting, abandoned) {
		return true
	}
	c.p.stuck.Add(-1)
	<-c.done
	return false
}

// outcome is called by the producer, for one record after the other.
func (c *publication) outcome(r *kgo.Record, err error) {
	if err == nil {
		c.engine.told(c.p, uint64(r.Offset)+1)
	}
	c.err = err
	if c.state.CompareAndSwap(waiting, decided) {
		c.done <- struct{}{}
		return
	}
	c.p.stuck.Add(-1)
}

// keepPatience makes what publish waits on: a channel that is closed after Options.Timeout, and up to a fifth more. All who begin to wait within
// that fifth share it, which is cheaper than a timer for each event.
func (e *Engine) keepPatience(ctx context.Context) {
	const share = 5
	tick := time.NewTicker(e.opts.Timeout / share)
	defer tick.Stop()
	var open []chan struct{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open = append(open, *e.patience.Load())
		next := make(chan struct{})
		e.patience.Store(&next)
		if len(open) > share {
			close(open[0])
			open = open[1:]
		}
	}
}

// refused explains why the producer gave an event up.
func (e *Engine) refused(p *partition, err error) error {
	err = coded("append to "+p.topic.Load().Name, err)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		e.suspectTopics()
	}
	return e.open(err)
}

// told calls Notify when the end of a partition is known to be further. Calls come one after the other, in order of ends.
func (e *Engine) told(p *partition, end uint64) {
	if end <= p.end.Load() {
		return
	}
	e.notifyMu.Lock()
	defer e.notifyMu.Unlock()
	if end <= p.end.Load() {
		return
	}
	p.end.Store(end)
	e.oneEnd[0] = driver.End{Topic: p.topic.Load().ID, Partition: int(p.num), End: end}
	if e.notify != nil {
		e.notify(e.oneEnd[:])
	}
}

// Notify implements driver.Driver.
func (e *Engine) Notify(fn func(ends []driver.End)) {
	e.notifyMu.Lock()
	defer e.notifyMu.Unlock()
	e.notify = fn
}
