package delivery

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/tandem-hybrid/tandem"
)

// deadChunk is how many dead letters are looked at in one scan, and redriven or discarded in one group.
const deadChunk = 1000

// Redrive sends dead letters again and returns how many; those on their way already are not among them. They keep the ids of their
// events and the epoch, stand outside the order of their keys, and have the attempts of the policy again. A letter stays in the list
// until it is delivered. With a rate they wait for their turn in the log, so that a restart goes on at the same rate; there is one for
// the subscription: a later redrive at another rate changes it for all that wait, and one without a rate sends those that it selects at once.
// Codes: NotFound (the subscription, or an id: nothing is redriven then), Invalid, Unavailable (some may be redriven: the same again is safe).
func (m *Manager) Redrive(ctx context.Context, name string, sel tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	if sel.Rate < 0 || sel.Rate > maxRedriveRate || math.IsNaN(sel.Rate) {
		return tandem.DeadLetterCount{}, tandem.Errorf(tandem.CodeInvalid, "the rate of the redrive is invalid").
			WithField("/rate", "must be from 0 (no limit) to %d events a second", maxRedriveRate)
	}
	if sel.Rate > 0 {
		return m.eachDead(ctx, name, &sel, deadVerb{(*subscription).paceable, (*subscription).paceOne})
	}
	return m.eachDead(ctx, name, &sel, deadVerb{(*subscription).redrivable, (*subscription).redriveOne})
}

// Discard removes dead letters for good and returns how many. One whose redrive is under way is removed too; the endpoint may get
// it still. Codes: as Redrive.
func (m *Manager) Discard(ctx context.Context, name string, sel tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	if sel.Rate != 0 {
		return tandem.DeadLetterCount{}, tandem.Errorf(tandem.CodeInvalid, "dead letters are discarded at once").WithField("/rate", "is for a redrive")
	}
	return m.eachDead(ctx, name, &sel, deadVerb{(*subscription).discardable, (*subscription).discardOne})
}

// deadVerb is what can be done with dead letters. Both are called with mu held; do only for those that can.
type deadVerb struct {
	can func(*subscription, deadRef) bool
	do  func(*subscription, deadRef)
}

// deadRef is a dead letter by id and size.
type deadRef struct {
	id        string
	bytes     int
	redriving bool // it has a redrive record
	paced     bool // it has a paced record
	row       *row // that the ledger gets when it is discarded
}

// eachDead does verb with the dead letters selected, in groups.
func (m *Manager) eachDead(ctx context.Context, name string, sel *tandem.DeadLetterSelection, verb deadVerb) (tandem.DeadLetterCount, error) {
	count := tandem.DeadLetterCount{DryRun: sel.DryRun}
	if err := m.checkSelection(sel); err != nil {
		return count, err
	}
	s, err := m.find(name)
	if err != nil {
		return count, err
	}
	if err := s.isDamaged(); err != nil {
		return count, err
	}
	take := func(ids []string) error {
		n, err := m.takeDead(ctx, s, ids, sel, verb)
		count.Count += n
		return err
	}
	if len(sel.IDs) > 0 {
		ids := slices.Compact(slices.Sorted(slices.Values(sel.IDs)))
		if err := s.allDead(ctx, ids); err != nil {
			return count, err
		}
		for chunk := range slices.Chunk(ids, deadChunk) {
			if err := take(chunk); err != nil {
				return count, err
			}
		}
		return count, nil
	}
	for after := ""; ; {
		chunk, last, err := s.chooseDead(ctx, after, sel)
		if err != nil || last == "" {
			return count, err
		}
		if err := take(chunk); err != nil {
			return count, err
		}
		after = last
	}
}

// checkSelection reports what is wrong with a selection, and binds its filter. Code: Invalid.
func (m *Manager) checkSelection(sel *tandem.DeadLetterSelection) error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the selection of dead letters is invalid")
	if len(sel.IDs) > 0 && (!sel.Filter.IsZero() || sel.Reason != "" || !sel.Since.IsZero() || !sel.Until.IsZero()) {
		bad.WithField("/ids", "cannot stand beside filter, reason, since or until")
	}
	m.bindFilter(bad, "/filter", &sel.Filter)
	switch sel.Reason {
	case "", "exhausted", "refused", "loop":
	default:
		bad.WithField("/reason", "%q is not exhausted, refused or loop", sel.Reason)
	}
	if !sel.Until.IsZero() && !sel.Until.After(sel.Since) {
		bad.WithField("/until", "must be after since")
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// allDead reports an id that no dead letter has. Code: NotFound.
func (s *subscription) allDead(ctx context.Context, ids []string) error {
	for _, id := range ids {
		_, _, ok := parseDeadID(id)
		if ok {
			value, err := s.m.log.State(ctx, s.key(kindDead)+id)
			if err != nil {
				return err
			}
			ok = value != nil
		}
		if !ok {
			return noDeadLetter(s.name, id)
		}
	}
	return nil
}

// chooseDead looks at the next dead letters after an id and returns those that are selected, and the last that it looked at: "" when
// there are none.
func (s *subscription) chooseDead(ctx context.Context, after string, sel *tandem.DeadLetterSelection) (ids []string, last string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	everything := sel.Filter.IsZero() && sel.Reason == "" && sel.Since.IsZero() && sel.Until.IsZero()
	seen := 0
	err = s.scanDead(ctx, after, func(id string, value []byte) bool {
		seen, last = seen+1, id
		if everything || selects(sel, value) {
			ids = append(ids, id)
		}
		return seen < deadChunk
	})
	return ids, last, err
}

// selects reports whether a dead letter is meant. A damaged one is only by its id, or among all.
func selects(sel *tandem.DeadLetterSelection, value []byte) bool {
	l, rec, err := parseLetter(value)
	return err == nil && (sel.Reason == "" || sel.Reason == l.Reason) &&
		!l.At.Before(sel.Since) && (sel.Until.IsZero() || l.At.Before(sel.Until)) &&
		sel.Filter.Match(&rec.Event)
}

// takeDead does verb with the dead letters that are still there, and returns with how many it could.
func (m *Manager) takeDead(ctx context.Context, s *subscription, ids []string, sel *tandem.DeadLetterSelection, verb deadVerb) (int, error) {
	m.ops.Lock() // so that the subscription is not deleted meanwhile; between the groups others have their turn
	defer m.ops.Unlock()
	if now, err := m.find(s.name); err != nil || now != s {
		return 0, tandem.Errorf(tandem.CodeNotFound, "subscription %s was deleted meanwhile", s.name)
	}
	if !m.running {
		return 0, notRunning()
	}
	return s.takeDead(ctx, ids, sel, verb)
}

// takeDead stores nothing else of the subscription meanwhile, so that a letter is either in the log or known in memory to have its
// outcome.
func (s *subscription) takeDead(ctx context.Context, ids []string, sel *tandem.DeadLetterSelection, verb deadVerb) (n int, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	refs, err := s.deadRefs(ctx, ids, len(sel.IDs) == 0)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	for _, r := range refs {
		if sel.Rate > 0 && r.paced && !sel.DryRun {
			s.setPace(sel.Rate)
		}
		if !verb.can(s, r) {
			continue
		}
		n++
		if !sel.DryRun {
			verb.do(s, r)
		}
	}
	if n > 0 && !sel.DryRun {
		s.pace.queue, s.pace.after = nil, "" // it may hold one of them
		if sel.Rate > 0 {
			s.setPace(sel.Rate)
		}
		s.after = append(s.after, func() { // also if the caller is told of an error and it is stored later
			s.moreRedrives, s.redrivesFrom = true, ""
			s.pokeFeed()
			s.poke()
		})
	}
	s.mu.Unlock()
	if sel.DryRun {
		return n, nil
	}
	if err := s.flushLocked(ctx); err != nil {
		return 0, err
	}
	return n, nil
}

// deadRefs returns those of ids that the log has. near says that they are about all that there are between the first and the last: one scan
// then costs less than to ask for each.
func (s *subscription) deadRefs(ctx context.Context, ids []string, near bool) ([]deadRef, error) {
	refs := make([]deadRef, 0, len(ids))
	err := s.eachRecord(ctx, kindDead, ids, near, func(id string, value []byte) {
		ref := deadRef{id: id, bytes: len(value)}
		if l, rec, err := parseLetter(value); err == nil {
			ref.row = discardedRow(&l, &rec)
		}
		refs = append(refs, ref)
	})
	for _, kind := range []string{kindRedrive, kindPaced} {
		i := 0
		err = errors.Join(err, s.eachRecord(ctx, kind, ids, near, func(id string, _ []byte) {
			for i < len(refs) && refs[i].id < id {
				i++
			}
			if i == len(refs) || refs[i].id != id {
				return
			}
			if kind == kindRedrive {
				refs[i].redriving = true
			} else {
				refs[i].paced = true
			}
		}))
	}
	return refs, err
}

// eachRecord calls fn for the records of a kind that have one of ids, in order.
func (s *subscription) eachRecord(ctx context.Context, kind string, ids []string, near bool, fn func(id string, value []byte)) error {
	prefix := s.key(kind)
	if !near {
		for _, id := range ids {
			value, err := s.m.log.State(ctx, prefix+id)
			if err != nil {
				return err
			}
			if value != nil {
				fn(id, value)
			}
		}
		return nil
	}
	i := 0
	if len(ids) == 0 {
		return nil
	}
	return s.m.log.ScanStateFrom(ctx, prefix, prefix+ids[0], func(key string, value []byte) bool {
		id := key[len(prefix):]
		for i < len(ids) && ids[i] < id {
			i++
		}
		if i < len(ids) && ids[i] == id {
			fn(id, value)
		}
		return i < len(ids)
	})
}
