package delivery

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	// maxRedrives is how many dead letters are on their way again at a time.
	maxRedrives = 256
	// deadChunk is how many dead letters one group redrives or discards.
	deadChunk = 1000
	// maxDeadPage and maxDeadPageBytes bound a page of dead letters.
	maxDeadPage      = 1000
	maxDeadPageBytes = 16 << 20
)

// DeadLetters returns up to limit dead letters (at most 1,000, or 16 MiB of them) with ids greater than after, in order of ids, which is
// that of topic, partition and offset, and the after of the next page, "" at the end. Code: NotFound.
func (m *Manager) DeadLetters(ctx context.Context, name, after string, limit int) (page []tandem.DeadLetter, next string, err error) {
	s, err := m.find(name)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > maxDeadPage {
		limit = maxDeadPage
	}
	prefix := s.key(kindDead)
	bytes := 0
	var bad error
	err = s.scanDead(ctx, after, func(id string, value []byte) bool {
		if len(page) == limit || bytes+len(value) > maxDeadPageBytes && len(page) > 0 {
			next = page[len(page)-1].ID
			return false
		}
		bytes += len(value)
		var letter tandem.DeadLetter
		if letter, bad = deadLetter(name, id, value); bad != nil {
			bad = tandem.Wrap("record "+prefix+id, bad)
			return false
		}
		page = append(page, letter)
		return true
	})
	if err == nil {
		err = bad
	}
	return page, next, err
}

func deadLetter(name, id string, value []byte) (tandem.DeadLetter, error) {
	l, rec, err := parseLetter(value)
	return tandem.DeadLetter{ID: id, Subscription: name, Event: rec, Reason: l.Reason, Detail: l.Detail, Status: l.Status,
		Attempts: l.Attempts, At: l.At.Format(time.RFC3339Nano)}, err
}

// scanDead calls fn for the dead letters with ids greater than after.
func (s *subscription) scanDead(ctx context.Context, after string, fn func(id string, value []byte) bool) error {
	prefix := s.key(kindDead)
	return s.m.log.ScanState(ctx, prefix, func(key string, value []byte) bool {
		id := key[len(prefix):]
		return id <= after || fn(id, value)
	})
}

// Redrive sends dead letters again, all of them if ids is nil, and returns how many. They keep the ids of their events and the
// epoch, stand outside the order of their keys, and have the attempts of the policy again. A letter stays in the list until it
// is delivered. Codes: NotFound (the subscription, or an id: nothing is redriven then), Unavailable.
func (m *Manager) Redrive(ctx context.Context, name string, ids []string) (int, error) {
	return m.eachDead(ctx, name, ids, (*subscription).redriveOne)
}

// Discard removes dead letters for good, all of them if ids is nil, and returns how many. One whose redrive is under way is
// removed too; the endpoint may get it still. Codes: as Redrive.
func (m *Manager) Discard(ctx context.Context, name string, ids []string) (int, error) {
	return m.eachDead(ctx, name, ids, (*subscription).discardOne)
}

// eachDead applies do, with mu held, to the dead letters named, in groups.
func (m *Manager) eachDead(ctx context.Context, name string, ids []string, do func(*subscription, deadRef) bool) (n int, err error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	s, err := m.find(name)
	if err != nil {
		return 0, err
	}
	if !m.running {
		return 0, tandem.Errorf(tandem.CodeUnavailable, "deliveries are not running")
	}
	if ids != nil {
		ids = slices.Compact(slices.Sorted(slices.Values(ids)))
		if err := s.allDead(ctx, ids); err != nil {
			return 0, err
		}
		return s.applyDead(ctx, ids, do)
	}
	for after := ""; ; {
		chunk := make([]string, 0, deadChunk)
		err := s.scanDead(ctx, after, func(id string, _ []byte) bool {
			chunk = append(chunk, id)
			return len(chunk) < deadChunk
		})
		if err != nil || len(chunk) == 0 {
			return n, err
		}
		did, err := s.applyDead(ctx, chunk, do)
		if n += did; err != nil {
			return n, err
		}
		after = chunk[len(chunk)-1]
	}
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
			return tandem.Errorf(tandem.CodeNotFound, "subscription %s has no dead letter %q", s.name, id)
		}
	}
	return nil
}

// deadRef is a dead letter by id and size.
type deadRef struct {
	id        string
	bytes     int
	redriving bool // it has a redrive record
}

// applyDead applies do to the dead letters that are still there and stores what it did. Nothing else of the subscription is stored
// meanwhile, so that a letter is either in the log or known in memory to have its outcome.
func (s *subscription) applyDead(ctx context.Context, ids []string, do func(*subscription, deadRef) bool) (n int, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	refs := make([]deadRef, 0, len(ids))
	for _, id := range ids {
		letter, err := s.m.log.State(ctx, s.key(kindDead)+id)
		if err != nil {
			return 0, err
		}
		redrive, err := s.m.log.State(ctx, s.key(kindRedrive)+id)
		if err != nil {
			return 0, err
		}
		if letter != nil {
			refs = append(refs, deadRef{id, len(letter), redrive != nil})
		}
	}
	s.mu.Lock()
	for _, r := range refs {
		if do(s, r) {
			n++
		}
	}
	if n > 0 {
		s.after = append(s.after, func() { // also if the caller is told of an error and it is stored later
			s.moreRedrives = true
			s.pokeFeed()
		})
	}
	s.mu.Unlock()
	if err := s.flushLocked(ctx); err != nil {
		return 0, err
	}
	return n, nil
}

func (s *subscription) redriveOne(r deadRef) bool {
	_, epoch, ok := parseDeadID(r.id)
	if !ok || r.redriving || s.redrives[r.id] != nil {
		return false // on its way already
	}
	s.put(s.key(kindRedrive)+r.id, jsonValue(effort{Version: formatVersion, Epoch: epoch}))
	return true
}

func (s *subscription) discardOne(r deadRef) bool {
	if d := s.redrives[r.id]; d != nil {
		if d.stage == stageSettled {
			return false // delivered, or discarded, a moment ago
		}
		d.bytes = r.bytes
		s.unretry(d)
		s.dropRedrive(d)
		d.stage = stageSettled
		return true
	}
	s.put(s.key(kindDead)+r.id, nil)
	s.put(s.key(kindRedrive)+r.id, nil)
	s.countDead(-1, -r.bytes)
	return true
}

// dropRedrive removes a dead letter that was redriven. It stays in the map until that is stored, so that its record is not taken
// for one to be loaded.
func (s *subscription) dropRedrive(d *delivery) {
	s.put(s.key(kindRedrive)+d.redrive, nil)
	s.put(s.key(kindDead)+d.redrive, nil)
	s.countDead(-1, -d.bytes)
	s.after = append(s.after, func() {
		if d.stage == stageSettled && s.redrives[d.redrive] == d {
			delete(s.redrives, d.redrive)
			if len(s.redrives) <= maxRedrives/2 {
				s.pokeFeed()
			}
		}
	})
}

// loadRedrives takes redrive records into memory when there is room. It reports whether there may be more room to fill.
func (s *subscription) loadRedrives(ctx context.Context) (more bool) {
	s.mu.Lock()
	wanted := s.moreRedrives && len(s.redrives) <= maxRedrives/2
	if wanted {
		s.moreRedrives = false
	}
	s.mu.Unlock()
	if !wanted {
		return false
	}
	// With no group stored between the scan and what follows it, a record of one that has its outcome is still in the map.
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	prefix := s.key(kindRedrive)
	var found []*delivery
	full := false
	err := s.m.log.ScanState(ctx, prefix, func(key string, value []byte) bool {
		id := key[len(prefix):]
		var e effort
		w, epoch, ok := parseDeadID(id)
		if !ok || json.Unmarshal(value, &e) != nil {
			s.m.opts.Logger.Error("delivery: a redrive record is damaged", "record", key)
			return true
		}
		d := &delivery{where: w, epoch: epoch, home: homeRedrive, redrive: id, index: -1}
		d.recall(e)
		found = append(found, d)
		full = len(found) > 2*maxRedrives // what is in memory already is among them
		return !full
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.m.opts.Logger.Warn("delivery: cannot read redrives", "subscription", s.name, "error", err)
		s.moreRedrives = true
		return false
	}
	now := time.Now()
	for _, d := range found {
		switch {
		case s.redrives[d.redrive] != nil:
		case len(s.redrives) >= maxRedrives:
			full = true
		default:
			s.redrives[d.redrive] = d
			if d.due.After(now) {
				s.retryAt(d, d.due)
			} else {
				s.makeReady(d)
			}
		}
	}
	s.moreRedrives = s.moreRedrives || full
	s.kick()
	return false
}
