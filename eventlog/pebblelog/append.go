package pebblelog

import (
	"context"
	"math"
	"sync"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// requests are reused, except after a failure, when the committer may still hold them. A buffer beyond keepBytes is not.
var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

const keepBytes = 64 << 10

// Append implements driver.Driver. The caller's goroutine encodes.
func (e *Engine) Append(ctx context.Context, b *driver.Batch) error {
	if len(b.Records) == 0 && len(b.State) == 0 && b.Fence == nil {
		return e.writable()
	}
	r := requests.Get().(*request)
	if err := e.encode(r, b); err != nil {
		r.release()
		return err
	}
	finished, err := e.submit(ctx, r)
	if !finished {
		return err
	}
	b.Failed = r.failed
	if err == nil {
		for i := range b.Records {
			p := &r.records[i]
			out := &b.Records[i]
			out.Offset, out.Seq, out.Duplicate, out.Stored = p.offset, p.seq, p.duplicate, p.stored
		}
	}
	r.release()
	return err
}

// encode fills r with copies of all that b holds.
func (e *Engine) encode(r *request, b *driver.Batch) error {
	r.records = grow(r.records, len(b.Records))
	r.newest = math.MinInt64
	if err := e.resolve(r.records, b.Records); err != nil {
		return err
	}
	buf := r.buf[:0]
	for i := range b.Records {
		in, p := &b.Records[i], &r.records[i]
		p.pos = len(buf)
		buf = appendRecord(buf, in)
		p.len = len(buf) - p.pos
		if p.len > math.MaxInt32 {
			return tandem.Errorf(tandem.CodeTooLarge, "event %s takes %d bytes", in.Event.ID, p.len)
		}
		p.accepted = math.MinInt64
		if t := in.Event.Meta.Accepted; !t.IsZero() {
			p.accepted = t.UnixNano()
		}
		r.newest = max(r.newest, p.accepted)
		p.dedup, p.sum = in.Dedup, in.Sum
		if in.Dedup {
			p.id = identityOf(in.Topic, in.Identity)
		}
	}
	at := len(buf)
	for i := range b.State {
		op := &b.State[i]
		buf = append(buf, op.Value...)
		buf = append(buf, op.If...)
	}
	// The buffer stays where it is from here on.
	r.buf = buf
	for i := range b.State {
		op := &b.State[i]
		var s stateOp
		s.key = op.Key
		s.value, at = part(buf, at, op.Value)
		s.cmp, at = part(buf, at, op.If)
		r.state = append(r.state, s)
	}
	if r.fenced = b.Fence != nil; r.fenced {
		r.fence = *b.Fence
	}
	r.full = len(b.Records) == 0
	return nil
}

// part returns the copy of v that begins at start in buf, and its end. It is nil only if v is.
func part(buf []byte, start int, v []byte) ([]byte, int) {
	if len(v) == 0 {
		return v, start
	}
	end := start + len(v)
	return buf[start:end:end], end
}

// resolve finds the partitions.
func (e *Engine) resolve(dst []pending, records []driver.Record) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := range records {
		in := &records[i]
		p, err := e.partition(in.Topic, in.Partition)
		if err != nil {
			return err
		}
		dst[i] = pending{part: p, stored: in.Partition}
	}
	return nil
}

// partition finds a partition that readers may see. mu must be held.
func (e *Engine) partition(id driver.ID, index int) (*partition, error) {
	t := e.byID[id]
	if t == nil || index < 0 || index >= len(t.parts) {
		return nil, tandem.Errorf(tandem.CodeNotFound, "no partition %d of topic %d", index, id)
	}
	return t.parts[index], nil
}

func (r *request) release() {
	if cap(r.buf) > keepBytes || cap(r.records) > keepBytes/64 {
		return
	}
	clear(r.records)
	clear(r.state)
	*r = request{buf: r.buf[:0], records: r.records[:0], state: r.state[:0], done: r.done}
	requests.Put(r)
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
