package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Get returns a declaration, its ETag and its owner. Code: NotFound.
func (m *Manager) Get(name string) (sub tandem.Subscription, etag, owner string, err error) {
	s, err := m.find(name)
	if err != nil {
		return tandem.Subscription{}, "", "", err
	}
	c := s.configuration()
	if owner = c.Owner; c.Orphan {
		owner = OwnerOrphan
	}
	return *c.current(), c.etag(), owner, nil
}

// List returns the declarations of all subscriptions, by name.
func (m *Manager) List() []tandem.Subscription {
	all := m.sorted()
	out := make([]tandem.Subscription, len(all))
	for i, s := range all {
		c := s.configuration()
		out[i] = *c.current()
	}
	return out
}

// Status returns what a subscription is doing. It reads at most one event of each partition that the subscription is behind in. Code: NotFound.
func (m *Manager) Status(ctx context.Context, name string) (tandem.SubscriptionStatus, error) {
	s, err := m.find(name)
	if err != nil {
		return tandem.SubscriptionStatus{}, err
	}
	st, first, reads := m.statusOf(ctx, s)
	if sub, _, _, err := m.Get(name); err == nil && reads {
		st.Cursor = m.cursorAt(ctx, &sub, first)
	}
	return st, nil
}

// statusOf returns the status without the cursor: first is the place that it is before, if the subscription reads anything.
func (m *Manager) statusOf(ctx context.Context, s *subscription) (st tandem.SubscriptionStatus, first uint64, reads bool) {
	st, unread, oldest := s.status()
	for i, u := range unread {
		b, err := m.log.Bounds(ctx, u.topic, u.part)
		if err != nil {
			continue // deleted meanwhile
		}
		if i == 0 || u.cursor < first {
			first = u.cursor
		}
		if u.until > 0 {
			st.Lag += m.unreadOf(ctx, u, &oldest)
			continue
		}
		seq := max(u.seq, b.StartSeq)
		if u.next >= b.End || seq >= b.EndSeq {
			continue
		}
		if recs, err := m.log.ReadPartition(ctx, u.topic, u.part, u.next, 1, nil); err == nil && len(recs) > 0 {
			seq = max(seq, recs[0].Seq)
			if at := recs[0].Meta.Accepted; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
		st.Lag += b.EndSeq - seq
	}
	if !oldest.IsZero() {
		st.OldestUnacknowledged = oldest.UTC().Format(time.RFC3339Nano)
		st.LagSeconds = max(0, time.Since(oldest).Seconds())
	}
	return st, first, len(unread) > 0
}

// ahead is where a subscription is in a partition.
type ahead struct {
	where
	next, seq, cursor uint64
	until             uint64 // where a replay ends, else zero
}

// unreadOf counts what a replay has not read of a partition.
func (m *Manager) unreadOf(ctx context.Context, u ahead, oldest *time.Time) uint64 {
	n, err := m.stored(ctx, u.topic, u.part, u.next, u.until)
	if err != nil || n == 0 {
		return 0
	}
	if recs, err := m.log.ReadPartition(ctx, u.topic, u.part, u.next, 1, nil); err == nil && len(recs) > 0 {
		if at := recs[0].Meta.Accepted; oldest.IsZero() || at.Before(*oldest) {
			*oldest = at
		}
	}
	return n
}

// status returns what is known without reading: unread events are counted by the caller. oldest is the age of what is held.
func (s *subscription) status() (st tandem.SubscriptionStatus, places []ahead, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st = tandem.SubscriptionStatus{Name: s.name, InFlight: s.sending + s.leased, Retrying: len(s.retry), ParkedKeys: len(s.parked), Waiting: s.waiting,
		Dead: s.copies.dead, Redriving: s.copies.redriving, Delivered: s.delivered, Failed: s.failures}
	st.State, st.Reason = s.state()
	st.Expired = s.ledger.expired()
	st.Lag = uint64(s.held + len(s.parked) + s.waiting)
	older := func(d *delivery) {
		if d.stage != stageSettled && d.home != homeRedrive && (oldest.IsZero() || d.accepted.Before(oldest)) {
			oldest = d.accepted
		}
	}
	for _, l := range s.lanes {
		older(l.queue[0])
	}
	for _, d := range s.retry {
		older(d)
	}
	for _, t := range s.tracks {
		for i := range t.parts {
			pt := &t.parts[i]
			if len(pt.held) > 0 {
				older(pt.held[0])
			}
			next, seq := pt.place()
			place := ahead{where{t.topic, i, next}, next, seq, pt.cursor(), 0}
			if s.config.Until != nil {
				if place.until = s.config.Until.at(t.topic, i); place.cursor >= place.until {
					continue
				}
			}
			places = append(places, place)
		}
	}
	return st, places, oldest
}

func (s *subscription) state() (state, reason string) {
	switch {
	case s.damaged != "":
		return "damaged", s.damaged
	case s.lost:
		return "disabled", "another process has taken the subscription over"
	case s.config.Orphan:
		return "orphan", "the configuration file does not name it any more"
	case s.config.Disabled != "":
		return "disabled", s.config.Disabled
	case s.config.Paused:
		if s.config.PausedFor != "" {
			return "paused", s.config.PausedFor
		}
		return "paused", "by request"
	case !s.config.Ended.IsZero() && s.copies.dead > 0:
		return "ended", "all events of its range have an outcome; it is kept for its dead letters"
	case !s.config.Ended.IsZero():
		return "ended", "all events of its range have an outcome"
	case s.storeFails:
		return "failing", "outcomes cannot be stored"
	case s.endpoint.failing:
		return "failing", s.endpoint.reason
	}
	if why := s.full(); why != "" && why != inMemory {
		return "capped", "no further events are read: the limit of " + why + " is reached"
	}
	return "running", ""
}

// cursorAt returns the cursor before an offset, "" where the engine has no single number for it.
func (m *Manager) cursorAt(ctx context.Context, sub *tandem.Subscription, offset uint64) tandem.Cursor {
	if !m.log.Info().TotalOrder || offset == 0 {
		return ""
	}
	sel, err := eventlog.Select(sub.Topics...)
	if err != nil {
		return ""
	}
	r, err := m.log.NewReader(ctx, sel, tandem.Start{})
	if err != nil {
		return ""
	}
	defer r.Close()
	return r.CursorAfter(&tandem.Record{Position: tandem.Position{Offset: offset - 1}})
}
