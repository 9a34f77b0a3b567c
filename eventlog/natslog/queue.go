package natslog

import (
	"strconv"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// How much of a partition is on its way to the server at once: so many messages as take it about as long as an atomic batch, between these
// bounds. More go together. What takes how long depends on the server, its disk and the replicas, so it is measured.
const (
	singlesAtLeast = 8
	singlesAtMost  = 256
	batchesAtOnce  = 2

	// A batch counts as this many messages as long as it was not measured, and drifts back to that.
	batchCost = 16
)

// queue is what waits to be published to a partition.
type queue struct {
	mu      sync.Mutex
	waiting []*call
	records int // of those
	singles int // messages on their way
	batches int // atomic batches on their way
	pumping bool

	answered time.Time     // when the server answered last
	single   time.Duration // it took for a message, on average
	batch    time.Duration // and for a batch

	sending sync.Mutex // held while something is published; taken after mu
}

// unit is what is published in one step: one message, or an atomic batch of one or more calls.
type unit struct {
	p     *partition
	calls []*call
	items []*item
	id    string // of an atomic batch
	from  uint64 // end of the partition when it was sent
	sent  time.Time
}

func (e *Engine) enqueue(c *call) {
	q := &c.p.out
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	q.records += len(c.items)
	q.mu.Unlock()
	e.pump(c.p)
}

// pump publishes what may be on its way. One goroutine at a time does it, without holding the mutex while it publishes.
func (e *Engine) pump(p *partition) {
	q := &p.out
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pumping {
		return
	}
	q.pumping = true
	for {
		u := e.nextUnit(p)
		if u == nil {
			break
		}
		q.sending.Lock()
		q.mu.Unlock()
		e.send(u)
		q.sending.Unlock()
		q.mu.Lock()
	}
	q.pumping = false
}

// nextUnit takes calls from the queue, whose mutex is held; nil when nothing may be sent now. A single record goes as a message of its own, as long
// as few wait; more go together.
func (e *Engine) nextUnit(p *partition) *unit {
	q := &p.out
	for len(q.waiting) > 0 && q.waiting[0].abandoned {
		q.drop(1)
	}
	if len(q.waiting) == 0 {
		return nil
	}
	depth := q.depth()
	u := &unit{p: p, from: p.endNow(), sent: time.Now()}
	head := q.waiting[0]
	if head.pending() == 1 && (head.alone || q.records < depth) {
		if q.singles >= depth || q.batches > 0 && q.records < depth && !head.alone {
			return nil
		}
		u.add(head)
		q.drop(1)
		q.singles++
		return u
	}
	if q.batches >= batchesAtOnce {
		return nil
	}
	n, bytes := 0, 0
	var ids map[[16]byte]bool
	for _, c := range q.waiting {
		if n > 0 && (c.alone || head.alone || len(u.items)+len(c.items) > unitRecords || bytes+c.bytes > unitBytes) {
			break
		}
		if c.abandoned {
			n++
			continue
		}
		if repeats(c, &ids) {
			break
		}
		u.add(c)
		bytes += c.bytes
		n++
	}
	q.drop(n)
	if len(u.items) == 1 {
		q.singles++
		return u
	}
	q.batches++
	u.id = e.session + strconv.FormatUint(e.units.Add(1), 36)
	return u
}

// repeats reports whether a call has an id that is in ids, and else adds those it has.
func repeats(c *call, ids *map[[16]byte]bool) bool {
	for _, it := range c.items {
		if it.dedup && (*ids)[it.identity] {
			return true
		}
	}
	for _, it := range c.items {
		if it.dedup {
			if *ids == nil {
				*ids = map[[16]byte]bool{}
			}
			(*ids)[it.identity] = true
		}
	}
	return false
}

func (u *unit) add(c *call) {
	u.calls = append(u.calls, c)
	for _, it := range c.items {
		if it.seq == 0 {
			u.items = append(u.items, it)
		}
	}
	if c.from == 0 {
		c.from = u.from
	}
}

// drop removes the first n calls.
func (q *queue) drop(n int) {
	for _, c := range q.waiting[:n] {
		q.records -= len(c.items)
	}
	clear(q.waiting[:n])
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
}

// release notes that a unit is not on its way any more.
func (q *queue) release(u *unit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if u.id == "" {
		q.singles--
	} else {
		q.batches--
	}
}

// learn notes how long the server took for a unit that it has stored. It works on one after the other.
func (q *queue) learn(u *unit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, began := time.Now(), u.sent
	if q.answered.After(began) {
		began = q.answered
	}
	q.answered = now
	took := now.Sub(began)
	if u.id != "" {
		q.batch += (took - q.batch) / 4
		return
	}
	q.single += (took - q.single) / 16
	q.batch += (batchCost*q.single - q.batch) / 256
}

// depth is how many messages may be on their way, with mu held.
func (q *queue) depth() int {
	if q.single <= 0 || q.batch <= 0 {
		return batchCost
	}
	return int(min(max(q.batch/q.single, singlesAtLeast), singlesAtMost))
}

// send publishes a unit; its outcome comes to arrived.
func (e *Engine) send(u *unit) {
	if u.p.isGone() {
		e.arrived(u, ack{}, errGone)
		return
	}
	reply, withdraw := e.acks.expect(time.Now().Add(e.opts.Timeout), func(a ack, err error) { e.arrived(u, a, err) })
	if err := e.publish(u, reply); err != nil {
		withdraw()
		e.arrived(u, ack{}, &notSent{err})
	}
}

func (e *Engine) publish(u *unit, reply string) error {
	last := len(u.items) - 1
	for i, it := range u.items {
		m := it.msg
		delete(m.Header, headerCommit)
		if u.id != "" {
			m.Header[headerBatch] = []string{u.id}
			m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		} else {
			delete(m.Header, headerBatch)
			delete(m.Header, headerBatchSeq)
		}
		m.Reply = ""
		if i == last {
			m.Reply = reply
			if u.id != "" {
				m.Header[headerCommit] = []string{"1"}
			}
		}
		if err := e.nc.PublishMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// arrived takes the outcome of a unit. It runs where answers arrive, so whatever takes time goes elsewhere.
func (e *Engine) arrived(u *unit, a ack, err error) {
	u.p.out.release(u)
	if err == nil && a.Stream == u.p.stream && !a.Duplicate && (u.id == "" || a.Count == len(u.items)) && a.Seq >= uint64(len(u.items)) {
		u.p.out.learn(u)
		e.succeeded(u, a.Seq+1-uint64(len(u.items)))
		e.pump(u.p)
		return
	}
	e.spawn(func() {
		e.mend(u, a, err)
		e.pump(u.p)
	})
	e.pump(u.p)
}

// succeeded notes that the items of a unit lie one after the other from first on.
func (e *Engine) succeeded(u *unit, first uint64) {
	p, q := u.p, &u.p.out
	bytes, keepThem := int64(0), e.active(p)
	var kept []tandem.Record
	q.mu.Lock()
	for i, it := range u.items {
		it.seq = first + uint64(i)
		bytes += int64(it.size)
		if u.id != "" {
			bytes += int64(len(headerBatch) + len(u.id) + len(headerBatchSeq) + len(strconv.Itoa(i+1)) + 2*len(": \r\n"))
		}
	}
	if u.id != "" {
		bytes += int64(len(headerCommit) + len(": 1\r\n"))
	}
	for _, c := range u.calls {
		keepThem = keepThem && !c.abandoned
	}
	if keepThem {
		kept = make([]tandem.Record, 0, len(u.items))
		for _, it := range u.items {
			kept = append(kept, keep(it.r, p.name, it.seq))
		}
	}
	q.mu.Unlock()
	p.stored(&e.cache, first, len(u.items), bytes, kept)
	e.tell(p)
	for _, c := range u.calls {
		c.finish(nil)
	}
	e.health.wrote()
}
