package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Delete removes a subscription with all its state and dead letters. Attempts under way are cancelled. Codes: NotFound, Conflict
// (the file owns it), Unavailable.
func (m *Manager) Delete(ctx context.Context, name string) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return err
	}
	s, err := m.find(name)
	if err != nil {
		return err
	}
	c := s.configuration()
	if c.Owner == OwnerFile && !c.Orphan {
		return ownedByFile(name)
	}
	if err := m.change(ctx, []*change{{s: s, mutate: func(c *config) { c.Deleted = true }}}); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.subs, name)
	m.mu.Unlock()
	m.reindex()
	s.abandon()
	return m.erase(ctx, name)
}

// erase removes all records of a subscription, its configuration last.
func (m *Manager) erase(ctx context.Context, name string) error {
	for {
		tx := eventlog.Tx{Fence: &m.fence}
		err := m.log.ScanState(ctx, subPrefix(name), func(key string, _ []byte) bool {
			tx.State = append(tx.State, driver.StateOp{Key: key})
			return len(tx.State) < deadChunk
		})
		if err != nil {
			return err
		}
		last := len(tx.State) < deadChunk
		if last {
			tx.State = append(tx.State, driver.StateOp{Key: configPrefix + name})
		}
		if _, err := m.log.Commit(ctx, &tx); err != nil || last {
			return tandem.Wrap("remove subscription "+name, err)
		}
	}
}

// Pause lets nothing more be sent; what is under way finishes. Codes: NotFound, Unavailable.
func (m *Manager) Pause(ctx context.Context, name string) error {
	return m.update(ctx, name, func(c *config) error { return nil }, func(c *config) { c.Paused = true })
}

// Resume undoes Pause, and lets a subscription go on that an endpoint's 410 has disabled. Codes: NotFound, Conflict (the
// subscription is orphan), Unavailable.
func (m *Manager) Resume(ctx context.Context, name string) error {
	return m.update(ctx, name, func(c *config) error {
		if c.Orphan {
			return tandem.Errorf(tandem.CodeConflict, "subscription %s is orphan: the configuration file does not name it any more", name).
				WithHint("declare it again, or delete it")
		}
		return nil
	}, func(c *config) { c.Paused, c.Disabled = false, "" })
}

func (m *Manager) update(ctx context.Context, name string, allow func(*config) error, mutate func(*config)) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return err
	}
	s, err := m.find(name)
	if err != nil {
		return err
	}
	c := s.configuration()
	if err := allow(&c); err != nil {
		return err
	}
	return m.change(ctx, []*change{{s: s, mutate: mutate}})
}

// Seek lets a subscription read on from another place, forward or back, in a new epoch: what is parked or waiting is given up,
// outcomes of attempts under way are ignored, and repeated events and their replies count as new. Dead letters stay. Codes: NotFound, Invalid
// (the place), Gone (a cursor of another log), Unavailable.
func (m *Manager) Seek(ctx context.Context, name string, to tandem.Start) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return err
	}
	s, err := m.find(name)
	if err != nil {
		return err
	}
	if !m.running {
		return tandem.Errorf(tandem.CodeUnavailable, "deliveries are not running")
	}
	c := s.configuration()
	s.hold()
	defer s.release()
	from, err := m.start(ctx, c.current(), to)
	if err != nil {
		return tandem.Wrap("seek "+name, err)
	}
	err = s.seek(ctx, from)
	m.readTopics()
	m.follow(s) // also after an error: the new epoch may have begun, and is stored later
	m.reindex()
	return tandem.Wrap("seek "+name, err)
}

// seek begins a new epoch. Even if it returns an error it takes effect as soon as the log can store it.
func (s *subscription) seek(ctx context.Context, from places) error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.flushLocked(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.config.Epoch++
	v := version{Declaration: *s.config.current(), Epoch: s.config.Epoch, From: from, At: time.Now().UTC()}
	s.config.Versions = append(slices.Clone(s.config.Versions), v)
	if n := len(s.config.Versions); n > maxVersions {
		s.config.Versions = s.config.Versions[n-maxVersions:]
	}
	s.configDirty = true
	s.forget()
	s.hurry()
	s.mu.Unlock()
	return s.flushLocked(ctx)
}

// forget gives up all that was read, with its records, but for redrives.
func (s *subscription) forget() {
	giveUp := func(d *delivery) {
		if d.stage == stageSettled || d.home == homeRedrive {
			return
		}
		s.drop(d)
		if d.index >= 0 {
			s.unretry(d)
		}
	}
	for _, a := range slices.Concat(s.answered, s.alone) {
		giveUp(a.d)
	}
	keep := func(all []answer) []answer {
		return slices.DeleteFunc(all, func(a answer) bool { return a.d.stage == stageSettled })
	}
	s.answered, s.alone = keep(s.answered), keep(s.alone)
	for _, l := range s.lanes {
		for _, d := range l.queue {
			giveUp(d)
		}
	}
	for _, d := range slices.Concat(s.retry, s.ready.all()) {
		giveUp(d)
	}
	for d := range s.parked {
		giveUp(d)
	}
	for _, t := range s.tracks {
		for i := range t.parts {
			for _, d := range slices.Clone(t.parts[i].held) {
				giveUp(d)
			}
		}
		s.dropTrack(t)
	}
	clear(s.lanes)
	s.endpoint = endpoint{} // whether the endpoint is there shows with the first attempts of the new epoch
}
