package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Nack ends leases whose events were not taken: they are handed out again after delay, or after the backoff if it is negative; after
// the last attempt they are dead. Codes: NotFound, Invalid, Unavailable.
func (m *Manager) Nack(ctx context.Context, name string, tokens []string, delay time.Duration) ([]tandem.LeaseResult, error) {
	s, err := m.checkTokens(name, tokens)
	if err != nil {
		return nil, err
	}
	if delay > tandem.MaxVisibility {
		return nil, tandem.Errorf(tandem.CodeInvalid, "the delay is invalid").WithField("/delay", "must be at most %s", tandem.MaxVisibility)
	}
	return s.eachLeaseOf(ctx, tokens, func(c *leaseCall) {
		for c.next() {
			d := c.held
			if d == nil {
				continue
			}
			at := delay
			if delay < 0 {
				at = s.policy().wait(d.attempts, 0)
			}
			s.finish(d, result{verdict: released, at: d.began, took: c.now.Sub(d.began), retryAfter: at, detail: "released by the client"})
			c.result.Outcome = tandem.LeaseReleased
		}
	})
}

// Extend lets leases end after visibility from now, zero means that of the subscription. The tokens stay. Codes: NotFound, Invalid,
// Unavailable.
func (m *Manager) Extend(ctx context.Context, name string, tokens []string, visibility time.Duration) ([]tandem.LeaseResult, error) {
	s, err := m.checkTokens(name, tokens)
	if err != nil {
		return nil, err
	}
	bad := tandem.Errorf(tandem.CodeInvalid, "the extension is invalid")
	if checkVisibility(bad, "/visibility", tandem.Duration(visibility)); len(bad.Fields) > 0 {
		return nil, bad
	}
	return s.eachLeaseOf(ctx, tokens, func(c *leaseCall) {
		if visibility == 0 {
			visibility = s.visibility()
		}
		until := c.now.Add(visibility)
		end := until.UTC().Format(time.RFC3339Nano)
		var all []*delivery
		for c.next() {
			if d := c.held; d != nil {
				s.leaveHand(d)
				all = append(all, d)
				c.result.Outcome, c.result.Until = tandem.LeaseExtended, end
			}
		}
		if len(all) > 0 {
			s.newHand(all, until, m.opts.Principal(ctx))
		}
	})
}

// checkTokens finds the subscription whose leases are meant.
func (m *Manager) checkTokens(name string, tokens []string) (*subscription, error) {
	s, err := m.findRunning(name)
	switch {
	case err != nil:
		return nil, err
	case len(tokens) == 0:
		return nil, tandem.Errorf(tandem.CodeInvalid, "no lease is named").WithField("/leases", "needs at least one lease")
	case len(tokens) > tandem.MaxBatchSize:
		return nil, tandem.Errorf(tandem.CodeInvalid, "too many leases").WithField("/leases", "must be at most %d", tandem.MaxBatchSize)
	}
	return s, nil
}

// leaseCall goes through the tokens of one call.
type leaseCall struct {
	s      *subscription
	now    time.Time
	tokens []string
	out    []tandem.LeaseResult
	i      int

	token  token
	result *tandem.LeaseResult // lost, until do says otherwise
	held   *delivery           // whose lease token is; nil when that is over
	found  *delivery           // the delivery without outcome that is meant, whoever has it
	others map[where]*delivery // collected only if needed: those that no track has
}

// eachLease lets do go through tokens, with mu held. Codes: Invalid, NotFound, Unavailable.
func (s *subscription) eachLease(tokens []string, do func(*leaseCall)) ([]tandem.LeaseResult, error) {
	c := &leaseCall{s: s, now: time.Now(), tokens: tokens, out: make([]tandem.LeaseResult, len(tokens)), i: -1}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.halted:
		return nil, s.ended()
	case !s.pulled() && s.leased == 0:
		return nil, notPulled(s.name)
	}
	do(c)
	s.kick()
	return c.out, nil
}

// next goes to the next token that is one.
func (c *leaseCall) next() bool {
	for {
		if c.i++; c.i == len(c.tokens) {
			return false
		}
		text := c.tokens[c.i]
		c.result = &c.out[c.i]
		*c.result = tandem.LeaseResult{Token: text, Outcome: tandem.LeaseInvalid}
		var ok bool
		if c.token, ok = parseToken(text); !ok || c.token.subscription != c.s.tag {
			continue
		}
		c.result.Outcome = tandem.LeaseLost
		c.held, c.found = nil, c.find()
		if d := c.found; d != nil && d.lease.hand != nil && d.lease.nonce == c.token.nonce {
			c.held = d
		}
		return true
	}
}

// late returns the delivery of a lease that is over, nil if somebody else has it, or its dead letter is still to be read.
func (c *leaseCall) late() *delivery {
	if d := c.found; d != nil && !d.unlearned() && (d.stage == stageReady || d.stage == stageRetrying) {
		return d
	}
	return nil
}

// find returns the delivery of the token, nil if it has its outcome or was sought over.
func (c *leaseCall) find() *delivery {
	s, t := c.s, &c.token
	var d *delivery
	switch {
	case t.redrive:
		d = s.redrives[deadID(t.where, t.epoch)]
	default:
		if d = s.heldAt(t.where); d == nil {
			d = c.other()
		}
	}
	if d == nil || d.epoch != t.epoch || d.stage == stageSettled {
		return nil
	}
	return d
}

// heldAt returns the delivery of home log at a place.
func (s *subscription) heldAt(w where) *delivery {
	if t := s.tracks[w.topic]; t != nil && w.part < len(t.parts) {
		return t.parts[w.part].heldAt(w.offset)
	}
	return nil
}

// other looks among the parked events, those that waited behind one, and those of a topic that was deleted.
func (c *leaseCall) other() *delivery {
	if c.others == nil {
		c.others = map[where]*delivery{}
		for d := range c.s.parked {
			c.others[d.where] = d
		}
		for _, l := range c.s.lanes {
			c.others[l.queue[0].where] = l.queue[0]
		}
		for _, h := range c.s.hands {
			for _, d := range h.leases {
				if d != nil && d.home != homeRedrive {
					c.others[d.where] = d
				}
			}
		}
	}
	return c.others[c.token.where]
}
