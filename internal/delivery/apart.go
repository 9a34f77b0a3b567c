package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	// filterTime is how long the conditions of one subscription may take in one batch of a shared reader. Beyond it the subscription
	// reads for itself, so that its conditions delay nobody else.
	filterTime = 100 * time.Millisecond
	// apartFor is how long it does so.
	apartFor = time.Minute
)

// apart is the subscriptions that read the topic of a reader for themselves although they are caught up. The reader tells them when
// there may be more.
type apart struct {
	mu   sync.Mutex // taken last
	subs []*subscription
}

// add reports whether s was not there.
func (a *apart) add(s *subscription) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.subs, s) {
		return false
	}
	a.subs = append(a.subs, s)
	return true
}

// poke wakes all of them, and forgets those that may come back: they do so with the next event.
func (a *apart) poke() {
	a.mu.Lock()
	subs := slices.Clone(a.subs)
	a.mu.Unlock()
	for _, s := range subs {
		s.mu.Lock()
		stays := s.isApart() && !s.halted
		s.mu.Unlock()
		if !stays {
			a.remove(s)
		}
		s.pokeFeed()
	}
}

func (a *apart) remove(s *subscription) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.subs, s); i >= 0 {
		a.subs = slices.Delete(a.subs, i, i+1)
	}
}

func (s *subscription) isApart() bool { return time.Now().Before(s.apartUntil) }

// takes reports whether the shared reader p brings an event to the subscription.
func (s *subscription) takes(p *sharedPart, pt *partTrack, rec *tandem.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return pt.shared == p && rec.Position.Offset >= pt.next
}

// leaveReaders parts from all shared readers for a while. rec was the last event that p has offered.
func (s *subscription) leaveReaders(p *sharedPart, pt *partTrack, rec *tandem.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pt.shared != p {
		return
	}
	s.m.opts.Logger.Warn("delivery: the conditions of a filter take long, so the subscription reads for itself for a while",
		"subscription", s.name, "topic", pt.track.name)
	s.apartUntil = time.Now().Add(apartFor)
	s.part(pt, rec.Position.Offset+1, rec.Seq+1)
	s.detachAll()
}
