package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Seek lets a subscription read on from another place, forward or back, in a new epoch: what is parked or waiting is given up,
// outcomes of attempts under way are ignored, and repeated events and their replies count as new. Dead letters stay. It returns what
// that does; dryRun says so and does nothing. Codes: NotFound, Invalid (the place), Gone (a cursor of another log), Conflict (a
// replay), Unavailable.
func (m *Manager) Seek(ctx context.Context, name string, to tandem.Start, dryRun bool) (tandem.SeekPlan, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	if err := m.load(ctx); err != nil {
		return tandem.SeekPlan{}, err
	}
	s, err := m.find(name)
	if err != nil {
		return tandem.SeekPlan{}, err
	}
	if !m.running {
		return tandem.SeekPlan{}, notRunning()
	}
	c := s.configuration()
	if err := c.isReplay(name); err != nil {
		return tandem.SeekPlan{}, err
	}
	if err := s.isDamaged(); err != nil {
		return tandem.SeekPlan{DryRun: dryRun}, m.seekDamaged(ctx, s, &c, to, dryRun, err)
	}
	if dryRun {
		plan, err := m.planSeek(ctx, s, c.current(), to)
		plan.plan.DryRun = true
		return plan.plan, tandem.Wrap("seek "+name, err)
	}
	s.hold()
	defer s.release()
	s.expireBehind(ctx)
	p, err := m.planSeek(ctx, s, c.current(), to)
	if err != nil {
		return tandem.SeekPlan{}, tandem.Wrap("seek "+name, err)
	}
	err = s.seek(ctx, &p)
	m.readTopics()
	m.follow(s) // also after an error: the new epoch may have begun, and is stored later
	m.reindex()
	return p.plan, tandem.Wrap("seek "+name, err)
}

func notRunning() error {
	return tandem.Errorf(tandem.CodeUnavailable, "deliveries are not running")
}

// seekPlan is where a seek goes and what that means.
type seekPlan struct {
	from places
	plan tandem.SeekPlan
	over []gap
}

// gap is a part of a partition that was not read and is gone over.
type gap struct {
	where
	to, count uint64
}

// planSeek counts what lies between the present place and that of to.
func (m *Manager) planSeek(ctx context.Context, s *subscription, decl *tandem.Subscription, to tandem.Start) (p seekPlan, err error) {
	if p.from, err = m.start(ctx, decl, to); err != nil {
		return p, err
	}
	for _, at := range s.frontiers(&p.from, &p.plan) {
		target := p.from.at(at.topic, at.part)
		lo, hi, n := at.next, target, &p.plan.Over
		if target < at.next {
			lo, hi, n = target, at.next, &p.plan.Again
		}
		count, err := m.stored(ctx, at.topic, at.part, lo, hi)
		if err != nil {
			return p, err
		}
		*n += count
		if n == &p.plan.Over && count > 0 {
			p.over = append(p.over, gap{where{at.topic, at.part, lo}, hi, count})
		}
	}
	return p, nil
}

// frontiers returns how far each partition was read, and counts in plan what lies before it without outcome and is gone over.
func (s *subscription) frontiers(to *places, plan *tandem.SeekPlan) []ahead {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ahead
	for _, t := range s.tracks {
		for i := range t.parts {
			pt := &t.parts[i]
			next, seq := pt.place()
			all = append(all, ahead{where{t.topic, i, next}, next, seq, pt.cursor(), 0})
			for _, d := range pt.held {
				if d.offset < to.at(t.topic, i) {
					plan.Over++
				}
			}
		}
	}
	count := func(d *delivery) {
		if d.offset < to.at(d.topic, d.part) {
			plan.Over++
			plan.Parked++
		}
	}
	for d := range s.parked {
		count(d)
	}
	for _, l := range s.lanes {
		for _, d := range l.queue {
			if d.home == homeWaiting {
				count(d)
			}
		}
	}
	return all
}

// stored returns how many events a partition has from one offset up to another.
func (m *Manager) stored(ctx context.Context, topic driver.ID, part int, from, to uint64) (uint64, error) {
	if from >= to {
		return 0, nil
	}
	b, err := m.log.Bounds(ctx, topic, part)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return 0, nil // deleted meanwhile
	}
	if err != nil {
		return 0, err
	}
	seq := func(offset uint64) (uint64, error) {
		if offset >= b.End {
			return b.EndSeq, nil
		}
		recs, err := m.log.ReadPartition(ctx, topic, part, offset, 1, nil)
		if err != nil || len(recs) == 0 {
			return b.EndSeq, err
		}
		return min(recs[0].Seq, b.EndSeq), nil
	}
	first, err := seq(from)
	if err != nil {
		return 0, err
	}
	last, err := seq(to)
	return max(first, last) - first, err
}

// expireBehind records what retention removed before the present place of reading was left for another one.
func (s *subscription) expireBehind(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tracks {
		for i := range t.parts {
			if b, err := s.m.log.Bounds(ctx, t.topic, i); err == nil && t.parts[i].lost(&b) {
				s.expire(&t.parts[i], b)
			}
		}
	}
}

// seek begins a new epoch. Even if it returns an error it takes effect as soon as the log can store it.
func (s *subscription) seek(ctx context.Context, p *seekPlan) error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.flushLocked(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.recordOver(p)
	s.config.Epoch++
	v := version{Declaration: *s.config.current(), Epoch: s.config.Epoch, From: p.from, At: time.Now().UTC()}
	s.config.Versions = append(slices.Clone(s.config.Versions), v)
	if over := len(s.config.Versions) - maxVersions; over > 0 {
		for _, op := range s.keepVersions(&s.config, over) {
			s.put(op.Key, op.Value)
		}
		s.config.Versions = s.config.Versions[over:]
		s.config.First += over
	}
	s.configDirty = true
	s.forget()
	s.hurry()
	s.mu.Unlock()
	return s.flushLocked(ctx)
}

// recordOver tells the ledger what a seek goes over: what was read one by one, the rest as ranges.
func (s *subscription) recordOver(p *seekPlan) {
	reason := "a seek went over it"
	over := func(d *delivery) {
		if d.stage != stageSettled && d.home != homeRedrive && d.offset < p.from.at(d.topic, d.part) {
			s.recordOutcome(d, d.rec, tandem.DeliveryPassed, reason)
		}
	}
	for _, t := range s.tracks {
		for i := range t.parts {
			for _, d := range t.parts[i].held {
				over(d)
			}
		}
	}
	for d := range s.parked {
		over(d)
	}
	for _, l := range s.lanes {
		for _, d := range l.queue {
			if d.home == homeWaiting {
				over(d)
			}
		}
	}
	for _, g := range p.over {
		s.recordRange(g.where, g.to, g.count, s.m.topicName(g.topic), tandem.DeliveryPassed, "a seek went over the events")
	}
}

// forget gives up all that was read, with its records, but for redrives.
func (s *subscription) forget() {
	giveUp := func(d *delivery) {
		if d.stage == stageSettled || d.home == homeRedrive {
			return
		}
		s.endLease(d)
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
