package delivery

import (
	"container/heap"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// hand is what one pull handed out, or one call extended: leases that end at the same time, so that the clock costs something for a
// pull and not for an event. Guarded by subscription.mu.
type hand struct {
	until  time.Time
	by     string      // who pulled, or extended
	leases []*delivery // nil where one ended
	live   int
	index  int // in the heap of hands
}

// lease is what a delivery knows of the lease that is held of it.
type lease struct {
	hand  *hand // nil when none is held
	slot  int
	nonce uint64
}

// longLease is from when on a lease is not thought to end soon.
const longLease = tandem.DefaultVisibility

// handHeap orders hands by their end (container/heap).
type handHeap []*hand

func (h handHeap) Len() int           { return len(h) }
func (h handHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h handHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *handHeap) Push(x any) {
	n := x.(*hand)
	n.index = len(*h)
	*h = append(*h, n)
}

func (h *handHeap) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return n
}

// newHand makes a hand of leases that are in no other one.
func (s *subscription) newHand(leases []*delivery, until time.Time, by string) {
	h := &hand{until: until, by: by, leases: leases, live: len(leases)}
	for i, d := range leases {
		d.lease.hand, d.lease.slot = h, i
	}
	heap.Push(&s.hands, h)
	if s.hands[0] == h {
		s.poke()
	}
}

// leaveHand takes a lease out of its hand.
func (s *subscription) leaveHand(d *delivery) {
	h := d.lease.hand
	d.lease.hand = nil
	h.leases[d.lease.slot] = nil
	if h.live--; h.live == 0 {
		heap.Remove(&s.hands, h.index)
	}
}

// endLease frees the slot of the lease that is held of d, if there is one.
func (s *subscription) endLease(d *delivery) {
	if d.lease.hand == nil {
		return
	}
	s.leaveHand(d)
	d.lease = lease{}
	s.leased--
	s.inFlight--
	s.checkDrained()
}

// expireLeases fails the attempts whose leases are over, and returns when the next is.
func (s *subscription) expireLeases(now time.Time) (next time.Time) {
	for len(s.hands) > 0 {
		h := s.hands[0]
		if h.until.After(now) {
			return h.until
		}
		s.endHand(h, lapsed, now, "the lease expired")
	}
	return time.Time{}
}

// endHand ends all leases of a hand, which leaves the heap with the last of them.
func (s *subscription) endHand(h *hand, v verdict, now time.Time, detail string) {
	for _, d := range h.leases {
		if d != nil {
			s.finish(d, result{verdict: v, at: d.began, took: now.Sub(d.began), detail: detail})
		}
	}
}

// giveUpLeases returns all leases uncounted: the process ends, and after it the events are handed out again.
func (s *subscription) giveUpLeases() {
	now := time.Now()
	for len(s.hands) > 0 {
		s.endHand(s.hands[0], aborted, now, stoppedDetail)
	}
}

// failPulled is fail for a subscription that is pulled. There is no endpoint that could be at fault, and none to spare: clients that
// are gone ask for nothing. So an event that failed stays where it is, and its attempts count.
func (s *subscription) failPulled(d *delivery, r result, now time.Time) {
	if d.home != homeLog {
		d.rec = nil
	}
	switch s.fateOf(d, now) {
	case dies:
		s.exhaustPulled(d)
		return
	case pauses:
		s.pauseBefore(d)
		return
	}
	at := now.Add(r.retryAfter)
	if r.verdict != lapsed && r.verdict != released {
		at = now.Add(s.policy().wait(d.attempts, r.retryAfter)) // sent before the subscription was pulled
	}
	if at.After(now) {
		s.retryAt(d, at)
	} else {
		d.due = time.Time{}
		s.makeReady(d)
	}
	s.putEffort(d)
	s.seeRoom()
}

// exhaustPulled ends a delivery that has used up its attempts. A worker does so if the event must be read for it.
func (s *subscription) exhaustPulled(d *delivery) {
	if d.rec != nil {
		s.bury(d, "exhausted")
		return
	}
	d.attempts++ // beyond the last, which take tells from one that may be made
	d.stage = stageStarting
	s.inFlight++
	s.begun.push(d)
	s.kick()
}

// makeRoom lets the reader go on when failing events, and those that wait behind them, fill the memory, and nothing else is there to
// be leased. What waits behind one that failed, or is held for long, goes back to the log; if that is nothing, those that wait for
// their next attempt are parked. It reports whether it has changed anything.
func (s *subscription) makeRoom() bool {
	if s.ready.len() > 0 {
		return false
	}
	made := false
	long := time.Now().Add(-longLease)
	for _, l := range s.lanes {
		head := l.queue[0]
		if head.attempts <= 1 && head.stage != stageRetrying && (head.lease.hand == nil || head.began.After(long)) {
			continue
		}
		for _, d := range l.queue[1:] {
			if d.home == homeLog {
				s.spill(d)
				made = true
			}
		}
	}
	if made {
		return true
	}
	for _, d := range slices.Clone(s.retry) {
		if d.home == homeLog {
			s.park(d)
			made = true
		}
	}
	return made
}

// leases reports whether clients may hold leases, perhaps of before the subscription was sent.
func (s *subscription) leases() bool { return s.pulled() || s.leased > 0 }

// seeRoom lets the reader go on before roomAt when what is in memory waits for something: nothing is left to be leased, and room can
// perhaps be made; or nothing is left to be sent, and there is room. Housekeeping calls it, too, since leases grow long.
func (s *subscription) seeRoom() {
	if s.held >= roomAt && s.ready.len() == 0 && (s.leases() || s.full() == "") {
		s.pokeFeed()
	}
}
