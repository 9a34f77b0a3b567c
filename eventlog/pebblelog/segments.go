package pebblelog

import (
	"slices"
	"sort"
	"sync/atomic"
)

// segments is the list of segments in order, replaced whole when it changes, so that readers take no lock. Those who
// change it, the committer and retention, hold Engine.mu.
type segments struct {
	next uint32 // newest id given; owned by the committer
	list atomic.Pointer[[]segment]
}

func (s *segments) all() []segment {
	if l := s.list.Load(); l != nil {
		return *l
	}
	return nil
}

// from returns the segments that may hold an offset or later ones.
func (s *segments) from(offset uint64) []segment {
	all := s.all()
	i := sort.Search(len(all), func(i int) bool { return all[i].First > offset })
	return all[max(i-1, 0):]
}

func (s *segments) set(list []segment) { s.list.Store(&list) }

func (e *Engine) addSegment(v segment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.segments.set(append(slices.Clone(e.segments.all()), v))
}

// replaceSegment makes it known that a segment was sealed. mu must be held.
func (e *Engine) replaceSegment(v segment) {
	list := slices.Clone(e.segments.all())
	for i := range list {
		if list[i].ID == v.ID {
			list[i] = v
		}
	}
	e.segments.set(list)
}
