package kafkalog

import (
	"context"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Bounds of what waits for the committer, and of what it takes at once.
const (
	maxQueueBytes = 128 << 20 // beyond it Append answers Overloaded
	maxGroupBytes = 2 << 20   // a group ends after the batch that goes beyond it
)

// request is a batch, or a step of the engine's own, on its way through the committer. It holds copies of all it needs, since its sender may
// stop waiting.
type request struct {
	events []*kgo.Record
	parts  []*partition // of events
	state  []stateOp
	fence  driver.Fence
	fenced bool
	bytes  int
	// control, if set, says in the committer what to write: a takeover of a name, the record of a topic.
	control func(*group) ([]stateOp, error)

	err    error
	failed int // index of the state record that was refused
	done   chan struct{}
}

// stateOp is a change of one record of the state topic, whose key has its kind before it.
type stateOp struct {
	key       string
	value, is []byte
}

// committer is the queue before the goroutine that writes batches and state.
type committer struct {
	mu      sync.Mutex
	waiting []*request
	bytes   int
	closed  bool
	stalled bool          // a group has no outcome in time: nothing more is taken
	wake    chan struct{} // one signal
}

// push queues a request.
func (c *committer) push(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errClosed()
	case c.stalled:
		return errLate("commit")
	case c.bytes > 0 && c.bytes+r.bytes > maxQueueBytes:
		return tandem.Errorf(tandem.CodeOverloaded, "%d bytes wait to be written", c.bytes)
	}
	c.waiting = append(c.waiting, r)
	c.bytes += r.bytes
	c.signal()
	return nil
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// remove takes a request back that is not in a group yet.
func (c *committer) remove(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, r)
	if i < 0 {
		return false
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	c.bytes -= r.bytes
	return true
}

// take returns what the next group holds, waiting for it; false when closed.
func (c *committer) take(dst []*request) ([]*request, bool) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return dst, false
		}
		n, bytes := 0, 0
		for n < len(c.waiting) && bytes <= maxGroupBytes {
			bytes += c.waiting[n].bytes
			n++
		}
		dst = append(dst, c.waiting[:n]...)
		c.waiting = slices.Delete(c.waiting, 0, n)
		c.bytes -= bytes
		c.mu.Unlock()
		if n > 0 {
			return dst, true
		}
		<-c.wake
	}
}

// stall refuses what comes and what waits, until it is called with false.
func (c *committer) stall(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = on
	if on {
		c.refuseLocked(errLate("commit"))
	}
}

func (c *committer) isStalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalled
}

// close refuses what comes and what waits.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.refuseLocked(errClosed())
	c.signal()
}

func (c *committer) refuseLocked(err error) {
	for _, r := range c.waiting {
		r.answer(err)
	}
	c.waiting, c.bytes = nil, 0
}

func (r *request) answer(err error) {
	r.err = err
	close(r.done)
}

// commit sends a batch through the committer.
func (e *Engine) commit(ctx context.Context, b *driver.Batch) error {
	r := &request{done: make(chan struct{}), failed: -1}
	for i := range b.Records {
		p, err := e.topics.partition(b.Records[i].Topic, b.Records[i].Partition)
		if err != nil {
			return err
		}
		if p.stuck.Load() > 0 {
			return errLate("append to " + p.topic.Load().Name)
		}
		rec := recordOf(&b.Records[i], p)
		if t := p.topic.Load(); sizeOf(rec) > t.limit-batchOverhead {
			return errTooLarge(t, sizeOf(rec))
		}
		r.events, r.parts = append(r.events, rec), append(r.parts, p)
		r.bytes += sizeOf(rec)
	}
	for i := range b.State {
		op := &b.State[i]
		if n := len(op.Key) + len(op.Value); n > e.opts.MaxMessageBytes*3/4 {
			return tandem.Errorf(tandem.CodeTooLarge, "a state record of %d bytes is over the limit of %d", n, e.opts.MaxMessageBytes*3/4)
		}
		r.state = append(r.state, stateOp{key: kindState + op.Key, value: copied(op.Value), is: copied(op.If)})
		r.bytes += len(op.Key) + len(op.Value) + len(op.If) + 48
	}
	if b.Fence != nil {
		r.fence, r.fenced = *b.Fence, true
	}
	if err := e.submit(ctx, r); err != nil {
		if r.failed >= 0 && tandem.CodeOf(err) == tandem.CodeConflict {
			b.Failed = len(b.Records) + r.failed
		}
		return err
	}
	for i := range b.Records {
		rec := &b.Records[i]
		rec.Offset = uint64(r.events[i].Offset)
		rec.Seq, rec.Duplicate, rec.Stored = rec.Offset+1, false, rec.Partition
	}
	return nil
}

func copied(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// submit queues r and waits for its outcome. A group is answered within Options.Timeout, or a little more.
func (e *Engine) submit(ctx context.Context, r *request) error {
	if err := e.committer.push(r); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if e.committer.remove(r) {
			return tandem.Errorf(tandem.CodeUnavailable, "not stored: %w", context.Cause(ctx))
		}
	}
	<-r.done // it is in a group: an error now would not mean that nothing was stored
	return r.err
}
