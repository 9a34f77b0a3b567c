package pebblelog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// group is what one sync makes durable.
type group struct {
	requests []*request
	batch    *pebble.Batch // nil when nothing has to be written
	now      time.Time

	records []*pending // accepted, in order of their numbers
	buffers [][]byte   // of records: the encoded bytes
	touched []*partition
	ends    []ends // of touched
	notes   []driver.End
	state   map[string][]byte // what the group has written so far; nil deletes
	next    uint64            // the number after the group
	after   []func()          // run with Engine.mu held when the group is durable

	inBatch map[identity]int // ids of one batch
}

func (g *group) reset() {
	clear(g.requests)
	clear(g.records)
	clear(g.buffers)
	clear(g.touched)
	clear(g.state)
	clear(g.after)
	*g = group{
		requests: g.requests[:0], records: g.records[:0], buffers: g.buffers[:0], touched: g.touched[:0], ends: g.ends[:0],
		notes: g.notes[:0], state: g.state, after: g.after[:0], inBatch: g.inBatch,
	}
}

// open makes sure that there is a batch.
func (g *group) open(e *Engine, size int) {
	if g.batch == nil {
		g.batch = e.db.NewBatchWithSize(size)
	}
}

// build decides all requests of a group and fills its batch. An error is the engine's, not a request's.
func (e *Engine) build(g *group) error {
	g.now = e.opts.Now()
	full := e.disk.full()
	if !full {
		if err := e.roll(g); err != nil {
			return err
		}
	}
	e.window.mu.Lock()
	e.window.expire(g.now)
	for _, r := range g.requests {
		switch {
		case full && !r.full:
			r.err = e.disk.errFull()
		case r.control != nil:
			g.open(e, 1024)
			if r.err = r.control(g); r.err != nil {
				g.batch.Close()
				g.batch, g.after = nil, g.after[:0]
			}
		default:
			r.err = e.decide(g, r)
		}
	}
	e.window.mu.Unlock()
	if len(g.records) > 0 || len(g.state) > 0 {
		if err := e.write(g); err != nil {
			return err
		}
	}
	if g.batch != nil && g.batch.Empty() {
		g.batch.Close()
		g.batch = nil
	}
	g.next = e.next
	return nil
}

// decide checks a batch against all that was decided before and takes it into the group, or refuses it whole.
func (e *Engine) decide(g *group, r *request) error {
	if r.fenced {
		if now := e.epochs[r.fence.Name]; r.fence.Epoch != now {
			return tandem.Errorf(tandem.CodePrecondition, "%s is owned by epoch %d, not %d", r.fence.Name, now, r.fence.Epoch)
		}
	}
	for i := range r.records {
		if p := &r.records[i]; p.part.topic.dead {
			return errNoTopic(p.part.topic.name)
		}
	}
	if i := e.conflict(g, r); i >= 0 {
		r.failed = i
		return tandem.Errorf(tandem.CodeConflict, "an event of this id was stored with other data")
	}
	for i := range r.state {
		ok, err := e.holds(g, &r.state[i])
		if err != nil {
			return err
		}
		if !ok {
			r.failed = len(r.records) + i
			return tandem.Errorf(tandem.CodeConflict, "state %s has another value", r.state[i].key)
		}
	}

	for i := range r.records {
		e.admit(g, r, &r.records[i])
	}
	for i := range r.state {
		if g.state == nil {
			g.state = map[string][]byte{}
		}
		g.state[r.state[i].key] = r.state[i].value
	}
	return nil
}

// conflict returns the index of the first record whose id is known with another sum, or -1.
func (e *Engine) conflict(g *group, r *request) int {
	clear(g.inBatch)
	for i := range r.records {
		p := &r.records[i]
		if !p.dedup {
			continue
		}
		if first := e.remembered(g, p); first != nil {
			if first.sum != p.sum {
				return i
			}
			continue
		}
		if len(r.records) == 1 {
			break
		}
		if j, ok := g.inBatch[p.id]; ok && r.records[j].sum != p.sum {
			return i
		}
		if g.inBatch == nil {
			g.inBatch = map[identity]int{}
		}
		g.inBatch[p.id] = i
	}
	return -1
}

// remembered returns the fingerprint of an earlier event of this identity that is in the window and still stored.
func (e *Engine) remembered(g *group, p *pending) *fingerprint {
	f := e.window.find(p.id)
	if f == nil {
		return nil
	}
	t := p.part.topic
	e.mu.RLock()
	defer e.mu.RUnlock()
	if f.partition() >= len(t.parts) || f.offset < t.parts[f.partition()].start.Removed {
		return nil
	}
	if keep := time.Duration(t.meta.Retention); keep > 0 && int64(f.at) < g.now.Add(-keep).Unix() {
		return nil
	}
	return f
}

// admit gives a record its number, or the place of the first event of its id.
func (e *Engine) admit(g *group, r *request, p *pending) {
	if p.dedup {
		if f := e.remembered(g, p); f != nil {
			p.offset, p.seq, p.stored, p.duplicate = f.offset, f.seq(), f.partition(), true
			return
		}
	}
	part := p.part
	p.offset = e.next
	e.next++
	if p.accepted == math.MinInt64 {
		p.accepted = g.now.UnixNano()
	}
	n := int32(len(g.records))
	p.next = -1
	g.records = append(g.records, p)
	g.buffers = append(g.buffers, r.buf[p.pos:p.pos+p.len])
	if part.first < 0 {
		part.first = n
		g.touched = append(g.touched, part)
	} else {
		g.records[part.last].next = n
	}
	part.last = n
	part.next.Seq++
	part.next.Offset = p.offset
	p.seq = part.next.Seq
	if p.dedup {
		e.window.add(makeFingerprint(p.id, p.sum, p.offset, p.seq, int(part.index), g.now))
	}
}

// write puts the group's records and state into its batch.
func (e *Engine) write(g *group) error {
	size := 0
	newest := int64(math.MinInt64)
	for i, b := range g.buffers {
		size += len(b) + 16
		newest = max(newest, g.records[i].accepted)
	}
	g.open(e, size+len(g.touched)*(runKeyLen+runHeaderLen+16)+1024)
	if len(g.records) > 0 {
		// Pebble's memtable takes keys in order faster than at random.
		if len(g.touched) > 1 {
			slices.SortFunc(g.touched, func(a, b *partition) int {
				return cmp.Or(cmp.Compare(a.topic.slot, b.topic.slot), cmp.Compare(a.index, b.index))
			})
		}
		for _, p := range g.touched {
			if err := e.writeRuns(g, p); err != nil {
				return err
			}
			g.ends = append(g.ends, p.next)
			g.notes = append(g.notes, driver.End{Topic: p.topic.id, Partition: int(p.index), End: p.next.Offset + 1})
		}
		e.segment.grow(size, newest)
	}
	for key, value := range g.state {
		if err := putState(g.batch, key, value); err != nil {
			return err
		}
	}
	return nil
}

// writeRuns writes the group's records of one partition.
func (e *Engine) writeRuns(g *group, p *partition) error {
	e.segment.touch(p)
	i := p.first
	p.first = -1
	seq := p.next.Seq
	for n := i; n >= 0; n = g.records[n].next {
		seq--
	}
	for i >= 0 {
		// Measure up to the cut, then write.
		h := runHeader{firstSeq: seq + 1}
		first := g.records[i].offset
		size, last := 0, first
		end := i
		for end >= 0 && size < runBytes {
			r := g.records[end]
			size += uvarintLen(r.offset-last) + uvarintLen(uint64(r.len)) + r.len
			last = r.offset
			p.next.Bytes += uint64(r.len)
			p.next.Newest = max(p.next.Newest, r.accepted)
			h.count++
			end = r.next
		}
		seq += uint64(h.count)
		h.span = uint32(last - first)
		h.cumBytes, h.newest = p.next.Bytes, p.next.Newest

		op := g.batch.SetDeferred(runKeyLen, runHeaderLen+size)
		runKey{e.segment.ID, p.topic.slot, p.index, first}.put(op.Key)
		h.put(op.Value)
		b := op.Value[:runHeaderLen]
		last = first
		for ; i != end; i = g.records[i].next {
			r := g.records[i]
			b = binary.AppendUvarint(b, r.offset-last)
			b = binary.AppendUvarint(b, uint64(r.len))
			b = append(b, g.buffers[i]...)
			last = r.offset
		}
		if err := op.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether the condition of op holds before its batch.
func (e *Engine) holds(g *group, op *stateOp) (bool, error) {
	if op.cmp == nil {
		return true, nil
	}
	if v, ok := g.state[op.key]; ok {
		return matches(op.cmp, v, v != nil), nil
	}
	v, closer, err := e.db.Get(nameKey(spaceState, op.key))
	if errors.Is(err, pebble.ErrNotFound) {
		return matches(op.cmp, nil, false), nil
	}
	if err != nil {
		return false, err
	}
	defer closer.Close()
	return matches(op.cmp, v, true), nil
}

func matches(want, v []byte, present bool) bool {
	if len(want) == 0 {
		return !present
	}
	return present && bytes.Equal(want, v)
}

func putState(b *pebble.Batch, key string, value []byte) error {
	if value == nil {
		return b.Delete(nameKey(spaceState, key), nil)
	}
	op := b.SetDeferred(1+len(key), len(value))
	op.Key[0] = byte(spaceState)
	copy(op.Key[1:], key)
	copy(op.Value, value)
	return op.Finish()
}

func errNoTopic(name string) error { return tandem.Errorf(tandem.CodeNotFound, "no topic %s", name) }
