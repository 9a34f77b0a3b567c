package memlog

import (
	"bytes"
	"context"
	"slices"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Append implements driver.Driver: it decides everything first and then changes everything, so that a refusal leaves
// nothing behind.
func (e *Engine) Append(ctx context.Context, b *driver.Batch) error {
	if err := e.wait(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return err
	}
	if f := b.Fence; f != nil && f.Epoch < e.epochs[f.Name] {
		return tandem.Errorf(tandem.CodePrecondition, "%s is owned by epoch %d, not %d", f.Name, e.epochs[f.Name], f.Epoch)
	}
	if err := e.checkRecords(b); err != nil {
		return err
	}
	for i := range b.State {
		if !e.holds(&b.State[i]) {
			b.Failed = len(b.Records) + i
			return tandem.Errorf(tandem.CodeConflict, "state %s has another value", b.State[i].Key)
		}
	}
	for i := range b.State {
		if op := &b.State[i]; op.Value == nil {
			delete(e.state, op.Key)
		} else {
			e.state[op.Key] = bytes.Clone(op.Value)
		}
	}
	if len(b.Records) > 0 {
		e.notify(e.store(b.Records))
	}
	return nil
}

// checkRecords refuses a batch with an unknown partition, or with an id that stands for other data.
func (e *Engine) checkRecords(b *driver.Batch) error {
	var inBatch map[[16]byte]uint64
	for i := range b.Records {
		r := &b.Records[i]
		t := e.byID[r.Topic]
		if t == nil || r.Partition < 0 || r.Partition >= len(t.parts) {
			return tandem.Errorf(tandem.CodeNotFound, "no partition %d of topic %d", r.Partition, r.Topic)
		}
		if !e.dedups(r) {
			continue
		}
		first, known := e.ids[r.Identity]
		sum := first.sum
		if !known {
			sum, known = inBatch[r.Identity]
		}
		if known && sum != r.Sum {
			b.Failed = i
			return tandem.Errorf(tandem.CodeConflict, "event %s of %s was stored with other data", r.Event.ID, r.Event.Source)
		}
		if inBatch == nil {
			inBatch = map[[16]byte]uint64{}
		}
		inBatch[r.Identity] = r.Sum
	}
	return nil
}

// Takes implements driver.Foreteller.
func (e *Engine) Takes() error { return e.Health() }

// Find implements driver.Foreteller.
func (e *Engine) Find(_ context.Context, r *driver.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, ok := e.ids[r.Identity]
	if r.Duplicate = ok; ok {
		r.Stored, r.Offset, r.Sum = first.partition, first.offset, first.sum
	}
	return nil
}

// dedups reports whether a repeat of r is recognised here.
func (e *Engine) dedups(r *driver.Record) bool {
	return r.Dedup && e.info.Dedup == driver.DedupAtAppend
}

func (e *Engine) holds(op *driver.StateOp) bool {
	if op.If == nil {
		return true
	}
	v, ok := e.state[op.Key]
	if len(op.If) == 0 {
		return !ok
	}
	return ok && bytes.Equal(v, op.If)
}

// store gives the records their offsets, keeps them, and returns the new ends.
func (e *Engine) store(records []driver.Record) []driver.End {
	var ends []driver.End
	for i := range records {
		r := &records[i]
		r.Duplicate, r.Stored = false, r.Partition
		if first, ok := e.ids[r.Identity]; e.dedups(r) && ok {
			r.Duplicate, r.Stored, r.Offset, r.Seq = true, first.partition, first.offset, first.seq
			continue
		}
		t := e.byID[r.Topic]
		p := &t.parts[r.Partition]
		offset := p.end
		if e.info.TotalOrder {
			e.last++
			offset = e.last
		}
		p.seq++
		r.Offset, r.Seq = offset, p.seq
		p.end = offset + 1
		s := stored{identity: r.Identity, dedup: e.dedups(r), size: size(r.Event)}
		s.Record = tandem.Record{Event: clone(r.Event), Seq: p.seq, Assigned: !r.Dedup && e.info.Dedup != driver.DedupAtAppend,
			Position: tandem.Position{Topic: t.Name, Partition: r.Partition, Offset: offset}}
		p.records = append(p.records, s)
		p.bytes += s.size
		if e.dedups(r) {
			e.ids[r.Identity] = place{r.Topic, r.Partition, offset, p.seq, r.Sum}
		}
		if n := slices.IndexFunc(ends, func(x driver.End) bool { return x.Topic == r.Topic && x.Partition == r.Partition }); n >= 0 {
			ends[n].End = p.end
		} else {
			ends = append(ends, driver.End{Topic: r.Topic, Partition: r.Partition, End: p.end})
		}
	}
	return ends
}

func clone(ev *tandem.Event) tandem.Event {
	c := *ev
	c.Data = bytes.Clone(ev.Data)
	c.Extensions = slices.Clone(ev.Extensions)
	c.Meta.Causes = slices.Clone(ev.Meta.Causes)
	return c
}

// size is the length of payload and attributes.
func size(ev *tandem.Event) int64 {
	n := len(ev.ID) + len(ev.Source) + len(ev.Type) + len(ev.Subject) + len(ev.Time) + len(ev.DataContentType) + len(ev.DataSchema) + len(ev.Data)
	for i := range ev.Extensions {
		n += len(ev.Extensions[i].Name) + len(ev.Extensions[i].Value)
	}
	return int64(n)
}

// Own implements driver.Driver.
func (e *Engine) Own(_ context.Context, name string) (driver.Fence, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return driver.Fence{}, err
	}
	e.epochs[name]++
	return driver.Fence{Name: name, Epoch: e.epochs[name]}, nil
}
