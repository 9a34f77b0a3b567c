package delivery

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// A subscription with a record that cannot be read does not run, and says so; all others do. It is not declared anew by itself, since it would
// begin somewhere else than where it was.

// unreadable returns a subscription whose configuration cannot be used. c has what could be read of it.
func unreadable(m *Manager, name string, c config, err error) *subscription {
	if len(c.Versions) == 0 {
		c = config{Version: formatVersion, Versions: []version{{Declaration: tandem.Subscription{Name: name}}}}
	}
	s := newSubscription(m, name, c)
	s.damage("its configuration cannot be used: " + tandem.ProblemOf(err).Detail)
	return s
}

// damage notes why the subscription cannot run. Called without mu.
func (s *subscription) damage(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = why
	s.m.opts.Logger.Error("delivery: a subscription cannot run", "subscription", s.name, "reason", why)
}

// isDamaged refuses what needs the records of a damaged subscription. Code: Conflict.
func (s *subscription) isDamaged() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damaged == "" {
		return nil
	}
	return tandem.Errorf(tandem.CodeConflict, "subscription %s is damaged: %s", s.name, s.damaged).
		WithHint("seek it to the place where it is to go on, or delete it and declare it again")
}

// loadOrDamage brings a subscription back. A record that cannot be read makes it a damaged one.
func (s *subscription) loadOrDamage(ctx context.Context) (damaged bool, err error) {
	s.mu.Lock()
	damaged = s.damaged != ""
	s.mu.Unlock()
	if damaged {
		return true, nil
	}
	if err = s.load(ctx); !errors.Is(err, errFormat) {
		return false, err
	}
	s.damage(err.Error())
	return true, nil
}

// seekDamaged mends a subscription by a seek, or returns why it is damaged if nothing but a new declaration could.
func (m *Manager) seekDamaged(ctx context.Context, s *subscription, c *config, to tandem.Start, dryRun bool, why error) error {
	if c.Owner == "" || m.bindConfig(c) != nil {
		return why
	}
	from, err := m.start(ctx, c.current(), to)
	if err == nil && !dryRun {
		err = m.mend(ctx, s, c, from)
	}
	return tandem.Wrap("seek "+s.name, err)
}

// mend lets a damaged subscription whose configuration is whole go on from a place: its records are given up but for its dead letters.
// Called with ops held.
func (m *Manager) mend(ctx context.Context, s *subscription, c *config, from places) error {
	copies, err := s.countCopies(ctx)
	if err != nil {
		return err
	}
	for _, kind := range []string{kindAt, kindTried, kindParked, kindWaiting, keyRun, keyTally, keyRate} {
		if err := m.eraseRecords(ctx, s.key(kind)); err != nil {
			return err
		}
	}
	c.Epoch++
	c.Versions = append(c.Versions, version{Declaration: *c.current(), Epoch: c.Epoch, From: from, At: time.Now().UTC()})
	tx := eventlog.Tx{Fence: &m.fence}
	if over := len(c.Versions) - maxVersions; over > 0 {
		tx.State = s.keepVersions(c, over)
		c.Versions = c.Versions[over:]
		c.First += over
	}
	tx.State = append(tx.State, driver.StateOp{Key: configPrefix + s.name, Value: jsonValue(c)},
		driver.StateOp{Key: s.key(keyTally), Value: copies.append(nil)})
	fresh := newSubscription(m, s.name, *c)
	if _, err := m.log.Commit(ctx, &tx); err != nil {
		return err
	}
	m.mu.Lock()
	m.subs[s.name] = fresh
	m.mu.Unlock()
	s.abandon()
	return m.runAll(context.WithoutCancel(ctx), []*subscription{fresh})
}

// countCopies counts the dead letters that there are.
func (s *subscription) countCopies(ctx context.Context) (t tally, err error) {
	for _, kind := range []string{kindDead, kindRedrive, kindPaced} {
		err = errors.Join(err, s.m.log.ScanState(ctx, s.key(kind), func(_ string, value []byte) bool {
			if kind == kindDead {
				t.dead++
				t.bytes += int64(len(value))
			} else {
				t.redriving++
			}
			return true
		}))
	}
	return t, err
}

// eraseRecords removes the state records of a prefix.
func (m *Manager) eraseRecords(ctx context.Context, prefix string) error {
	for from := prefix; ; {
		var keys []string
		err := m.log.ScanStateFrom(ctx, prefix, from, func(key string, _ []byte) bool {
			keys = append(keys, strings.Clone(key))
			return len(keys) < eraseChunk
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		tx := eventlog.Tx{Fence: &m.fence}
		for _, key := range keys {
			tx.State = append(tx.State, driver.StateOp{Key: key})
		}
		if _, err := m.log.Commit(ctx, &tx); err != nil || len(keys) < eraseChunk {
			return err
		}
		from = keys[len(keys)-1] // so that what is removed is not passed over again
	}
}
