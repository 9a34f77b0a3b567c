package delivery

import (
	"github.com/tandem-hybrid/tandem"
)

// index finds the subscriptions of a topic that an event may match, by its type or source where their filters are bound to
// certain ones, so that an event costs as many evaluations as there are candidates and not as there are subscriptions.
// It is built anew when anything changes and is otherwise read-only.
type index struct {
	byType, bySource map[string][]*entry
	rest             []*entry // filters that bind neither
	changes          uint64   // reader.changes when it was begun
}

// entry is one version of a subscription's filter, for one topic.
type entry struct {
	s      *subscription
	track  *track
	filter tandem.Filter
	from   *places
	until  *places // from of the next version; nil for the last
}

func (r *reader) buildIndex(changes uint64) *index {
	ix := &index{byType: map[string][]*entry{}, bySource: map[string][]*entry{}, changes: changes}
	for _, s := range r.m.sorted() {
		for _, e := range s.entries(r) {
			ix.add(e)
		}
	}
	return ix
}

func (ix *index) add(e *entry) {
	if types, ok := e.filter.Exact("type"); ok {
		for _, t := range types {
			ix.byType[t] = append(ix.byType[t], e)
		}
		return
	}
	if sources, ok := e.filter.Exact("source"); ok {
		for _, t := range sources {
			ix.bySource[t] = append(ix.bySource[t], e)
		}
		return
	}
	ix.rest = append(ix.rest, e)
}

// offer gives an event to every subscription that it matches and that is attached to p.
func (ix *index) offer(p *sharedPart, rec *tandem.Record) {
	for _, e := range ix.byType[rec.Type] {
		e.offer(p, rec)
	}
	for _, e := range ix.bySource[rec.Source] {
		e.offer(p, rec)
	}
	for _, e := range ix.rest {
		e.offer(p, rec)
	}
}

func (e *entry) offer(p *sharedPart, rec *tandem.Record) {
	part, offset := rec.Position.Partition, rec.Position.Offset
	if offset < e.from.at(e.track.topic, part) || e.until != nil && offset >= e.until.at(e.track.topic, part) {
		return
	}
	if e.filter.Match(&rec.Event) {
		e.s.offer(p, &e.track.parts[part], rec)
	}
}

// entries returns the versions of the filter that may still hold for events to come.
func (s *subscription) entries(r *reader) []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[r.topic]
	if t == nil {
		return nil
	}
	var out []*entry
	versions := s.versions()
	for i := range versions {
		v := &versions[i]
		e := &entry{s: s, track: t, filter: v.Declaration.Filter, from: &v.From}
		if i+1 < len(versions) {
			e.until = &versions[i+1].From
			if s.isPast(t, e.until) {
				continue
			}
		}
		if matchesTopic(&v.Declaration, t.name) {
			out = append(out, e)
		}
	}
	return out
}

// versions returns those of the current epoch.
func (s *subscription) versions() []version {
	all := s.config.Versions
	for len(all) > 1 && all[0].Epoch != s.config.Epoch {
		all = all[1:]
	}
	return all
}

// isPast reports whether all partitions of a track have been read up to p.
func (s *subscription) isPast(t *track, p *places) bool {
	for i := range t.parts {
		if next, _ := t.parts[i].place(); next < p.at(t.topic, i) {
			return false
		}
	}
	return true
}

// matches reports whether an event that the subscription reads for itself is for it.
func (s *subscription) matches(t *track, rec *tandem.Record) bool {
	versions := s.versions()
	for i := len(versions) - 1; i >= 0; i-- {
		v := &versions[i]
		if rec.Position.Offset >= v.From.at(t.topic, rec.Position.Partition) {
			return matchesTopic(&v.Declaration, t.name) && v.Declaration.Filter.Match(&rec.Event)
		}
	}
	return false
}
