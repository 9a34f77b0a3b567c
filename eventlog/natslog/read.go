package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// find returns a partition of a topic that is there.
func (e *Engine) find(id driver.ID, part int) (*partition, error) {
	e.table.RLock()
	t := e.byID[id]
	e.table.RUnlock()
	if t == nil || part < 0 || part >= len(t.parts) {
		return nil, noPartition(id, part)
	}
	return t.parts[part], nil
}

func noPartition(id driver.ID, part int) error {
	return tandem.Errorf(tandem.CodeNotFound, "no partition %d of topic %d", part, id)
}

// Bounds implements driver.Driver.
func (e *Engine) Bounds(_ context.Context, id driver.ID, part int) (driver.Bounds, error) {
	if e.isClosed() {
		return driver.Bounds{}, errClosed()
	}
	p, err := e.find(id, part)
	if err != nil {
		return driver.Bounds{}, err
	}
	return p.bounds(), nil
}

// readerGone is how long after the last Read the tail of a partition is kept up.
const readerGone = 60 // seconds

func (e *Engine) active(p *partition) bool { return e.clock.Load()-p.readAt.Load() < readerGone }

// Read implements driver.Driver. The data of the records is shared and read-only.
func (e *Engine) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if e.isClosed() {
		return dst, errClosed()
	}
	p, err := e.find(id, part)
	if err != nil {
		return dst, err
	}
	if now := e.clock.Load(); p.readAt.Load() != now {
		p.readAt.Store(now)
	}
	page := page{max: max, maxBytes: maxBytes, dst: dst}
	until := time.Now().Add(e.opts.Timeout)
	for tries := 0; page.count < max && !page.full; {
		next, end := page.fromTail(p, from)
		from = next
		if from >= end || page.full || page.count == max {
			break
		}
		n := page.count
		from, err = e.fetch(ctx, p, from, end, &page)
		switch {
		case page.count > n:
			tries = 0
			continue
		case err == nil:
			continue
		case p.isGone():
			return page.dst, noPartition(id, part)
		case page.count > 0:
			return page.dst, nil // the next call will tell
		}
		tries++
		if ctx.Err() != nil {
			return page.dst, tandem.Errorf(tandem.CodeUnavailable, "not read: %w", context.Cause(ctx))
		}
		if !e.waitConnected(until) || !e.pause(min(time.Duration(1<<min(tries, 8))*time.Millisecond, 100*time.Millisecond), until) {
			return page.dst, e.unavailable(err)
		}
	}
	return page.dst, nil
}

// page is what a Read returns.
type page struct {
	max, maxBytes int
	dst           []tandem.Record
	count, bytes  int
	full          bool // another event would be too much
}

func (g *page) add(r *tandem.Record) bool {
	n := eventSize(&r.Event)
	if g.count > 0 && g.bytes+n > g.maxBytes {
		g.full = true
		return false
	}
	g.dst = append(g.dst, *r)
	g.bytes += n
	g.count++
	g.full = g.bytes >= g.maxBytes
	return true
}

// fromTail adds what the tail holds from a sequence on. It returns where to go on, and the end of the partition.
func (g *page) fromTail(p *partition, from uint64) (next, end uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from = max(from, p.first)
	for i, ok := p.tail.holds(from); ok && g.count < g.max && !g.full; i, ok = i+1, i+1 < len(p.tail.records) {
		if !g.add(&p.tail.records[i]) {
			break
		}
		from++
	}
	return from, p.end
}

var errEnough = errors.New("enough")

// fetch adds what the server has between from and end. It returns where to go on. An error without progress means that it may be there later.
func (e *Engine) fetch(ctx context.Context, p *partition, from, end uint64, g *page) (uint64, error) {
	asked := from
	err := e.readOn(ctx, p.stream, from, end, min(g.max-g.count, int(min(end-from, getBatch))), g.maxBytes-g.bytes+4096, func(m *stored) error {
		if m.seq > from {
			if err := e.confirmGone(ctx, p, from, m.seq); err != nil {
				return err
			}
			from = min(m.seq, end)
			p.removed(from) // what lies before is gone: whoever reads it is told so
		}
		if m.seq >= end {
			return errEnough
		}
		rec := tandem.Record{Seq: m.seq, Position: tandem.Position{Topic: p.name, Partition: p.index, Offset: m.seq}}
		decode(m, &rec)
		if !g.add(&rec) {
			return errEnough
		}
		from = m.seq + 1
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return from, nil
	case err != nil || from > asked:
		return from, err
	}
	// Nothing is there: it was removed, or the server that answered is behind.
	info, err := e.streamInfo(ctx, p.stream)
	if err != nil {
		return from, err
	}
	p.observe(&e.cache, info)
	if first := p.bounds().Start; first > from {
		return first, nil
	}
	return from, errBehind
}

// confirmGone asks the leader of a stream whether nothing is left from a sequence to before another. Any server with the stream, and a mirror of it,
// may answer a direct get or have a consumer, also one that has lost messages, or does not have them yet. Only the leader's word removes events.
func (e *Engine) confirmGone(ctx context.Context, p *partition, from, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"seq": from, "next_by_subj": ">"})
	if err != nil {
		return err
	}
	m, err := e.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+p.stream, body)
	if err != nil {
		return err
	}
	var answer struct {
		Message struct {
			Seq uint64 `json:"seq"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return err
	case answer.Error != nil && answer.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound:
		return answer.Error
	case answer.Error == nil && answer.Message.Seq < before:
		return fmt.Errorf("%w: it answers with %d, and the stream has %d", errBehind, before, answer.Message.Seq)
	}
	return nil
}

// OffsetAt implements driver.Driver. Times of acceptance rise with the offsets, but for what was accepted at the same moment, so it halves the
// partition until it has the place.
func (e *Engine) OffsetAt(ctx context.Context, id driver.ID, part int, t time.Time) (uint64, error) {
	p, err := e.find(id, part)
	if err != nil {
		return 0, err
	}
	b := p.bounds()
	var failed error
	n := sort.Search(int(b.End-b.Start), func(i int) bool {
		if failed != nil {
			return true
		}
		var one []tandem.Record
		one, failed = e.Read(ctx, id, part, b.Start+uint64(i), 1, 0, nil)
		return len(one) == 0 || !one[0].Meta.Accepted.Before(t)
	})
	if failed != nil {
		return 0, failed
	}
	return b.Start + uint64(n), nil
}
