package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// feed reads, for this subscription alone, the partitions in which it is behind the shared readers, and joins them where it
// has caught up. It waits while the subscription has no room or must not read.
func (s *subscription) feed() {
	ctx := context.Background()
	var batch []tandem.Record
	for {
		busy := s.loadRedrives(ctx)
		for _, pt := range s.behind() {
			more, err := s.readOn(ctx, pt, &batch)
			busy = busy || more
			if err != nil {
				s.m.opts.Logger.Warn("delivery: cannot read", "subscription", s.name, "topic", pt.track.name, "error", err)
				if !s.sleep(time.Second) {
					return
				}
			}
		}
		if busy {
			continue
		}
		select {
		case <-s.feedC:
		case <-s.done:
			return
		}
	}
}

// behind returns the partitions that no shared reader brings; none while the subscription must not read.
func (s *subscription) behind() []*partTrack {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reading() || !s.room() {
		return nil
	}
	var out []*partTrack
	for _, t := range s.tracks {
		for i := range t.parts {
			if t.parts[i].shared == nil && !s.beyond(t.topic, i, t.parts[i].next) {
				out = append(out, &t.parts[i])
			}
		}
	}
	return out
}

// readOn takes the next batch of a partition. It reports whether to go on at once.
func (s *subscription) readOn(ctx context.Context, pt *partTrack, batch *[]tandem.Record) (more bool, err error) {
	t := pt.track
	b, err := s.m.log.Bounds(ctx, t.topic, pt.part)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return false, nil // the topic was deleted; follow drops the track
	}
	if err != nil {
		return true, err
	}
	s.mu.Lock()
	epoch := s.config.Epoch
	if s.tracks[t.topic] != t {
		s.mu.Unlock()
		return false, nil
	}
	if pt.lost(&b) {
		s.expire(pt, b)
	}
	next, seq := pt.next, pt.seq
	s.mu.Unlock()
	*batch, err = s.m.log.ReadPartition(ctx, t.topic, pt.part, next, batchEvents, (*batch)[:0])
	if err != nil {
		return true, err
	}
	defer clear(*batch)
	if s.m.overtaken(ctx, t.topic, pt.part, seq, *batch) {
		return true, nil // the next round notes what was lost
	}
	if len(*batch) == 0 {
		s.mu.Lock()
		if s.config.Epoch == epoch && pt.next < b.End {
			pt.next = b.End
		}
		if s.config.Epoch == epoch {
			pt.seq = b.EndSeq
		}
		s.mu.Unlock()
		return !s.attach(pt, true), nil
	}
	for i := range *batch {
		if !s.takeIn(ctx, pt, &(*batch)[i], epoch) {
			return false, nil
		}
	}
	return !s.attach(pt, false), nil
}

// takeIn takes one event in, waiting for room. It reports whether to go on. The filter is asked without the lock, which the shared readers
// take, and once unless it changes meanwhile.
func (s *subscription) takeIn(ctx context.Context, pt *partTrack, rec *tandem.Record, epoch uint64) bool {
	judged, matches := -1, false
	for {
		s.mu.Lock()
		version := s.config.First + len(s.config.Versions)
		switch {
		case !s.reading() || s.config.Epoch != epoch || s.tracks[pt.track.topic] != pt.track:
			s.mu.Unlock()
			return false
		case rec.Position.Offset < pt.next:
			s.mu.Unlock()
			return true
		case version != judged:
			filter, ok := s.filterOf(pt.track, rec)
			s.mu.Unlock()
			judged, matches = version, ok && filter.Match(&rec.Event)
			continue
		case !matches:
			pt.next, pt.seq = rec.Position.Offset+1, rec.Seq+1
			s.mu.Unlock()
			return true
		case s.room():
			s.admit(pt, rec)
			pt.next, pt.seq = rec.Position.Offset+1, rec.Seq+1
			s.kick()
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
		select {
		case <-s.feedC:
			s.loadRedrives(ctx) // they may be what makes room
		case <-s.done:
			return false
		}
	}
}

// sleep waits, and reports false when the subscription ends.
func (s *subscription) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

// lost reports whether retention has removed events that were not read.
func (pt *partTrack) lost(b *driver.Bounds) bool {
	if pt.seq == 0 {
		return b.Removed > pt.next
	}
	return b.StartSeq > pt.seq
}

// expire records what retention removed before it was read, and goes on at what is left.
func (s *subscription) expire(pt *partTrack, b driver.Bounds) {
	count := uint64(0) // not known
	if pt.seq != 0 {
		count = b.StartSeq - pt.seq
	}
	to := max(b.Start, b.Removed)
	if u := s.config.Until; u != nil && to > u.at(pt.track.topic, pt.part) {
		to, count = u.at(pt.track.topic, pt.part), 0 // a replay loses nothing beyond its end
	}
	s.recordRange(where{pt.track.topic, pt.part, pt.next}, to, count, pt.track.name, tandem.DeliveryExpired,
		"retention removed the events before they were read")
	s.m.opts.Logger.Warn("delivery: retention overtook a subscription", "subscription", s.name, "topic", pt.track.name,
		"partition", pt.part, "events", count)
	pt.next, pt.seq = b.Start, b.StartSeq
	pt.track.dirty = true
}

// follow takes the topics that the subscription selects and drops those that are gone.
func (s *subscription) follow(topics []eventlog.TopicInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[driver.ID]bool, len(s.tracks))
	changed := false
	versions := s.versions()
	for i := range topics {
		info := &topics[i]
		for j := range versions {
			if !matchesTopic(&versions[j].Declaration, info.Name) {
				continue
			}
			there[info.ID] = true
			if s.tracks[info.ID] == nil {
				s.addTrack(info, &versions[j].From)
				changed = true
			}
			break
		}
	}
	for id, t := range s.tracks {
		if !there[id] {
			s.dropTrack(t)
			changed = true
		}
	}
	if changed {
		s.m.reindex()
		s.pokeFeed()
	}
}

// addTrack begins with a topic at from. A topic that appears later is in no place of from and has its events from its start on.
func (s *subscription) addTrack(info *eventlog.TopicInfo, from *places) *track {
	t := &track{topic: info.ID, name: info.Name, parts: make([]partTrack, info.Partitions)}
	for i := range t.parts {
		t.parts[i] = partTrack{track: t, part: i, next: from.at(info.ID, i)}
		// What retention has removed by now was never to be read; what it removes from now on is lost.
		if b, err := s.m.log.Bounds(context.Background(), t.topic, i); err == nil {
			t.parts[i].begin(&b)
		}
	}
	s.tracks[info.ID] = t
	return t
}

// begin takes the place of a track to the first event that is there.
func (pt *partTrack) begin(b *driver.Bounds) {
	switch {
	case pt.next <= b.Start:
		pt.next, pt.seq = b.Start, b.StartSeq
	case pt.next >= b.End:
		pt.seq = b.EndSeq
	}
}

// dropTrack forgets a topic that was deleted. What is in memory of it is still delivered, with a copy in place of the cursor, and what is
// parked, since that is a copy; what waits in the log expires when its turn comes.
func (s *subscription) dropTrack(t *track) {
	for i := range t.parts {
		for _, d := range slices.Clone(t.parts[i].held) {
			if d.rec != nil {
				s.unhold(d)
				s.copyOut(d)
			}
		}
		if pt := &t.parts[i]; pt.shared != nil {
			pt.shared.attached.Add(-1)
			pt.shared = nil
		}
	}
	delete(s.tracks, t.topic)
	s.put(s.key(kindAt)+topicHex(t.topic), nil)
}
