package delivery

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Apply makes what the file declares so: all of it or, on an error, nothing. New subscriptions begin at their From; those that
// the file no longer names are paused and marked orphan; one that the API created becomes the file's; a changed filter or list of topics holds
// from the next event, the rest at once. Codes: Invalid, Unsupported, Unavailable.
func (m *Manager) Apply(ctx context.Context, declared []tandem.Subscription) error {
	if err := m.Check(declared); err != nil {
		return err
	}
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return err
	}
	changes, err := m.declareAll(ctx, declared)
	if err != nil {
		return err
	}
	now, named := time.Now().UTC(), map[string]bool{}
	order := make(map[string]int, len(declared))
	for i := range declared {
		named[declared[i].Name] = true
		order[declared[i].Name] = i
	}
	for _, s := range m.sorted() {
		c := s.configuration()
		if !named[s.name] && c.Owner == OwnerFile && !c.Orphan {
			changes = append(changes, &change{s: s, mutate: func(c *config) { c.Orphan, c.OrphanAt = true, now }})
		}
	}
	return m.changeInOrder(ctx, changes, order)
}

// declareAll returns what makes the declarations of the file so. They are looked at side by side, since each may ask the log for the ends of
// many partitions.
func (m *Manager) declareAll(ctx context.Context, declared []tandem.Subscription) ([]*change, error) {
	changes := make([]*change, len(declared))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range declared {
		g.Go(func() (err error) {
			changes[i], err = m.declare(ctx, declared[i], OwnerFile)
			return err
		})
	}
	err := g.Wait()
	changes = slices.DeleteFunc(changes, func(c *change) bool { return c == nil })
	if err != nil {
		releaseHeld(changes)
		return nil, err
	}
	return changes, nil
}

// releaseHeld lets subscriptions read on that waited for a change.
func releaseHeld(changes []*change) {
	for _, c := range changes {
		if c.held {
			c.s.release()
		}
	}
}

// Put creates or changes a subscription of the API. ifMatch is an ETag that must hold, "*" for any subscription that exists, or
// "" for no condition. Codes: Invalid, Unsupported, Conflict (the file owns the name), Precondition, Unavailable.
func (m *Manager) Put(ctx context.Context, sub tandem.Subscription, ifMatch string) (created bool, err error) {
	if err := declaresReplay(&sub); err != nil {
		return false, err
	}
	if err := m.check(&sub, false); err != nil {
		return false, err
	}
	if err := m.checkEgress(ctx, &sub); err != nil {
		return false, err
	}
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return false, err
	}
	s, err := m.find(sub.Name)
	switch {
	case err != nil && ifMatch != "":
		return false, tandem.Errorf(tandem.CodePrecondition, "there is no subscription %q", sub.Name)
	case err == nil:
		c := s.configuration()
		if c.Owner == OwnerFile && !c.Orphan {
			return false, ownedByFile(sub.Name)
		}
		if ifMatch != "" && ifMatch != "*" && ifMatch != c.etag() {
			return false, tandem.Errorf(tandem.CodePrecondition, "subscription %s was changed meanwhile", sub.Name).WithHint("read it again")
		}
	}
	c, err := m.declare(ctx, sub, OwnerAPI)
	if err != nil || c == nil {
		return false, err
	}
	created = c.created
	return created, m.change(ctx, []*change{c})
}

func ownedByFile(name string) error {
	return tandem.Errorf(tandem.CodeConflict, "subscription %s is declared in the configuration file", name).WithHint("change the file and reload")
}

// declare returns what makes a declaration so, nil when it is.
func (m *Manager) declare(ctx context.Context, sub tandem.Subscription, owner string) (*change, error) {
	var err error
	if sub.Filter, err = sub.Filter.Bind(m.opts.Conditions); err != nil {
		return nil, tandem.Wrap("subscription "+sub.Name, err)
	}
	s, err := m.find(sub.Name)
	if err != nil {
		start, err := tandem.ParseStart(sub.From)
		if err != nil {
			return nil, err
		}
		if err := m.erase(ctx, sub.Name); err != nil { // what is left of one that was deleted
			return nil, err
		}
		from, err := m.start(ctx, &sub, start)
		if err != nil {
			return nil, tandem.Wrap("start of subscription "+sub.Name, err)
		}
		now := time.Now()
		c := config{Version: formatVersion, Owner: owner, Born: now.UnixNano(), Versions: []version{{Declaration: sub, From: from, At: now.UTC()}}}
		return &change{s: newSubscription(m, sub.Name, c), created: true}, nil
	}
	if err := s.isDamaged(); err != nil {
		if owner == OwnerFile {
			return nil, nil // its status says so; the rest of the file holds
		}
		return nil, err
	}
	old := s.configuration()
	if err := old.isReplay(sub.Name); err != nil {
		return nil, err
	}
	if sameDeclaration(old.current(), &sub) && old.Owner == owner && !old.Orphan {
		if !m.running || s.started() {
			return nil, nil
		}
		return &change{s: s, mutate: func(*config) {}}, nil // its creation was stored, and it could not be started
	}
	ch := &change{s: s}
	from := old.Versions[len(old.Versions)-1].From
	fresh := !sameSelection(old.current(), &sub)
	if fresh {
		if len(old.Versions) >= maxVersions && !s.passed(1) {
			return nil, tandem.Errorf(tandem.CodeConflict, "subscription %s was changed %d times since the events that it reads now", sub.Name, maxVersions).
				WithHint("wait until it has caught up, or seek it")
		}
		s.hold() // until the new filter is there nothing may be judged by the old one that is stored from now on
		if from, err = m.ends(ctx, &sub); err != nil {
			s.release()
			return nil, err
		}
	}
	now := time.Now().UTC()
	ch.mutate = func(c *config) {
		c.Owner, c.Orphan, c.OrphanAt = owner, false, time.Time{}
		v := version{Declaration: sub, Epoch: c.Epoch, From: from, At: now}
		if !fresh {
			last := &c.Versions[len(c.Versions)-1]
			v.At = last.At // its topics and filter have been in force since then
			*last = v
			return
		}
		if len(c.Versions) >= maxVersions {
			c.Versions = c.Versions[1:]
			c.First++
		}
		c.Versions = append(c.Versions, v)
	}
	ch.held = fresh
	return ch, nil
}

// change is a new configuration of a subscription, to be stored.
type change struct {
	s       *subscription
	created bool
	mutate  func(*config) // of one that is there
	held    bool          // the subscription does not read until the change is made
}

// change stores configurations in one step and makes them so. Called with ops held.
func (m *Manager) change(ctx context.Context, changes []*change) error {
	if len(changes) == 0 {
		return nil
	}
	return m.changeInOrder(ctx, changes, nil)
}

// changeInOrder is change, and from then on request links are called in the order in which the file declares them; nil leaves it as it is.
func (m *Manager) changeInOrder(ctx context.Context, changes []*change, order map[string]int) error {
	defer releaseHeld(changes)
	// The groups of these subscriptions may hold their configuration, too: none may be stored between reading and writing.
	slices.SortFunc(changes, func(a, b *change) int { return strings.Compare(a.s.name, b.s.name) })
	for _, c := range changes {
		c.s.commitMu.Lock()
		defer c.s.commitMu.Unlock()
	}
	if err := flushChanged(ctx, changes); err != nil {
		return err
	}
	tx := eventlog.Tx{Fence: &m.fence}
	for _, c := range changes {
		before := c.s.configuration()
		conf := before
		conf.Versions = slices.Clone(before.Versions)
		if c.mutate != nil {
			c.mutate(&conf)
		}
		tx.State = append(tx.State, driver.StateOp{Key: configPrefix + c.s.name, Value: jsonValue(&conf)})
		tx.State = append(tx.State, c.s.keepVersions(&before, conf.First-before.First)...)
	}
	if len(changes) > 0 {
		if _, err := m.log.Commit(ctx, &tx); err != nil {
			return tandem.Wrap("store subscriptions", err)
		}
	}
	m.readTopics()
	var start []*subscription
	m.mu.Lock()
	for _, c := range changes {
		m.subs[c.s.name] = c.s
	}
	if order != nil {
		m.order = order
	}
	m.mu.Unlock()
	for _, c := range changes {
		if !c.created {
			m.make(c)
		}
		if !c.s.started() {
			start = append(start, c.s)
		}
	}
	m.reindex()
	if !m.running {
		m.relink()
		return nil
	}
	// What is stored must be started, whether the caller still waits or not.
	return m.runAll(context.WithoutCancel(ctx), start)
}

// flushChanged stores what the subscriptions that are there have to store, side by side, so that they share syncs. Called with commitMu of
// each held.
func flushChanged(ctx context.Context, changes []*change) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, c := range changes {
		if !c.created && c.s.started() {
			g.Go(func() error { return c.s.flushLocked(ctx) })
		}
	}
	return g.Wait()
}

// make lets a stored change of a subscription that is there take effect.
func (m *Manager) make(c *change) {
	s := c.s
	s.mu.Lock()
	s.config.Versions = slices.Clone(s.config.Versions) // attempts under way read the old ones
	c.mutate(&s.config)
	if s.paused() {
		s.detachAll()
	}
	s.retarget()
	s.kick()
	s.poke() // somebody may have to be told
	s.mu.Unlock()
	if m.running {
		m.follow(s)
	}
	s.pokeFeed()
}

// configuration returns a copy that does not change.
func (s *subscription) configuration() config {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.config
	c.Versions = slices.Clone(c.Versions)
	return c
}

// passed reports whether all tracks were read up to the i-th version.
func (s *subscription) passed(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.config.Versions) || s.config.Versions[0].Epoch != s.config.Epoch {
		return true
	}
	for _, t := range s.tracks {
		if !s.isPast(t, &s.config.Versions[i].From) {
			return false
		}
	}
	return true
}

// hold stops reading until release.
func (s *subscription) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	s.detachAll()
}

func (s *subscription) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds--
	s.pokeFeed()
}
