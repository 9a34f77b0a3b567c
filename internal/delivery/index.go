package delivery

import (
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/match"
)

// index finds the subscriptions of a topic that an event may match. It is built anew when anything changes and is otherwise read-only.
type index struct {
	entries match.Index[*entry]
	changes uint64 // reader.changes when it was begun
	batch   uint64 // counts the batches that were offered
}

// entry is one version of a subscription's filter, for one topic.
type entry struct {
	s      *subscription
	track  *track
	filter tandem.Filter
	from   *places
	until  *places // from of the next version; nil for the last

	taken  bool          // of mode request: what it took before it was stored is not for it
	costly bool          // the filter has conditions
	batch  uint64        // of the reader, that spent is of
	spent  time.Duration // on the filter
}

func (r *reader) buildIndex(changes uint64) *index {
	var all []*entry
	for _, s := range r.m.sorted() {
		all = append(all, s.entries(r)...)
	}
	ix := newIndex(all)
	ix.changes = changes
	return ix
}

func newIndex(all []*entry) *index {
	ix := &index{}
	for _, e := range all {
		ix.entries.Add(e.filter, e)
	}
	return ix
}

// offer gives an event to every subscription that it matches and that is attached to p.
func (ix *index) offer(p *sharedPart, rec *tandem.Record) {
	ix.entries.Candidates(&rec.Event, func(e *entry) { e.offer(p, rec, ix.batch) })
}

// took reports whether an event was sent to it before the event was stored.
func (s *subscription) took(rec *tandem.Record) bool { return chain.Took(rec, s.name, s.birth) }

func (e *entry) offer(p *sharedPart, rec *tandem.Record, batch uint64) {
	part, offset := rec.Position.Partition, rec.Position.Offset
	if offset < e.from.at(e.track.topic, part) || e.until != nil && offset >= e.until.at(e.track.topic, part) {
		return
	}
	if e.taken && e.s.took(rec) {
		return
	}
	pt := &e.track.parts[part]
	if e.costly {
		e.offerCostly(p, pt, rec, batch)
	} else if e.filter.Match(&rec.Event) {
		e.s.offer(p, pt, rec)
	}
}

// offerCostly lets a subscription part whose conditions take too long for all that share the reader.
func (e *entry) offerCostly(p *sharedPart, pt *partTrack, rec *tandem.Record, batch uint64) {
	if !e.s.takes(p, pt, rec) {
		return
	}
	if e.batch != batch {
		e.batch, e.spent = batch, 0
	}
	begun := time.Now()
	matches := e.filter.Match(&rec.Event)
	e.spent += time.Since(begun)
	if matches {
		e.s.offer(p, pt, rec)
	}
	if e.spent > filterTime {
		e.s.leaveReaders(p, pt, rec)
	}
}

// entries returns the versions of the filter that may still hold for events to come.
func (s *subscription) entries(r *reader) []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[r.topic]
	if t == nil || s.config.Until != nil { // a replay reads for itself
		return nil
	}
	var out []*entry
	versions := s.versions()
	for i := range versions {
		v := &versions[i]
		e := &entry{s: s, track: t, filter: v.Declaration.Filter, from: &v.From, taken: isRequest(&v.Declaration),
			costly: v.Declaration.Filter.Conditional()}
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

// filterOf returns the filter that judges an event that the subscription reads for itself, ok is false if nothing of its kind is for it.
func (s *subscription) filterOf(t *track, rec *tandem.Record) (f tandem.Filter, ok bool) {
	if s.beyond(t.topic, rec.Position.Partition, rec.Position.Offset) {
		return tandem.Filter{}, false
	}
	versions := s.versions()
	for i := len(versions) - 1; i >= 0; i-- {
		v := &versions[i]
		if rec.Position.Offset >= v.From.at(t.topic, rec.Position.Partition) {
			return v.Declaration.Filter, matchesTopic(&v.Declaration, t.name) && !(isRequest(&v.Declaration) && s.took(rec))
		}
	}
	return tandem.Filter{}, false
}
