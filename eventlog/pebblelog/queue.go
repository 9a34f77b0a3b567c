package pebblelog

import (
	"context"
	"sync"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Bounds of the queue before the committer and of a group.
const (
	maxQueueBytes = 256 << 20 // of encoded batches; beyond it Append answers Overloaded
	maxGroupBytes = 4 << 20   // a group ends after the batch that goes beyond it
)

// request is a batch, or a control operation, on its way through the committer. It holds copies of all it needs: after a
// failure its sender does not wait for the committer.
type request struct {
	buf     []byte // encoded records, then values of state
	records []pending
	newest  int64 // latest acceptance, in nanoseconds
	state   []stateOp
	fence   driver.Fence
	fenced  bool
	// control, if set, is run by the committer in a group of its own.
	control func(g *group) error
	// full: allowed below the free-space mark.
	full bool

	err    error
	failed int
	done   chan struct{} // one signal
}

// pending is a record on its way.
type pending struct {
	part     *partition
	pos, len int // in request.buf
	accepted int64
	dedup    bool
	id       identity
	sum      uint64

	next int32 // the partition's next record in the group

	// The result.
	offset    uint64
	seq       uint64
	duplicate bool
	stored    int
}

type stateOp struct {
	key        string
	value, cmp []byte
}

// queue is where requests wait for the committer.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	bytes   int
	refusal error // while the store stands still
	closed  bool
	wake    chan struct{} // one signal: waiting or closed changed
}

func (q *queue) push(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed()
	}
	if q.refusal != nil {
		return q.refusal
	}
	if q.bytes > 0 && q.bytes+len(r.buf) > maxQueueBytes {
		return tandem.Errorf(tandem.CodeOverloaded, "%d bytes wait to be written", q.bytes)
	}
	q.waiting = append(q.waiting, r)
	q.bytes += len(r.buf)
	if len(q.waiting) == 1 {
		q.signal()
	}
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// remove takes a request back that the committer has not taken yet.
func (q *queue) remove(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w == r {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			q.bytes -= len(r.buf)
			return true
		}
	}
	return false
}

// take moves what the next group holds into dst: a control operation, or batches up to the next one. It waits until there
// is something, and returns false when the queue is closed.
func (q *queue) take(dst []*request) ([]*request, bool) {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return dst, false
		}
		if len(q.waiting) > 0 {
			dst = q.takeLocked(dst)
			q.mu.Unlock()
			return dst, true
		}
		q.mu.Unlock()
		<-q.wake
	}
}

func (q *queue) takeLocked(dst []*request) []*request {
	n, bytes := 0, 0
	for n < len(q.waiting) && bytes <= maxGroupBytes {
		r := q.waiting[n]
		if r.control != nil && n > 0 {
			break
		}
		bytes += len(r.buf)
		n++
		if r.control != nil {
			break
		}
	}
	dst = append(dst, q.waiting[:n]...)
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	q.bytes -= bytes
	return dst
}

// refuse lets nothing in any more and returns what still waits; nil opens the queue again.
func (q *queue) refuse(err error) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refusal = err
	left := q.waiting
	q.waiting, q.bytes = nil, 0
	return left
}

// close ends the queue and returns what still waits.
func (q *queue) close() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.waiting
	q.waiting = nil
	q.signal()
	return left
}

func errClosed() *tandem.Error {
	return tandem.Errorf(tandem.CodeUnavailable, "the log is closed")
}

// submit queues r and waits for its end. Unless it was finished, the committer may still hold r.
func (e *Engine) submit(ctx context.Context, r *request) (finished bool, err error) {
	if err := e.failure.get(); err != nil {
		return true, err
	}
	if err := e.queue.push(r); err != nil {
		return true, err
	}
	stalled, gone := *e.stall.begun.Load(), ctx.Done()
	for {
		select {
		case <-r.done:
			return true, r.err
		case <-e.failure.done:
			return false, e.failure.get()
		case <-gone:
			if e.queue.remove(r) {
				return true, tandem.Errorf(tandem.CodeUnavailable, "not stored: %w", context.Cause(ctx))
			}
			gone = nil // it is in a group already: an error now would not mean that nothing was stored
		case <-stalled:
			select {
			case <-r.done: // it was still waiting
				return true, r.err
			default:
			}
			// It may yet be stored. That is what the sender of an event has to reckon with anyway; who creates or deletes
			// a topic has to know, and waits.
			if r.control == nil {
				return false, errStalled()
			}
			stalled = nil
		}
	}
}
