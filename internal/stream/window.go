package stream

import (
	"hash/maphash"
	"math"

	"github.com/tandem-hybrid/tandem"
)

// maxCredit is the most that a client may let come without an acknowledgement.
const maxCredit = 10_000

// window is the flow control of a client that has it: it is sent so many events, and then no more until it gives credit or acknowledges.
// Guarded by member.mu.
type window struct {
	seed    maphash.Seed
	credit  int
	pending []uint64 // hashes of the cursors that were sent and not acknowledged, in order
}

func newWindow(credit int) *window { return &window{seed: maphash.MakeSeed(), credit: credit} }

// room is how many events may be sent.
func (m *member) room() int {
	if m.window == nil {
		return math.MaxInt
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.window.credit
}

// spend takes what is sent off the credit.
func (m *member) spend(places []tandem.Cursor) {
	if m.window == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.window
	w.credit -= len(places)
	for _, p := range places {
		w.pending = append(w.pending, maphash.String(w.seed, string(p)))
	}
	if over := len(w.pending) - maxCredit; over > 0 { // of a client that gives credit and never acknowledges
		w.pending = append(w.pending[:0], w.pending[over:]...)
	}
}

// allow adds credit. It reports false beyond the bound.
func (m *member) allow(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.window == nil || n < 1 || n > maxCredit || m.window.credit+n > maxCredit {
		return false
	}
	m.window.credit += n
	m.wakeLocked()
	return true
}

// acknowledge gives back the credit of all events up to a cursor. A cursor that was not sent, or was acknowledged, changes nothing.
func (m *member) acknowledge(c tandem.Cursor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = c
	w := m.window
	if w == nil {
		return
	}
	sum := maphash.String(w.seed, string(c))
	for i, p := range w.pending {
		if p == sum {
			w.credit = min(maxCredit, w.credit+i+1)
			if w.pending = append(w.pending[:0], w.pending[i+1:]...); len(w.pending) == 0 {
				w.pending = nil
			}
			m.wakeLocked()
			return
		}
	}
}
