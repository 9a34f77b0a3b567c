package kafkalog

import (
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// tail holds the newest events of a partition for those who read at its end: all of the offsets from begin up to fetched, or
// nothing while it is off. The goroutine that polls Kafka adds to it, readers wait for it.
type tail struct {
	mu      sync.Mutex
	on      bool
	live    bool // something has arrived since it is on
	begin   uint64
	fetched uint64
	records []tandem.Record
	head    int // first of records that is held
	bytes   int64
	used    time.Time     // last read
	wake    chan struct{} // closed when fetched moves; nil when nobody waits
}

// recordOverhead is what an event takes in memory beside its text and data.
const recordOverhead = 400

// footprint is what an event takes of a cache.
func footprint(r *tandem.Record) int64 { return int64(payload(&r.Event)) + recordOverhead }

// payload is the size of an event's data and attributes.
func payload(ev *tandem.Event) int {
	n := len(ev.ID) + len(ev.Source) + len(ev.Type) + len(ev.Subject) + len(ev.Time) + len(ev.DataContentType) + len(ev.DataSchema) + len(ev.Data)
	for i := range ev.Extensions {
		n += len(ev.Extensions[i].Name) + len(ev.Extensions[i].Value)
	}
	return n
}

// touch notes a read and reports whether the tail has to be started.
func (t *tail) touch(now time.Time) (start bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = now
	return !t.on
}

// start turns it on from an offset; false if it was on.
func (t *tail) start(from uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.on {
		return false
	}
	t.on, t.live, t.begin, t.fetched = true, false, from, from
	return true
}

// stop turns it off and drops what it holds.
func (t *tail) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.live, t.records, t.head, t.bytes = false, false, nil, 0, 0
	t.signal()
}

// stopIfIdle is stop for one that nobody has read since.
func (t *tail) stopIfIdle(since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on || t.used.After(since) {
		return false
	}
	t.on, t.live, t.records, t.head, t.bytes = false, false, nil, 0, 0
	t.signal()
	return true
}

func (t *tail) signal() {
	if t.wake != nil {
		close(t.wake)
		t.wake = nil
	}
}

// add takes what was fetched up to an offset, and drops the oldest beyond a limit.
func (t *tail) add(records []tandem.Record, fetched uint64, limit int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on || fetched <= t.fetched {
		return
	}
	for len(records) > 0 && records[0].Position.Offset < t.fetched {
		records = records[1:] // fetched before
	}
	t.live, t.fetched = true, fetched
	t.records = append(t.records, records...)
	for i := range records {
		t.bytes += footprint(&records[i])
	}
	t.trimLocked(limit)
	t.signal()
}

func (t *tail) trim(limit int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimLocked(limit)
}

func (t *tail) trimLocked(limit int64) {
	for t.bytes > limit && t.head < len(t.records) {
		r := &t.records[t.head]
		t.bytes -= footprint(r)
		t.begin = r.Position.Offset + 1
		*r = tandem.Record{}
		t.head++
	}
	if t.head > 1024 && t.head > len(t.records)/2 {
		n := copy(t.records, t.records[t.head:])
		clear(t.records[n:])
		t.records, t.head = t.records[:n], 0
	}
}

// read takes events from an offset on. next is the offset after what it knows of; held is false when the tail does not have the offset: older is
// true when it lies before what is held, else it has not come yet, and wake tells when more has.
func (t *tail) read(from uint64, to *taker) (next uint64, held, older bool, wake <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.on || !t.live || from < t.begin:
		return from, false, true, nil
	case from >= t.fetched:
		if t.wake == nil {
			t.wake = make(chan struct{})
		}
		return from, false, false, t.wake
	}
	to.take(since(t.records[t.head:], from))
	return t.fetched, true, false, nil
}

// taker is what one Read collects.
type taker struct {
	dst   []tandem.Record
	most  int // events
	room  int // bytes
	taken int
	full  bool
}

// take appends records within bounds; the first of all is taken however large.
func (t *taker) take(records []tandem.Record) {
	for i := range records {
		size := payload(&records[i].Event)
		if t.full = t.taken == t.most || t.taken > 0 && size > t.room; t.full {
			return
		}
		t.dst = append(t.dst, records[i])
		t.taken++
		t.room -= size
	}
	t.full = t.taken == t.most
}
