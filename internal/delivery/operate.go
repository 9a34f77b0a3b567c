package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Delete removes a subscription with all its state, dead letters and replays. Attempts under way are cancelled. Codes: NotFound, Conflict
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
	for _, replay := range m.replaysOf(name) {
		if err := m.remove(ctx, replay); err != nil {
			return err
		}
	}
	return m.remove(ctx, s)
}

// remove ends a subscription and removes what is stored of it. Called with ops held.
func (m *Manager) remove(ctx context.Context, s *subscription) error {
	if err := m.change(ctx, []*change{{s: s, mutate: func(c *config) { c.Deleted = true }}}); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.subs, s.name)
	m.mu.Unlock()
	m.reindex()
	s.abandon()
	return m.erase(ctx, s.name)
}

// eraseChunk is how many records one commit removes.
const eraseChunk = 10_000

// erase removes all records of a subscription, its configuration last.
func (m *Manager) erase(ctx context.Context, name string) error {
	err := m.eraseRecords(ctx, subPrefix(name))
	if err == nil {
		var config []byte
		if config, err = m.log.State(ctx, configPrefix+name); err == nil && config != nil {
			_, err = m.log.Commit(ctx, &eventlog.Tx{Fence: &m.fence, State: []driver.StateOp{{Key: configPrefix + name}}})
		}
	}
	return tandem.Wrap("remove subscription "+name, err)
}

// Pause lets nothing more be sent; what is under way finishes. When and by whom is kept, of the first time. Codes: NotFound, Unavailable.
func (m *Manager) Pause(ctx context.Context, name string) error {
	now, by := time.Now().UTC(), m.opts.Principal(ctx)
	return m.update(ctx, name, func(c *config) error { return nil }, func(c *config) {
		if !c.Paused {
			c.Paused, c.PausedAt, c.PausedBy = true, now, by
		}
	})
}

// Resume undoes Pause, and lets a subscription go on that an endpoint's answer has disabled. Codes: NotFound, Conflict (the
// subscription is orphan), Unavailable.
func (m *Manager) Resume(ctx context.Context, name string) error {
	return m.update(ctx, name, func(c *config) error {
		if c.Orphan {
			return tandem.Errorf(tandem.CodeConflict, "subscription %s is orphan: the configuration file does not name it any more", name).
				WithHint("declare it again, or delete it")
		}
		return nil
	}, func(c *config) {
		c.Paused, c.PausedFor, c.PausedAt, c.PausedBy = false, "", time.Time{}, ""
		c.Disabled, c.DisabledAt = "", time.Time{}
	})
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
	if err := s.isDamaged(); err != nil {
		return err
	}
	c := s.configuration()
	if err := allow(&c); err != nil {
		return err
	}
	return m.change(ctx, []*change{{s: s, mutate: mutate}})
}
