package natslog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// The largest atomic batch. The server takes no more messages in one.
const (
	unitRecords = 1000
	unitBytes   = 4 << 20
)

// item is a record on its way.
type item struct {
	r    *driver.Record // the caller's, as is the data of msg, as long as its call is not abandoned
	msg  *nats.Msg
	size int
	at   int // index in the batch

	dedup    bool
	identity [16]byte
	sum      uint64
	id       string
	source   string

	seq  uint64 // once stored
	dup  bool
	same *item // the earlier item of the batch with the same identity, which is stored in place of this one
}

// call is what one Append stores in one partition: all of it or nothing.
type call struct {
	p     *partition
	items []*item
	bytes int
	until time.Time
	from  uint64 // end of the partition when it was sent first
	alone bool   // shares no atomic batch with others
	lost  bool   // an attempt may be stored, whose answer did not come
	tries int

	abandoned bool // nobody waits any more, and r must not be used; guarded by queue.mu
	err       error
	failed    int // index in the batch, with a conflict
	over      *countdown
}

// countdown is closed by the last of several calls.
type countdown struct {
	left atomic.Int32
	done chan struct{}
}

func (c *call) finish(err error) {
	c.err = err
	if c.over.left.Add(-1) == 0 {
		close(c.over.done)
	}
}

// pending are the items of a call that have no place yet.
func (c *call) pending() int {
	n := 0
	for _, it := range c.items {
		if it.seq == 0 {
			n++
		}
	}
	return n
}

// Append implements driver.Driver: events first, partition by partition, then state.
func (e *Engine) Append(ctx context.Context, b *driver.Batch) error {
	if err := e.writable(); err != nil {
		return err
	}
	for i := range b.Records {
		r := &b.Records[i]
		r.Offset, r.Seq, r.Duplicate, r.Stored = 0, 0, false, r.Partition
	}
	items, err := e.prepare(b)
	if err != nil {
		return err
	}
	if len(b.State) > 0 || b.Fence != nil {
		if err := e.state.check(b); err != nil {
			return err
		}
	}
	if len(items) > 0 {
		if err := e.store(ctx, b, items); err != nil {
			return err
		}
	}
	if len(b.State) > 0 {
		return e.state.commit(ctx, b)
	}
	return nil
}

// prepare encodes the records and refuses a batch that contradicts itself.
func (e *Engine) prepare(b *driver.Batch) ([]item, error) {
	items := make([]item, len(b.Records))
	var seen map[[16]byte]*item
	limit := int(e.nc.MaxPayload())
	for i := range b.Records {
		r, it := &b.Records[i], &items[i]
		p, err := e.find(r.Topic, r.Partition)
		if err != nil {
			return nil, err
		}
		it.r, it.at, it.dedup, it.identity, it.sum, it.id, it.source = r, i, r.Dedup, r.Identity, r.Sum, r.Event.ID, r.Event.Source
		if r.Dedup && len(b.Records) > 1 {
			if seen == nil {
				seen = map[[16]byte]*item{}
			}
			if first := seen[r.Identity]; first != nil {
				if first.sum != it.sum {
					b.Failed = i
					return nil, otherData(it)
				}
				it.same = first
				continue
			}
			seen[r.Identity] = it
		}
		it.msg, it.size = encode(r, p.subject)
		header := it.size - storedSize(p.subject, 0, len(r.Event.Data))
		if header > maxHeader || header+len(r.Event.Data)+batchHeader > limit {
			return nil, tandem.Errorf(tandem.CodeTooLarge, "the event %s needs %d bytes as a NATS message, of which %d are attributes: the server takes %d and %d",
				r.Event.ID, header+len(r.Event.Data), header, limit, maxHeader).WithHint("raise max_payload of the NATS servers, or send less")
		}
	}
	return items, nil
}

// batchHeader is what the headers of an atomic batch need at most.
const batchHeader = 160

func otherData(it *item) error {
	return tandem.Errorf(tandem.CodeConflict, "event %s of %s was stored with other data", it.id, it.source)
}

// store publishes the items and sets the results of the records.
func (e *Engine) store(ctx context.Context, b *driver.Batch, items []item) error {
	until := time.Now().Add(e.opts.Timeout)
	rest := make([]*item, 0, len(items))
	for i := range items {
		if items[i].same == nil {
			rest = append(rest, &items[i])
		}
	}
	var err error
	for len(rest) > 0 && err == nil {
		var calls []*call
		calls, rest = e.calls(rest, until)
		err = e.await(ctx, b, calls)
	}
	for i := range items {
		from := &items[i]
		if from.same != nil {
			from = from.same
		}
		if from.seq == 0 {
			continue
		}
		r := items[i].r
		r.Offset, r.Seq, r.Stored = from.seq, from.seq, from.r.Partition
		r.Duplicate = from.dup || items[i].same != nil
	}
	return err
}

// calls makes one call for each partition of the items, and returns what is beyond the size of one for a later round, so that its order
// is kept even if this one fails.
func (e *Engine) calls(items []*item, until time.Time) (calls []*call, rest []*item) {
	over := &countdown{done: make(chan struct{})}
	full := map[*call]bool{}
	byPart := map[*partition]*call{}
	for _, it := range items {
		p, _ := e.find(it.r.Topic, it.r.Partition)
		if p == nil { // deleted in between
			p = &partition{gone: true}
		}
		c := byPart[p]
		if c == nil {
			c = &call{p: p, until: until, over: over, failed: -1}
			byPart[p] = c
			calls = append(calls, c)
		}
		if full[c] || len(c.items) == unitRecords || len(c.items) > 0 && c.bytes+it.size > unitBytes {
			full[c] = true
			rest = append(rest, it)
			continue
		}
		c.items = append(c.items, it)
		c.bytes += it.size
	}
	over.left.Store(int32(len(calls)))
	return calls, rest
}

// await queues the calls and waits for all of them. It returns the error of the first that failed.
func (e *Engine) await(ctx context.Context, b *driver.Batch, calls []*call) error {
	for _, c := range calls {
		e.enqueue(c)
	}
	over := calls[0].over
	timer := time.NewTimer(time.Until(calls[0].until) + e.opts.Timeout/10)
	defer timer.Stop()
	var why error
	select {
	case <-over.done:
	case <-ctx.Done():
		why = tandem.Errorf(tandem.CodeUnavailable, "not known to be stored: %w", context.Cause(ctx))
	case <-timer.C:
		why = e.unavailable(errLost)
	case <-e.closing:
		why = errClosed()
	}
	if why != nil {
		for _, c := range calls {
			c.p.out.mu.Lock()
			c.abandoned = true
			c.p.out.mu.Unlock()
			c.p.out.sending.Lock()   // what is being published is copied
			c.p.out.sending.Unlock() //nolint:staticcheck // empty on purpose
		}
	}
	for _, c := range calls {
		select {
		case <-over.done:
		default:
			return why
		}
		if c.err == nil {
			continue
		}
		if c.failed >= 0 {
			b.Failed = c.failed
		}
		return c.err
	}
	return nil
}
