package delivery

import (
	"context"
	"slices"
	"time"
)

const (
	maxRedriveRate = 100_000
	// paceStep is how often at most dead letters that wait for their turn are let go: at high rates several at a time.
	paceStep = 20 * time.Millisecond
)

// pace lets the dead letters of a redrive at a rate go. They wait in records of the log, so that memory holds few of them and a
// restart goes on where it was. While nothing can be sent, or those that went wait for a slot, none goes; what was missed is not made up for.
type pace struct {
	rate   float64 // letters a second; zero when none waits
	tokens float64 // letters that may go now
	at     time.Time
	queue  []string // the next ones, at most maxRedrives
	after  string   // those up to this id have gone, or are in the queue
}

func newPace(rate float64) pace { return pace{rate: rate, tokens: 1, at: time.Now()} }

// setPace gives all that wait a rate.
func (s *subscription) setPace(rate float64) {
	if s.pace.rate == rate {
		return
	}
	s.pace = newPace(rate)
	s.put(s.key(keyRate), jsonValue(redriveRate{Version: formatVersion, Rate: rate}))
}

func (s *subscription) paceable(r deadRef) bool { return !r.paced && s.redrivable(r) }

func (s *subscription) paceOne(r deadRef) {
	s.put(s.key(kindPaced)+r.id, []byte{formatVersion})
	s.countRedriving(1)
}

// turns returns how many dead letters may go now and when to ask again, never when none waits.
func (s *subscription) turns(now time.Time) (n int, next time.Time) {
	p := &s.pace
	if p.rate == 0 {
		return 0, time.Time{}
	}
	p.tokens = min(p.tokens+p.rate*now.Sub(p.at).Seconds(), 1+p.rate/10)
	p.at = now
	next = now.Add(max(paceStep, time.Duration((1-p.tokens)/p.rate*float64(time.Second))))
	if !s.sends() || s.endpoint.failing || s.moreRedrives || s.ready.again.len() > 0 {
		return 0, next
	}
	return min(int(p.tokens+1e-6), maxRedrives-len(s.redrives)), next
}

// letGo lets n dead letters go, as far as they are in the queue.
func (s *subscription) letGo(n int) {
	p := &s.pace
	for ; n > 0 && len(p.queue) > 0; n-- {
		id := p.queue[0]
		p.queue = p.queue[1:]
		s.put(s.key(kindPaced)+id, nil)
		w, epoch, ok := parseDeadID(id)
		if !ok || s.redrives[id] != nil {
			continue
		}
		p.tokens--
		d := newRedrive(id, w, epoch)
		s.redrives[id] = d
		s.put(s.key(kindRedrive)+id, jsonValue(effort{Version: formatVersion, Epoch: epoch}))
		s.makeReady(d)
	}
}

// readPaced fills the queue. Nothing is stored meanwhile, so that a record that it finds is not of a letter that was discarded a moment ago.
func (s *subscription) readPaced(ctx context.Context) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if s.stuck != nil {
		return // the log still has what it removes; the loop comes back when it is stored
	}
	s.mu.Lock()
	after := s.pace.after
	s.mu.Unlock()
	prefix := s.key(kindPaced)
	var ids []string
	err := s.m.log.ScanStateFrom(ctx, prefix, prefix+after, func(key string, _ []byte) bool {
		if id := key[len(prefix):]; id > after {
			ids = append(ids, id)
		}
		return len(ids) < maxRedrives
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.m.opts.Logger.Warn("delivery: cannot read redrives", "subscription", s.name, "error", err)
		s.pace.tokens = 0
	case len(ids) == 0:
		s.pace = pace{}
		s.put(s.key(keyRate), nil)
	default:
		s.pace.after = ids[len(ids)-1]
		s.pace.queue = slices.DeleteFunc(ids, func(id string) bool { return s.redrives[id] != nil }) // gone, and not stored yet
	}
}
