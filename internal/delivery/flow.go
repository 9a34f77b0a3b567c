package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// maxFailedCalls bounds the rows that FailedCalls looks at.
const maxFailedCalls = maxLooked

// DeliveriesAt returns, of every subscription that selects the topic of an event, or did in a version of its declaration that is known, how
// its delivery stands, and after that the outcomes of other epochs, newest first. The subscriptions come in order of their names. There are
// none where the event never was, or its topic is gone. Code: Unavailable.
func (m *Manager) DeliveriesAt(ctx context.Context, at tandem.Position) ([]tandem.Delivery, error) {
	info, ok := m.topic(at.Topic)
	if !ok || at.Partition < 0 || at.Partition >= info.Partitions {
		return nil, nil
	}
	w := where{info.ID, at.Partition, at.Offset}
	rec, err := m.readOne(ctx, w)
	if err != nil {
		return nil, err
	}
	var out []tandem.Delivery
	err = m.eachOf(ctx, at.Topic, func(s *subscription, older *past) error {
		st, err := s.standing(ctx, older, at.Topic, w, rec)
		out = append(out, st.rows...)
		return tandem.Wrap("deliveries of "+s.name, err)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachOf calls fn for the subscriptions that select a topic, or did in a version of their declaration that is known, in the order of their names.
func (m *Manager) eachOf(ctx context.Context, topic string, fn func(s *subscription, older *past) error) error {
	for _, s := range m.sorted() {
		var older past
		conf := s.configuration()
		js, err := older.judges(ctx, s, &conf)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(js, func(j judge) bool { return matchesTopic(&j.Declaration, topic) }) {
			continue
		}
		if err := fn(s, &older); err != nil {
			return err
		}
	}
	return nil
}

// Called reports whether an event was stored after a subscription of mode request had taken it in a call.
func (m *Manager) Called(rec *tandem.Record, subscription string) bool {
	s, err := m.find(subscription)
	return err == nil && s.took(rec)
}

// FailedCalls returns the calls of request chains of some flows whose event was not stored, made at a time or later, as far as the ledgers go
// back, in the order of the names of subscriptions. It looks at the first 20,000 such calls of each, and reports whether that was all. Code: Unavailable.
func (m *Manager) FailedCalls(ctx context.Context, since time.Time, of func(flow string) bool) (calls []tandem.Delivery, all bool, err error) {
	return m.failedCalls(ctx, since, false, func(r *row) bool { return of(r.Flow) })
}

func (m *Manager) failedCalls(ctx context.Context, since time.Time, newest bool, wanted func(*row) bool) (out []tandem.Delivery, whole bool, err error) {
	whole = true
	for _, s := range m.sorted() {
		s.mu.Lock()
		call := func(o outcome) bool { return o.row != nil && o.row.isRequest }
		waits := slices.ContainsFunc(s.ledger.pending, call) || slices.ContainsFunc(s.ledger.flying, call)
		s.mu.Unlock()
		if waits {
			if err := s.flush(ctx); err != nil {
				return nil, false, tandem.Wrap("store the calls that are asked for", err)
			}
		}
		s.mu.Lock()
		all := slices.Clone(s.ledger.segments)
		s.mu.Unlock()
		if newest {
			slices.Reverse(all)
		}
		looked := 0
		for i := range all {
			if g := &all[i]; g.at.low > g.at.high || g.at.high < uint64(max(0, since.UnixMilli())) {
				continue
			}
			var bad error
			err := m.log.ScanState(ctx, s.ledgerKey(all[i].start, ledgerRequest), func(key string, value []byte) bool {
				var r *row
				if r, bad = parseRow(value); bad != nil {
					bad = damaged(key, bad)
					return false
				}
				if looked++; looked > maxFailedCalls {
					whole = false
					return false
				}
				if wanted(r) {
					out = append(out, r.delivery(s.name, where{}, 0))
				}
				return true
			})
			if err == nil {
				err = bad
			}
			if err != nil {
				return nil, false, tandem.Wrap("calls of "+s.name, err)
			}
			if looked > maxFailedCalls {
				break
			}
		}
	}
	return out, whole, nil
}
