package pebblelog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// durableState tells ScanState when what it sees is durable: Pebble shows a batch before its sync.
type durableState struct {
	applied atomic.Uint64 // batches handed to Pebble

	mu      sync.Mutex
	durable uint64
	moved   chan struct{} // closed and replaced when durable rises and somebody waits
	waiting bool
}

func (s *durableState) init() { s.moved = make(chan struct{}) }

func (s *durableState) advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable++
	if s.waiting {
		close(s.moved)
		s.moved, s.waiting = make(chan struct{}), false
	}
}

// waitDurable returns when n batches are durable.
func (e *Engine) waitDurable(ctx context.Context, n uint64) error {
	s := &e.state
	for {
		s.mu.Lock()
		if s.durable >= n {
			s.mu.Unlock()
			return nil
		}
		moved := s.moved
		s.waiting = true
		s.mu.Unlock()
		select {
		case <-moved:
		case <-e.failure.done:
			return e.failure.get()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ScanState implements driver.Driver. It sees one moment of the records, and waits for the sync of what it sees.
func (e *Engine) ScanState(ctx context.Context, from, to string, fn func(key string, value []byte) bool) error {
	if err := e.reading(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	upper := spaceEnd(spaceState)
	if to != "" {
		upper = nameKey(spaceState, to)
	}
	it, err := e.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: nameKey(spaceState, from), UpperBound: upper})
	if err != nil {
		return err
	}
	// A batch is counted before it is applied, so that what the iterator sees is counted.
	if err := e.waitDurable(ctx, e.state.applied.Load()); err != nil {
		return errors.Join(err, it.Close())
	}
	for it.First(); it.Valid(); it.Next() {
		if !fn(string(it.Key()[1:]), it.Value()) {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}
