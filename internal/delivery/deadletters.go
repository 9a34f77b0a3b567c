package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// maxDeadPage and maxDeadPageBytes bound a page of dead letters.
const (
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
	bytes := 0
	err = s.scanDead(ctx, after, func(id string, value []byte) bool {
		if len(page) == limit || bytes+len(value) > maxDeadPageBytes && len(page) > 0 {
			next = page[len(page)-1].ID
			return false
		}
		bytes += len(value)
		page = append(page, deadLetter(name, id, value))
		return true
	})
	return page, next, err
}

// DeadLetter returns one dead letter. Code: NotFound (the subscription, or the id).
func (m *Manager) DeadLetter(ctx context.Context, name, id string) (tandem.DeadLetter, error) {
	s, err := m.find(name)
	if err != nil {
		return tandem.DeadLetter{}, err
	}
	if _, _, ok := parseDeadID(id); !ok {
		return tandem.DeadLetter{}, noDeadLetter(name, id)
	}
	value, err := m.log.State(ctx, s.key(kindDead)+id)
	if err != nil {
		return tandem.DeadLetter{}, err
	}
	if value == nil {
		return tandem.DeadLetter{}, noDeadLetter(name, id)
	}
	return deadLetter(name, id, value), nil
}

func noDeadLetter(name, id string) error {
	return tandem.Errorf(tandem.CodeNotFound, "subscription %s has no dead letter %q", name, id)
}

// deadLetter shows a record. One that cannot be read is shown with what is wrong with it, so that it can be discarded.
func deadLetter(name, id string, value []byte) tandem.DeadLetter {
	l, rec, err := parseLetter(value)
	letter := tandem.DeadLetter{ID: id, Subscription: name, Event: rec, Reason: l.Reason, Detail: l.Detail, Status: l.Status,
		Attempts: l.Attempts, History: l.History, At: l.At.Format(time.RFC3339Nano)}
	if err != nil {
		letter.Reason, letter.Detail = "damaged", err.Error()
	}
	return letter
}

// scanDead calls fn for the dead letters with ids greater than after.
func (s *subscription) scanDead(ctx context.Context, after string, fn func(id string, value []byte) bool) error {
	prefix := s.key(kindDead)
	return s.m.log.ScanStateFrom(ctx, prefix, prefix+after, func(key string, value []byte) bool {
		id := key[len(prefix):]
		return id <= after || fn(id, value)
	})
}
