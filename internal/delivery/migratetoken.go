package delivery

import (
	"context"

	"github.com/tandem-hybrid/tandem"
)

// renew returns tokens in which leases of before a migration name their events by where they lie now: such a lease is over, and can be
// acknowledged as long as nobody else has the event. Of an event that was not copied the token stays without one.
func (s *subscription) renew(ctx context.Context, tokens []string) ([]string, error) {
	s.mu.Lock()
	past := s.config.Moved
	s.mu.Unlock()
	if len(past) == 0 {
		return tokens, nil
	}
	out := make([]string, len(tokens))
	for i, text := range tokens {
		out[i] = text
		tok, ok := parseToken(text)
		if !ok {
			continue
		}
		for _, p := range past {
			if p.Tag != tok.subscription {
				continue
			}
			topic, offset, ok, err := s.m.log.Moved(ctx, p.Log, tok.topic, tok.part, tok.offset)
			if err != nil {
				return nil, err
			}
			tok.subscription, tok.topic, tok.offset = s.tag, topic, offset
			if !ok {
				tok.topic = 0 // no topic has it
			}
			out[i] = tok.String()
		}
	}
	return out, nil
}

// asAsked gives results the tokens that were asked with.
func asAsked(results []tandem.LeaseResult, tokens []string) []tandem.LeaseResult {
	for i := range results {
		results[i].Token = tokens[i]
	}
	return results
}

// eachLeaseOf is eachLease with tokens that may be of before a migration.
func (s *subscription) eachLeaseOf(ctx context.Context, tokens []string, do func(*leaseCall)) ([]tandem.LeaseResult, error) {
	fresh, err := s.renew(ctx, tokens)
	if err != nil {
		return nil, err
	}
	out, err := s.eachLease(fresh, do)
	return asAsked(out, tokens), err
}
