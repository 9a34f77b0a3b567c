package delivery

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	// maxReplays is how many replays a subscription may have, with those that have ended and are not removed yet.
	maxReplays = 8
	// replayKept is how long a replay is kept after its end.
	replayKept = 24 * time.Hour
)

// Replay delivers stored events of a subscription again, in a temporary one beside it, NAME.replay-N, which it returns: with a cursor, retries,
// dead letters and an order of its own, so that the live one is not touched, and with replies that count as new. It reads what the present
// topics and filter select from ask.From up to ask.To, and ends when all of that has its outcome; a day later it is removed, unless it
// has dead letters. Codes: NotFound, Invalid, Gone (a cursor of another log), Conflict (a replay of a replay, or too many), Unavailable.
func (m *Manager) Replay(ctx context.Context, name string, ask tandem.ReplayRequest) (tandem.Subscription, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return tandem.Subscription{}, err
	}
	live, err := m.find(name)
	if err != nil {
		return tandem.Subscription{}, err
	}
	if !m.running {
		return tandem.Subscription{}, notRunning()
	}
	if err := live.isDamaged(); err != nil {
		return tandem.Subscription{}, err
	}
	c := live.configuration()
	if c.Until != nil {
		return tandem.Subscription{}, tandem.Errorf(tandem.CodeConflict, "subscription %s is a replay itself", name).
			WithHint("replay %s", c.current().Replay.Of)
	}
	n, err := m.replayNumber(name, c.Replays)
	if err != nil {
		return tandem.Subscription{}, err
	}
	if len(replayName(name, n)) > tandem.MaxTopicNameBytes {
		return tandem.Subscription{}, tandem.Errorf(tandem.CodeInvalid, "the name of subscription %s leaves no room for that of a replay: %s would be over %d bytes",
			name, replayName(name, n), tandem.MaxTopicNameBytes).WithHint("declare it under a shorter name")
	}
	of, err := m.replayConfig(ctx, &c, n, &ask)
	if err != nil {
		return tandem.Subscription{}, tandem.Wrap("replay "+name, err)
	}
	decl := of.current()
	if err := m.erase(ctx, decl.Name); err != nil { // what is left of one that was deleted
		return tandem.Subscription{}, err
	}
	err = m.change(ctx, []*change{
		{s: live, mutate: func(c *config) { c.Replays = n }},
		{s: newSubscription(m, decl.Name, of), created: true},
	})
	return *decl, tandem.Wrap("replay "+name, err)
}

// replayNumber returns the number of the next replay. Code: Conflict, when there are too many.
func (m *Manager) replayNumber(name string, last int) (int, error) {
	all := m.replaysOf(name)
	if len(all) >= maxReplays {
		return 0, tandem.Errorf(tandem.CodeConflict, "subscription %s has %d replays", name, len(all)).
			WithHint("delete one that is not needed, such as %s", all[0].name)
	}
	last++
	for m.has(replayName(name, last)) {
		last++
	}
	return last, nil
}

func replayName(name string, n int) string { return name + ".replay-" + strconv.Itoa(n) }

// replaysOf returns the replays of a subscription.
func (m *Manager) replaysOf(name string) (all []*subscription) {
	for _, s := range m.sorted() {
		if !strings.HasPrefix(s.name, name+".replay-") {
			continue
		}
		if c := s.configuration(); c.Until != nil && c.current().Replay.Of == name {
			all = append(all, s)
		}
	}
	return all
}

// replayConfig returns the configuration of the n-th replay of the subscription that live configures.
func (m *Manager) replayConfig(ctx context.Context, live *config, n int, ask *tandem.ReplayRequest) (config, error) {
	now := time.Now().UTC()
	bad := tandem.Errorf(tandem.CodeInvalid, "the replay is invalid")
	if ask.From == (tandem.Start{}) {
		bad.WithField("/from", "must be earliest, a time or a cursor: there is nothing after latest to replay")
	}
	if from, ok := tandem.ParseTime(ask.From.Time); ok && from.After(now) {
		bad.WithField("/from", "must not be in the future: a replay ends with what is stored when it begins")
	}
	var to time.Time
	if ask.To != "" {
		var ok bool
		if to, ok = tandem.ParseTime(ask.To); !ok {
			bad.WithField("/to", "%q is not an RFC 3339 time", ask.To)
		} else if to.After(now) {
			bad.WithField("/to", "must not be in the future: a replay ends with what is stored when it begins")
		} else if from, ok := tandem.ParseTime(ask.From.Time); ok && !to.After(from) {
			bad.WithField("/to", "must be after from")
		}
	}
	sub := *live.current()
	m.bindFilter(bad, "/filter", &ask.Filter)
	var err error
	if sub.Filter, err = tandem.AllOf(sub.Filter, ask.Filter); err != nil {
		bad.WithField("/filter", "is too large beside that of the subscription")
	}
	if len(bad.Fields) > 0 {
		return config{}, bad
	}
	sub.Replay = &tandem.Replay{Of: sub.Name, To: ask.To, EvenIfSeen: ask.EvenIfSeen, Number: n, Epoch: live.Epoch, Began: now.Format(time.RFC3339Nano)}
	sub.Name = replayName(sub.Name, n)
	if sub.From = ask.From.Time; ask.From.Earliest {
		sub.From = "earliest"
	}
	if ask.Rate != 0 {
		sub.Rate = ask.Rate
	}
	if err := m.check(&sub, true); err != nil {
		return config{}, err
	}
	c := config{Version: formatVersion, Owner: OwnerAPI, Born: now.UnixNano(), Trusted: live.Owner != OwnerAPI}
	v := version{Declaration: sub, At: now}
	if v.From, err = m.start(ctx, &sub, ask.From); err != nil {
		return config{}, err
	}
	until, err := m.placesOf(ctx, &sub, func(b driver.Bounds, id driver.ID, part int) (uint64, error) {
		if to.IsZero() {
			return b.End, nil
		}
		return m.log.OffsetAt(ctx, id, part, to)
	})
	c.Until, c.Versions = &until, []version{v}
	return c, err
}

// isReplay refuses to change what a replay is. Code: Conflict.
func (c *config) isReplay(name string) error {
	if c.Until == nil {
		return nil
	}
	return tandem.Errorf(tandem.CodeConflict, "subscription %s is a replay of %s and cannot be changed", name, c.current().Replay.Of).
		WithHint("delete it, and begin another replay")
}

// beyond reports whether a place lies after what a replay reads; never for another subscription.
func (s *subscription) beyond(topic driver.ID, part int, offset uint64) bool {
	return s.config.Until != nil && offset >= s.config.Until.at(topic, part)
}

// rangeRead reports whether a replay has read its range of a partition, and whether the subscription is one.
func (s *subscription) rangeRead(pt *partTrack) (over, replay bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config.Until == nil {
		return false, false
	}
	over = s.beyond(pt.track.topic, pt.part, pt.next)
	if over {
		s.poke() // it may be the end
	}
	return over, true
}

// mayEnd reports whether all in the range of a replay has its outcome, unless the log refuses a reply that is being stored.
func (s *subscription) mayEnd() bool {
	if s.config.Until == nil || !s.config.Ended.IsZero() || s.held+len(s.parked)+s.waiting+len(s.answered)+len(s.alone) > 0 {
		return false
	}
	for _, t := range s.tracks {
		for i := range t.parts {
			if !s.beyond(t.topic, i, t.parts[i].next) {
				return false
			}
		}
	}
	return true
}

// endReplay notes the end of a replay when it is there.
func (s *subscription) endReplay() {
	if !s.mayEnd() {
		return
	}
	if !s.commitMu.TryLock() { // a group is being stored, maybe not by the loop
		if s.lookAt.IsZero() {
			s.lookAt = time.Now().Add(groupTime)
		}
		return
	}
	defer s.commitMu.Unlock()
	if s.stuck != nil {
		return
	}
	s.config.Ended = time.Now().UTC()
	s.configDirty = true
	s.hurry()
	s.m.opts.Logger.Info("delivery: a replay has ended", "subscription", s.name, "dead", s.copies.dead)
}

// removeEnded removes replays that ended long ago and have no dead letters.
func (m *Manager) removeEnded(now time.Time) {
	if !m.ops.TryLock() {
		return // later: Stop waits for the caller with it
	}
	defer m.ops.Unlock()
	if !m.running {
		return
	}
	for _, s := range m.sorted() {
		s.mu.Lock()
		over := !s.config.Ended.IsZero() && now.Sub(s.config.Ended) >= replayKept && s.copies.dead == 0
		s.mu.Unlock()
		if !over {
			continue
		}
		if err := m.remove(m.ctx, s); err != nil {
			m.opts.Logger.Warn("delivery: a replay that has ended cannot be removed", "subscription", s.name, "error", err)
			return
		}
	}
}

// sender is the name that deliveries are made under: that of the live subscription for a replay.
func (j *job) sender() string {
	if r := j.decl.Replay; r != nil {
		return r.Of
	}
	return j.name
}

// replay is the number of the replay that a delivery belongs to, zero for none.
func (j *job) replay() int {
	if r := j.decl.Replay; r != nil {
		return r.Number
	}
	return 0
}

// epochs returns what tells the ids of deliveries and of replies from those of other epochs. A replay delivers in the epoch that it found, so
// that a receiver knows the ids of what it has seen, unless it is to take the events even so; its replies are always new.
func (j *job) epochs() (deliveries, replies string) {
	own := epochText(j.d.epoch)
	r := j.decl.Replay
	if r == nil {
		return own, own
	}
	own = "replay " + r.Began
	if r.EvenIfSeen {
		return own, own
	}
	return epochText(r.Epoch), own
}
