package delivery

import (
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// home says which record brings a delivery back after a restart.
type home uint8

const (
	homeLog     home = iota // the cursor: it is held in memory and among the held offsets
	homeParked              // a parked record: a copy
	homeWaiting             // a waiting record: its place in the log
	homeRedrive             // a redrive record beside its dead letter
)

// stage is how far a delivery has come.
type stage uint8

const (
	stageQueued   stage = iota // behind another event of its key
	stageReady                 // may be sent
	stageStarting              // the start of the attempt is being recorded
	stageSending
	stageRetrying // waits for the time of its next attempt
	stageStoring  // its replies are being stored
	stageSettled  // has its outcome, or was sought over
)

// delivery is one matching event for one subscription, until it has an outcome. Guarded by subscription.mu; an
// attempt works on a job.
type delivery struct {
	where
	topicName string
	seq       uint64
	accepted  time.Time
	key       string
	rec       *tandem.Record // nil when it is not in memory
	bytes     int
	lane      *lane  // nil without a key, with ordering none, and for redrives
	redrive   string // id of the dead letter
	epoch     uint64

	home  home
	stage stage

	attempts int    // counted, with the one under way
	probes   int    // attempts that turned out not to count
	streak   int    // of attempts: those since the last success of the subscription, which are the endpoint's fault if it turns out to be
	own      bool   // others succeeded while it failed: its failures say nothing about the endpoint any more
	trouble  bool   // its last failure was one that only an endpoint in trouble has
	request  uint64 // its last
	single   bool   // a batch failed with it: from then on it is sent alone
	lost     bool   // the process ended during its last attempt
	due      time.Time
	status   int // of the last attempt
	detail   string
	took     time.Duration
	began    time.Time        // start of the last attempt
	ended    time.Time        // end of the last attempt
	history  []tandem.Attempt // at most MaxAttemptsRecorded; empty when the first attempt delivered

	lease lease          // that a client holds, of a subscription that is pulled
	about *tandem.Record // what the ledger tells of an event that was leased and is not in memory
	rowAt uint64         // segment of the ledger that has its row; zero when there is none

	tried bool // a tried record exists
	index int  // in the heap of retries; -1 when it is not there
}

func (d *delivery) position() tandem.Position {
	return tandem.Position{Topic: d.topicName, Partition: d.part, Offset: d.offset}
}

// older orders deliveries by age.
func (d *delivery) older(than *delivery) int {
	if c := d.accepted.Compare(than.accepted); c != 0 {
		return c
	}
	switch {
	case d.offset < than.offset:
		return -1
	case d.offset > than.offset:
		return 1
	}
	return 0
}

// laneKey names a lane. A key of one topic always lies in one partition.
type laneKey struct {
	topic driver.ID
	key   string
}

// lane holds the events of one key in log order; the first is the only one that may be sent.
type lane struct {
	laneKey
	queue []*delivery
}

// track is a topic of a subscription.
type track struct {
	topic driver.ID
	name  string
	parts []partTrack
	dirty bool
}

// partTrack is how far a subscription has come in one partition.
type partTrack struct {
	track *track
	part  int
	next  uint64      // where reading goes on, unless shared is further
	seq   uint64      // of the first event from next on; zero when not known
	held  []*delivery // of home log, by offset
	// shared is the reader that brings the events of the partition, nil when the subscription reads for itself.
	shared *sharedPart
	moved  uint64 // next as last stored
}

// place returns where reading goes on and the sequence number there.
func (pt *partTrack) place() (next, seq uint64) {
	if pt.shared != nil {
		if n, q := pt.shared.place(); n > pt.next {
			return n, q
		}
	}
	return pt.next, pt.seq
}

// cursor is the offset below which every event has an outcome or a record of its own.
func (pt *partTrack) cursor() uint64 {
	if len(pt.held) > 0 {
		return pt.held[0].offset
	}
	next, _ := pt.place()
	return next
}

func (pt *partTrack) release(d *delivery) {
	if i, ok := slices.BinarySearchFunc(pt.held, d.offset, compareOffset); ok {
		pt.held = slices.Delete(pt.held, i, i+1)
	}
}

// heldAt returns what is held at an offset, nil if nothing is.
func (pt *partTrack) heldAt(offset uint64) *delivery {
	if i, ok := slices.BinarySearchFunc(pt.held, offset, compareOffset); ok {
		return pt.held[i]
	}
	return nil
}

func (pt *partTrack) hold(d *delivery) {
	if n := len(pt.held); n == 0 || pt.held[n-1].offset < d.offset {
		pt.held = append(pt.held, d)
		return
	}
	i, ok := slices.BinarySearchFunc(pt.held, d.offset, compareOffset)
	if !ok {
		pt.held = slices.Insert(pt.held, i, d)
	}
}

func compareOffset(d *delivery, offset uint64) int {
	switch {
	case d.offset < offset:
		return -1
	case d.offset > offset:
		return 1
	}
	return 0
}

// admit takes a matching event in. The caller has checked that there is room and moves pt past it.
func (s *subscription) admit(pt *partTrack, rec *tandem.Record) {
	own := *rec
	d := &delivery{
		where:     where{pt.track.topic, pt.part, rec.Position.Offset},
		topicName: pt.track.name, seq: rec.Seq, accepted: rec.Meta.Accepted, key: rec.Ordering(),
		rec: &own, bytes: eventBytes(&own), epoch: s.config.Epoch, index: -1,
	}
	s.holdDelivery(d, pt)
	s.enqueue(d)
}

func (s *subscription) holdDelivery(d *delivery, pt *partTrack) {
	d.home = homeLog
	pt.hold(d)
	s.held++
	s.heldBytes += d.bytes
}

// enqueue puts a delivery at the end of the lane of its key.
func (s *subscription) enqueue(d *delivery) {
	// What waited behind its key keeps its place, so that a seek finds it.
	if d.key == "" || !s.policy().ordered && d.home != homeWaiting {
		s.makeReady(d)
		return
	}
	k := laneKey{d.topic, d.key}
	l := s.lanes[k]
	if l == nil {
		l = &lane{laneKey: k, queue: make([]*delivery, 0, 1)}
		s.lanes[k] = l
	}
	d.lane = l
	l.queue = append(l.queue, d)
	if len(l.queue) == 1 {
		s.makeReady(d)
		return
	}
	d.stage = stageQueued
	if l.queue[len(l.queue)-2].home != homeLog && d.home == homeLog {
		s.spill(d) // behind a parked event, or behind others that wait for it
	}
}

// advance takes the settled head out of its lane and makes the next event ready.
func (s *subscription) advance(d *delivery) {
	l := d.lane
	if l == nil {
		return
	}
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) == 0 {
		delete(s.lanes, l.laneKey)
		return
	}
	s.makeReady(l.queue[0])
}

func (s *subscription) makeReady(d *delivery) {
	d.stage = stageReady
	if d.probes < probesPerEvent {
		s.endpoint.wantsMore = false
	}
	s.ready.push(d)
}

// spill gives an event that waits behind a parked one a record of its own, so that the cursor can pass it and its bytes need
// not be kept.
func (s *subscription) spill(d *delivery) {
	s.unhold(d)
	d.home, d.rec = homeWaiting, nil
	s.waiting++
	s.put(s.key(kindWaiting)+d.where.String(), waiter{d.epoch, d.seq, d.accepted.UnixMilli(), d.key}.append(nil))
}

// unhold ends that the cursor is held by d.
func (s *subscription) unhold(d *delivery) {
	s.held--
	s.heldBytes -= d.bytes
	if t := s.tracks[d.topic]; t != nil {
		t.parts[d.part].release(d)
		t.dirty = true
	}
	if s.held == roomAt || s.held < roomAt && s.heldBytes+d.bytes >= maxHeldBytes {
		s.pokeFeed()
	}
}

// park sets a failing event aside with a copy: its key waits for it, the cursor passes it.
func (s *subscription) park(d *delivery) {
	switch d.home {
	case homeParked, homeRedrive:
		d.rec = nil
		return
	case homeLog:
		s.unhold(d)
	case homeWaiting:
		s.waiting--
		s.put(s.key(kindWaiting)+d.where.String(), nil)
	}
	s.copyOut(d)
	d.rec = nil
	if d.lane == nil {
		return
	}
	for _, behind := range d.lane.queue[1:] {
		if behind.home == homeLog {
			s.spill(behind)
		}
	}
}

// copyOut makes a copy of its own what brings d back.
func (s *subscription) copyOut(d *delivery) {
	value := appendLetter(letter{effort: s.effort(d)}, d.rec)
	d.home, d.bytes = homeParked, len(value)
	s.parked[d] = struct{}{}
	s.parkBytes += int64(len(value))
	s.put(s.key(kindParked)+d.where.String(), value)
}

// eventBytes is about what an event takes in memory.
func eventBytes(rec *tandem.Record) int {
	n := 512 + len(rec.Data) + len(rec.ID) + len(rec.Source) + len(rec.Type) + len(rec.Subject) + len(rec.Meta.Key)
	for i := range rec.Extensions {
		n += len(rec.Extensions[i].Name) + len(rec.Extensions[i].Value)
	}
	return n
}

// readyQueue is the heads that may be sent. Dead letters on their way again are taken in turn with the others, and only as many as
// room says.
type readyQueue struct {
	live, again fifo
	room        func() int // how many more of again may go
	turn        bool       // of again
}

// len is how many pop would return now.
func (q *readyQueue) len() int {
	n := q.live.len()
	if q.again.len() > 0 {
		n += min(q.again.len(), q.room())
	}
	return n
}

func (q *readyQueue) push(d *delivery) {
	if d.home == homeRedrive {
		q.again.push(d)
	} else {
		q.live.push(d)
	}
}

func (q *readyQueue) pop() *delivery {
	if q.turnsAgain() {
		q.turn = false
		return q.again.pop()
	}
	q.turn = true
	return q.live.pop()
}

func (q *readyQueue) turnsAgain() bool {
	return q.again.len() > 0 && (q.turn || q.live.len() == 0) && q.room() > 0
}

// peek returns what pop would.
func (q *readyQueue) peek() *delivery {
	if q.turnsAgain() {
		return q.again.peek()
	}
	return q.live.peek()
}

// all returns what is queued, to look at.
func (q *readyQueue) all() []*delivery {
	if q.again.len() == 0 {
		return q.live.all()
	}
	return slices.Concat(q.live.all(), q.again.all())
}

func (q *readyQueue) remove(d *delivery) {
	if d.home == homeRedrive {
		q.again.remove(d)
	} else {
		q.live.remove(d)
	}
}

func (q *readyQueue) clear() {
	q.live.clear()
	q.again.clear()
}

// fifo is a queue of deliveries.
type fifo struct {
	items []*delivery
	head  int
}

func (f *fifo) len() int { return len(f.items) - f.head }

func (f *fifo) push(d *delivery) { f.items = append(f.items, d) }

func (f *fifo) pop() *delivery {
	if f.len() == 0 {
		return nil
	}
	d := f.items[f.head]
	f.items[f.head] = nil
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	} else if f.head >= 1024 && f.head*2 > len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return d
}

func (f *fifo) peek() *delivery {
	if f.len() == 0 {
		return nil
	}
	return f.items[f.head]
}

// all returns what is queued, to look at.
func (f *fifo) all() []*delivery { return f.items[f.head:] }

func (f *fifo) remove(d *delivery) {
	if i := slices.Index(f.all(), d); i >= 0 {
		f.items = slices.Delete(f.items, f.head+i, f.head+i+1)
	}
}

func (f *fifo) clear() { *f = fifo{} }

// retryHeap orders deliveries by when they are due (container/heap).
type retryHeap []*delivery

func (h retryHeap) Len() int           { return len(h) }
func (h retryHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h retryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *retryHeap) Push(x any) {
	d := x.(*delivery)
	d.index = len(*h)
	*h = append(*h, d)
}

func (h *retryHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.index = -1
	return d
}
