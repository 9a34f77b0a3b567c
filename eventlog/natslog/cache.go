package natslog

import (
	"bytes"
	"slices"
	"sync"
	"unsafe"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// tail holds the newest events of a partition, one sequence after the other, so that who is at its end is served without asking the
// server. Its mutex is that of the partition.
type tail struct {
	first   uint64 // sequence of records[0]
	records []tandem.Record
	sizes   []int32
	life    uint64 // counts the times that it began anew
}

// next is the sequence after the last, zero when it is empty.
func (t *tail) next() uint64 {
	if len(t.records) == 0 {
		return 0
	}
	return t.first + uint64(len(t.records))
}

// holds reports whether it has the event of a sequence, and at which index.
func (t *tail) holds(seq uint64) (int, bool) {
	return int(seq - t.first), len(t.records) > 0 && seq >= t.first && seq < t.next()
}

// drop removes the n oldest and returns their bytes.
func (t *tail) drop(n int) (freed int64) {
	n = min(n, len(t.records))
	for _, s := range t.sizes[:n] {
		freed += int64(s)
	}
	clear(t.records[:n])
	t.records, t.sizes = t.records[n:], t.sizes[n:]
	t.first += uint64(n)
	return freed
}

// cache bounds the tails of all partitions together: what came first goes first.
type cache struct {
	max int64

	mu    sync.Mutex
	bytes int64
	order []chunk // of what was put, oldest first
}

// chunk is a number of events that were put into a tail at once.
type chunk struct {
	p     *partition
	life  uint64
	count int
	bytes int64
}

// put adds the records, which follow each other from seq on, to the tail of p, whose mutex is held. It returns what has to be evicted.
func (c *cache) put(p *partition, seq uint64, records []tandem.Record) {
	if c.max <= 0 || len(records) == 0 {
		return
	}
	t := &p.tail
	switch next := t.next(); {
	case next == 0 || seq > next: // what lies between came from elsewhere
		c.forget(p)
		t.first = seq
	case seq < next:
		return // it is there, or came late
	}
	total := int64(0)
	for i := range records {
		n := recordSize(&records[i])
		t.records = append(t.records, records[i])
		t.sizes = append(t.sizes, int32(n))
		total += int64(n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += total
	c.order = append(c.order, chunk{p, t.life, len(records), total})
}

// forget empties the tail of p, whose mutex is held.
func (c *cache) forget(p *partition) {
	freed := p.tail.drop(len(p.tail.records))
	p.tail.records, p.tail.sizes = nil, nil
	p.tail.life++
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= freed
}

// shrink evicts until the bound is kept. No mutex of a partition may be held.
func (c *cache) shrink() {
	for {
		c.mu.Lock()
		if c.bytes <= c.max && len(c.order) < 1<<20 || len(c.order) == 0 {
			c.mu.Unlock()
			return
		}
		oldest := c.order[0]
		c.order = c.order[1:]
		c.mu.Unlock()
		oldest.p.mu.Lock()
		freed := int64(0)
		if oldest.p.tail.life == oldest.life {
			freed = oldest.p.tail.drop(oldest.count)
		}
		oldest.p.mu.Unlock()
		c.mu.Lock()
		c.bytes -= freed
		c.mu.Unlock()
	}
}

// recordSize is what a record needs in memory, about.
func recordSize(r *tandem.Record) int {
	return int(unsafe.Sizeof(*r)) + eventSize(&r.Event) + len(r.Meta.Key) + len(r.Meta.Flow) + len(r.Meta.Producer) + len(r.Meta.Route) +
		len(r.Meta.TraceParent) + len(r.Meta.TraceState) + 64*len(r.Meta.Causes) + 40*len(r.Extensions)
}

// eventSize is the length of payload and attributes.
func eventSize(ev *tandem.Event) int {
	n := len(ev.ID) + len(ev.Source) + len(ev.Type) + len(ev.Subject) + len(ev.Time) + len(ev.DataContentType) + len(ev.DataSchema) + len(ev.Data)
	for i := range ev.Extensions {
		n += len(ev.Extensions[i].Name) + len(ev.Extensions[i].Value)
	}
	return n
}

// keep returns the record that stands for r in a tail; it shares nothing that may change.
func keep(r *driver.Record, topic string, seq uint64) tandem.Record {
	c := tandem.Record{Event: *r.Event, Seq: seq, Assigned: !r.Dedup, Position: tandem.Position{Topic: topic, Partition: r.Partition, Offset: seq}}
	c.Data = bytes.Clone(c.Data)
	c.Extensions = slices.Clone(c.Extensions)
	c.Meta.Causes = slices.Clone(c.Meta.Causes)
	return c
}
