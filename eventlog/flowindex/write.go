package flowindex

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// generation is the entries of events that were accepted within a span of time, or a part of them, since none grows beyond a share of
// Options.Bytes.
type generation struct {
	span   uint32 // number of the span since 1970
	part   uint16
	bytes  uint64
	newest uint64 // when the last of its events was accepted, in milliseconds since 1970
}

// shares is into how many generations at least the age and the bytes are divided.
const shares = 16

func (x *Index) span() int64 { return max(1, x.opts.Age.Milliseconds()/shares) }

func (g *generation) key() []byte { return g.append([]byte{keyGeneration}) }

// append writes what the keys of g, and of its entries, hold of it.
func (g *generation) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(dst, g.span), g.part)
}

func (g *generation) value() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, g.bytes), g.newest)
}

func (g *generation) entries() []byte { return g.append([]byte{keyEntry}) }

// generation returns the index of the one that an event goes to by its time, which is made if there is none with room.
func (x *Index) generation(accepted time.Time) int {
	span := uint32(max(0, accepted.UnixMilli()) / x.span())
	i, _ := slices.BinarySearchFunc(x.gens, span, func(g generation, span uint32) int {
		if g.span <= span {
			return -1
		}
		return 1
	})
	part := uint16(0)
	if i > 0 && x.gens[i-1].span == span {
		if last := &x.gens[i-1]; last.bytes < uint64(x.opts.Bytes)/shares || last.part == 1<<16-1 {
			return i - 1
		}
		part = x.gens[i-1].part + 1
	}
	x.gens = slices.Insert(x.gens, i, generation{span: span, part: part})
	return i
}

// Sweep drops the generations that are too old or too much, the oldest first. It fails while the volume is nearly full: what it frees comes later
// than what it writes.
func (x *Index) Sweep() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	total := uint64(0)
	for i := range x.gens {
		total += x.gens[i].bytes
	}
	oldest := x.opts.Now().Add(-x.opts.Age).UnixMilli()
	n, dropped := 0, uint64(x.dropped)
	for n < len(x.gens) && ((int64(x.gens[n].span)+1)*x.span() <= oldest || total > uint64(x.opts.Bytes) && n < len(x.gens)-1) {
		total -= x.gens[n].bytes
		dropped = max(dropped, x.gens[n].newest+1)
		n++
	}
	if n == 0 {
		return nil
	}
	if err := x.db.Room(); err != nil {
		return fmt.Errorf("the index of flows: %w", err)
	}
	b := x.db.NewBatch()
	defer b.Close()
	for i := range n {
		from := x.gens[i].entries()
		if err := b.DeleteRange(from, append(slices.Clone(from), 0xff), nil); err != nil {
			return err
		}
		if err := b.Delete(x.gens[i].key(), nil); err != nil {
			return err
		}
	}
	if err := b.Set([]byte{keyDropped}, binary.BigEndian.AppendUint64(nil, dropped), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	x.dropped = int64(dropped)
	x.gens = slices.Delete(x.gens, 0, n)
	return nil
}

// writer is an Add under way.
type writer struct {
	x       *Index
	b       *pebble.Batch
	oldest  time.Time
	touched []int // generations that grew, by index
	err     error
	k, v    []byte // scratch
}

func (w *writer) set(key, value []byte) {
	w.err = cmp.Or(w.err, w.b.Set(key, value, nil))
}

func (w *writer) add(topic driver.ID, index int, rec *tandem.Record) {
	if rec.Meta.Accepted.Before(w.oldest) {
		return
	}
	before := len(w.x.gens)
	at := w.x.generation(rec.Meta.Accepted)
	if len(w.x.gens) > before { // those behind it have moved
		for i := range w.touched {
			if w.touched[i] >= at {
				w.touched[i]++
			}
		}
	}
	if !slices.Contains(w.touched, at) {
		w.touched = append(w.touched, at)
	}
	g := &w.x.gens[at]
	accepted := uint64(max(0, rec.Meta.Accepted.UnixMilli()))
	g.newest = max(g.newest, accepted)
	ref := tandem.Fingerprint(rec.Position.Topic, rec.Source, rec.ID)
	flow := keyOfRecord(rec, ref)
	place := Place{topic, index, rec.Position.Offset}

	w.begin(g, kindFlow)
	w.k = place.append(append(w.k, flow[:]...))
	w.v = binary.AppendUvarint(append(w.v, ref[:]...), accepted)
	w.end(g)

	w.begin(g, kindRef)
	w.k = append(w.k, ref[:]...)
	w.v = place.append(append(w.v, flow[:]...))
	w.end(g)

	for _, cause := range rec.Meta.Causes {
		id, ok := ParseRef(cause)
		if known := &w.x.flows[slot(id)]; !ok || known.ref == other(id) && known.flow == flow {
			continue // it is in the graph of the flow in any case
		}
		w.begin(g, kindEffect)
		w.k = place.append(append(w.k, id[:]...))
		w.end(g)
	}
	known := &w.x.flows[slot(ref)]
	known.ref, known.flow = other(ref), flow

	if trace, ok := traceOf(rec.Meta.TraceParent); ok && [16]byte(flow[1:]) != trace {
		known := &w.x.traces[slot(trace)]
		if known.trace == other(trace) && known.flow == flow {
			return
		}
		known.trace, known.flow = other(trace), flow
		w.begin(g, kindTrace)
		w.k = append(append(w.k, trace[:]...), flow[:]...)
		w.end(g)
	}
}

func slot(id [16]byte) uint64 { return binary.LittleEndian.Uint64(id[8:]) % recent }

func (w *writer) begin(g *generation, kind byte) {
	w.k, w.v = append(g.append(append(w.k[:0], keyEntry)), kind), w.v[:0]
}

func (w *writer) end(g *generation) {
	w.set(w.k, w.v)
	g.bytes += uint64(len(w.k) + len(w.v))
}

func (p Place) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(dst, uint64(p.Topic)), uint64(p.Partition)), p.Offset)
}

func parsePlace(b []byte) (p Place, ok bool) {
	var n [3]uint64
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return p, false
		}
		n[i], b = v, b[size:]
	}
	return Place{driver.ID(n[0]), int(n[1]), n[2]}, len(b) == 0
}
