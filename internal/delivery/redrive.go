package delivery

import (
	"context"
	"slices"
	"time"
)

// maxRedrives is how many dead letters are on their way again at a time.
const maxRedrives = 256

func (s *subscription) redrivable(r deadRef) bool {
	_, _, ok := parseDeadID(r.id)
	return ok && !r.redriving && s.redrives[r.id] == nil // not on its way already
}

func (s *subscription) redriveOne(r deadRef) {
	_, epoch, _ := parseDeadID(r.id)
	s.put(s.key(kindRedrive)+r.id, jsonValue(effort{Version: formatVersion, Epoch: epoch}))
	if r.paced {
		s.put(s.key(kindPaced)+r.id, nil)
	} else {
		s.countRedriving(1)
	}
}

func (s *subscription) discardable(r deadRef) bool {
	d := s.redrives[r.id]
	return d == nil || d.stage != stageSettled && d.stage != stageStoring // delivered, or discarded, a moment ago
}

func (s *subscription) discardOne(r deadRef) {
	if w, epoch, ok := parseDeadID(r.id); ok && r.row != nil && !s.ledger.off {
		if d := s.redrives[r.id]; d != nil && len(d.history) > len(r.row.History) {
			r.row.History = slices.Clone(d.history) // with the attempts of the redrive
		}
		s.recordRow(w, epoch, r.row)
	}
	if d := s.redrives[r.id]; d != nil {
		d.bytes = r.bytes
		s.endLease(d)
		s.unretry(d)
		s.dropRedrive(d)
		d.stage = stageSettled
		return
	}
	s.put(s.key(kindDead)+r.id, nil)
	if r.redriving || r.paced {
		s.put(s.key(kindRedrive)+r.id, nil)
		s.put(s.key(kindPaced)+r.id, nil)
		s.countRedriving(-1)
	}
	s.countDead(-1, -r.bytes)
}

// dropRedrive removes a dead letter that was redriven. It stays in the map until that is stored, so that its record is not taken
// for one to be loaded.
func (s *subscription) dropRedrive(d *delivery) {
	s.put(s.key(kindRedrive)+d.redrive, nil)
	s.put(s.key(kindDead)+d.redrive, nil)
	s.countDead(-1, -d.bytes)
	s.countRedriving(-1)
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
	after := s.redrivesFrom
	if wanted {
		s.moreRedrives, s.redrivesFrom = false, ""
	}
	s.mu.Unlock()
	if !wanted {
		return false
	}
	// With no group stored between the scan and what follows it, a record of one that has its outcome is still in the map.
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if s.stuck != nil { // the log still has what it removes
		s.mu.Lock()
		defer s.mu.Unlock()
		s.moreRedrives, s.redrivesFrom = true, after
		s.after = append(s.after, s.pokeFeed)
		s.touch()
		return false
	}
	prefix := s.key(kindRedrive)
	var found []*delivery
	full := false
	err := s.m.log.ScanStateFrom(ctx, prefix, prefix+after, func(key string, value []byte) bool {
		id := key[len(prefix):]
		if id <= after {
			return true
		}
		var e effort
		w, epoch, ok := parseDeadID(id)
		if !ok || parseJSON(value, &e, &e.Version) != nil {
			s.m.opts.Logger.Error("delivery: a redrive record is damaged", "record", key)
			if e = (effort{}); !ok {
				return true
			}
		}
		d := newRedrive(id, w, epoch)
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
	last := after
	for _, d := range found {
		if s.redrives[d.redrive] == nil {
			if len(s.redrives) >= maxRedrives {
				full = true
				break
			}
			s.redrives[d.redrive] = d
			if d.due.After(now) {
				s.retryAt(d, d.due)
			} else {
				s.makeReady(d)
			}
		}
		last = d.redrive
	}
	if full && !s.moreRedrives { // nothing was added meanwhile
		s.moreRedrives, s.redrivesFrom = true, last
	}
	s.kick()
	return false
}

// newRedrive returns a dead letter on its way again. It failed by itself before, so that its failures say nothing about the endpoint:
// many that fail for what they are must not stop the live deliveries.
func newRedrive(id string, w where, epoch uint64) *delivery {
	return &delivery{where: w, epoch: epoch, home: homeRedrive, redrive: id, own: true, index: -1}
}

// redriveRoom is how many more redrives may be under way: they never take more than half of the slots, or of the requests where these
// are batches, so that live deliveries find one.
func (s *subscription) redriveRoom() int {
	p := s.policy()
	room := max(1, p.concurrency*max(1, p.batch)/2)
	var requests []uint64
	for _, d := range s.redrives {
		switch {
		case d.stage == stageStarting:
			room--
		case d.stage == stageSending:
			room--
			if p.batch > 0 && !slices.Contains(requests, d.request) {
				requests = append(requests, d.request)
			}
		}
	}
	if len(requests) >= max(1, p.concurrency/2) {
		return 0
	}
	return max(0, room)
}
