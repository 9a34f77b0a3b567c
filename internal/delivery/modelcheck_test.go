package delivery

import (
	"math"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func (m *model) hook(id string, epoch int) string {
	return "msg_" + tandem.DerivedID("s", "orders", "/test", id, strconv.Itoa(epoch))
}

func (m *model) check() {
	epochs := len(m.seeks)
	if m.kind != modelUnordered {
		m.checkOrder(epochs)
	}
	most := modelAttempts + len(m.crashes)
	if m.sub.Exhausted == tandem.ExhaustedPause {
		most = math.MaxInt
	}
	m.checkRate()
	m.checkReplays(most)
	dead := map[string]bool{}
	for _, l := range m.lettersOf("s") {
		dead[l.Event.ID] = true
		if l.Attempts > most {
			m.t.Errorf("%s is dead after %d attempts", l.Event.ID, l.Attempts)
		}
	}
	stored := m.replies()
	for _, id := range m.order {
		ok, maybe, replied := false, false, false
		var done, until time.Time
		hook := m.hook(id, epochs)
		for _, s := range m.sent {
			if s.event != id {
				continue
			}
			if s.attempt > most {
				m.t.Errorf("attempt %d of %s", s.attempt, id)
			}
			if s.hook != hook {
				continue
			}
			if s.from.Before(until) && !m.redriven[id] {
				m.t.Errorf("%s was sent at %v while it was being sent until %v", id, s.from, until)
			}
			until = s.to
			if ok && s.from.After(done) && !m.crashedSince(done) && !m.redriven[id] {
				m.t.Errorf("%s was sent again at %v though it was delivered at %v", id, s.from, done)
			}
			if s.ok {
				ok, done, replied = true, s.done, s.replied // an endpoint may answer a repeat in a batch without replies
			}
			maybe = maybe || s.maybe
		}
		if !ok && !maybe && !dead[id] && !m.discarded[id] {
			m.t.Errorf("%s has no outcome", id)
		}
		rid := tandem.DerivedID("orders", "/test", id, "s", strconv.Itoa(epochs), "0")
		if replied && !dead[id] && !m.discarded[id] && stored[rid] != 1 {
			m.t.Errorf("the reply to %s is stored %d times", id, stored[rid])
		}
	}
	for id, n := range stored {
		if n != 1 {
			m.t.Errorf("reply %s is stored %d times", id, n)
		}
	}
}

// crashedSince reports whether a process ended so soon after t that what was done then may not have been stored.
func (m *model) crashedSince(t time.Time) bool {
	if m.kind == modelPull {
		return false // an acknowledgement is answered when it is stored
	}
	for _, c := range m.crashes {
		if d := c.Sub(t); d >= -m.b.late() && d <= 20*time.Millisecond+m.b.late() { // in real time an end takes a while
			return true
		}
	}
	return false
}

func (m *model) sameProcess(a, b time.Time) bool {
	for _, c := range m.ends {
		if !c.Before(a) && !c.After(b) {
			return false
		}
	}
	return true
}

// checkReplays checks that each replay brought what was stored when it began, in order of the keys, and nothing else.
func (m *model) checkReplays(most int) {
	for i, r := range m.replays {
		taken, last := map[string]bool{}, map[string]int{}
		for _, s := range m.again {
			if s.replay != i+1 {
				continue
			}
			e := m.events[s.event]
			if e.index >= r.upto {
				m.t.Errorf("%s got event %d, which was stored after %d", r.name, e.index, r.upto)
			}
			if m.kind != modelUnordered && s.key != "" && s.attempt == 1 && e.index < last[s.key] && !taken[s.event] && len(m.ends) == 0 {
				m.t.Errorf("%s: %s was first sent after event %d of its key", r.name, s.event, last[s.key])
			}
			last[s.key] = max(last[s.key], e.index)
			if s.attempt > most {
				m.t.Errorf("%s: attempt %d of %s", r.name, s.attempt, s.event)
			}
			taken[s.event] = taken[s.event] || s.ok || s.maybe
		}
		for _, l := range m.lettersOf(r.name) {
			taken[l.Event.ID] = true
		}
		for _, id := range m.order[:r.upto] {
			if !taken[id] {
				m.t.Errorf("%s: %s has no outcome", r.name, id)
			}
		}
	}
}

// checkRate checks that no second has more attempts than the rate allows, with what may run ahead, and what a process forgets at its
// end.
func (m *model) checkRate() {
	rate := m.sub.Rate
	if rate == 0 {
		return
	}
	most := rate + rate*rateSlack.Seconds() + float64(m.sub.BatchSize) + 1 + rate*m.b.late().Seconds()
	for i, j := 0, 0; j < len(m.sent); j++ {
		for m.sent[j].from.Sub(m.sent[i].from) >= time.Second {
			i++
		}
		if n := j - i + 1; float64(n) > most && m.sameProcess(m.sent[i].from, m.sent[j].from) {
			m.t.Errorf("%d attempts in the second before %v, the rate is %v", n, m.sent[j].from, rate)
			return
		}
	}
}

// checkOrder checks promise 2 for each epoch.
func (m *model) checkOrder(epochs int) {
	for epoch := 0; epoch <= epochs; epoch++ {
		last, until := map[string]int{}, map[string]time.Time{}
		run, ran := map[string]int{}, map[string]time.Time{}
		seen := map[string]bool{}
		for _, s := range m.sent {
			if s.key == "" || s.hook != m.hook(s.event, epoch) || m.redriven[s.event] {
				continue
			}
			if s.from.Before(until[s.key]) {
				m.t.Errorf("epoch %d: two events of key %s at once, at %v", epoch, s.key, s.from)
			}
			until[s.key] = s.to
			// While a process lives, an event that was followed by a later one of its key is not sent again.
			if n := m.events[s.event].index; run[s.key] > n && m.sameProcess(ran[s.key], s.from) {
				m.t.Errorf("epoch %d: %s was sent after event %d of its key", epoch, s.event, run[s.key])
			} else {
				run[s.key], ran[s.key] = n, s.from
			}
			if seen[s.event] {
				continue
			}
			seen[s.event] = true
			if n := m.events[s.event].index; n < last[s.key] {
				m.t.Errorf("epoch %d: %s was first sent after event %d of its key", epoch, s.event, last[s.key])
			} else {
				last[s.key] = n
			}
		}
	}
}

// replies counts the stored replies by id.
func (m *model) replies() map[string]int {
	out := map[string]int{}
	info, err := m.b.log.Topic(m.b.ctx, "replies")
	if err != nil {
		m.t.Fatal(err)
	}
	for p := range info.Partitions {
		for from := uint64(0); ; {
			recs, err := m.b.log.ReadPartition(m.b.ctx, info.ID, p, from, 1<<20, nil)
			if err != nil {
				m.t.Fatal(err)
			}
			if len(recs) == 0 {
				break
			}
			for _, r := range recs {
				out[r.ID]++
			}
			from = recs[len(recs)-1].Position.Offset + 1
		}
	}
	m.b.idle()
	return out
}
