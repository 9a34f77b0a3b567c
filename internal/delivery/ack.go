package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Ack ends leases: their events are delivered. It returns when that is stored. A lease that is over, or of before a restart, can be
// acknowledged as long as nobody else has the event. Results are in the order of tokens, of which there are at most MaxBatchSize. An
// error says that it is not known whether all is stored: what is not is handed out again. Codes: NotFound, Invalid, Unavailable.
func (m *Manager) Ack(ctx context.Context, name string, tokens []string) ([]tandem.LeaseResult, error) {
	s, err := m.checkTokens(name, tokens)
	if err != nil {
		return nil, err
	}
	fresh, err := s.renew(ctx, tokens)
	if err != nil {
		return nil, tandem.Wrap("acknowledge leases of "+name, err)
	}
	out, err := s.ack(ctx, fresh)
	if err != nil {
		return nil, tandem.Wrap("acknowledge leases of "+name, err)
	}
	return asAsked(out, tokens), nil
}

func (s *subscription) ack(ctx context.Context, tokens []string) ([]tandem.LeaseResult, error) {
	out, unread, stored, err := s.ackOnce(tokens)
	if err != nil {
		return nil, err
	}
	if len(unread) > 0 && s.awaitRead(ctx, tokens, unread) {
		again := make([]string, len(unread))
		for i, at := range unread {
			again[i] = tokens[at]
		}
		more, _, storedToo, err := s.ackOnce(again)
		if err == nil && storedToo != nil {
			err = s.await(ctx, storedToo)
		}
		if err != nil {
			return nil, err
		}
		for i, at := range unread {
			out[at] = more[i]
		}
	}
	if stored != nil {
		err = s.await(ctx, stored)
	}
	return out, err
}

// ackOnce takes acknowledgements of what is in memory. unread are the tokens of events that are still to be read, and stored is closed
// when the others are stored; nil if there are none.
func (s *subscription) ackOnce(tokens []string) (out []tandem.LeaseResult, unread []int, stored chan struct{}, err error) {
	out, err = s.eachLease(tokens, func(c *leaseCall) {
		for c.next() {
			d := c.held
			if d == nil {
				d = c.late()
			}
			switch {
			case d != nil:
				s.acknowledge(d, c)
				c.result.Outcome = tandem.LeaseAcknowledged
				if stored == nil {
					stored = make(chan struct{})
				}
			case c.found == nil && s.unread(c.token.where), c.found.unlearned():
				unread = append(unread, c.i)
			}
		}
		if stored != nil {
			s.after = append(s.after, func() { close(stored) })
			s.hurry()
		}
	})
	return out, unread, stored, err
}

// unread reports whether an event is still to be read.
func (s *subscription) unread(w where) bool {
	t := s.tracks[w.topic]
	if t == nil || w.part >= len(t.parts) || !s.reading() || s.full() != "" {
		return false
	}
	next, _ := t.parts[w.part].place()
	return w.offset >= next
}

const (
	// readWait is how long Ack waits, soon after a restart, until events that were leased before it are read again.
	readWait = time.Second
	readLook = 10 * time.Millisecond
)

// unlearned reports whether d is a redrive of which the dead letter was not read since the start, so that what it counts for is not
// known.
func (d *delivery) unlearned() bool { return d != nil && d.home == homeRedrive && d.bytes == 0 }

// readLetter lets the redrive of a token learn what its dead letter tells. It reports whether it has.
func (s *subscription) readLetter(ctx context.Context, t *token) bool {
	s.mu.Lock()
	d := s.redrives[deadID(t.where, t.epoch)]
	s.mu.Unlock()
	if d == nil {
		return false
	}
	j := job{d: d, home: homeRedrive}
	rec, err := s.fetch(ctx, &j)
	if rec == nil || err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.unlearned() && d.stage != stageSettled {
		d.learn(&j)
		d.about = aboutOf(rec)
	}
	return true
}

// awaitRead waits until the events of the tokens are read. It reports whether any of them is there.
func (s *subscription) awaitRead(ctx context.Context, tokens []string, unread []int) (read bool) {
	var left []where
	for _, at := range unread {
		t, _ := parseToken(tokens[at])
		if t.redrive {
			read = s.readLetter(ctx, &t) || read
			continue
		}
		if b, err := s.m.log.Bounds(ctx, t.topic, t.part); err == nil && t.offset < b.End {
			left = append(left, t.where)
		}
	}
	if len(left) == 0 {
		return read
	}
	tick := time.NewTicker(readLook)
	defer tick.Stop()
	for end := time.Now().Add(readWait); len(left) > 0 && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		case <-s.done:
			return false
		}
		s.mu.Lock()
		left = slices.DeleteFunc(left, func(w where) bool { return !s.unread(w) })
		s.mu.Unlock()
	}
	return true
}

// acknowledge delivers d, whose lease may be over.
func (s *subscription) acknowledge(d *delivery, c *leaseCall) {
	r := result{verdict: delivered}
	if c.held != nil {
		r.at, r.took = d.began, c.now.Sub(d.began)
	} else {
		d.attempts = max(d.attempts, min(c.token.attempt, s.attempts())) // the first is not stored when it begins
		if d.stage == stageReady {
			s.ready.remove(d)
		}
		s.unretry(d)
		d.ended = c.now
	}
	s.finish(d, r)
}
