package natslog

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

// state keeps the state records: one stream, whose subjects are the keys and which keeps the last message of each, and a local index of it.
// One goroutine commits: each commit says after which message of the stream it comes, and the server refuses it when others have written
// in between. So what was decided by the index holds in the stream, too.
type state struct {
	e      *Engine
	stream string
	index  *stateindex.Index
	own    atomic.Bool // this process has taken the log over

	mu      sync.Mutex
	waiting []*change

	wake   chan struct{}
	hinted atomic.Bool

	// What follows belongs to the committer.
	replicas int
	next     uint64            // the sequence from which nothing is in the index
	parts    map[string][]byte // pieces whose record has not come yet, by key
	held     uint64            // sequence of the first of those
	seen     string            // the newest commit that was read from the stream
	mark     time.Time         // when the index was marked as up to date
}

// change is what one caller wants to store.
type change struct {
	ops     []driver.StateOp // keys are index keys; values are not the caller's
	fence   *driver.Fence
	take    string // the name to own
	base    int    // index of the first op in the batch
	until   time.Time
	epoch   uint64
	failed  int
	err     error
	decided bool // err stands
	done    chan struct{}
}

// ScanState implements driver.Driver.
func (e *Engine) ScanState(_ context.Context, from, to string, fn func(key string, value []byte) bool) error {
	if !e.enter() {
		return errClosed()
	}
	defer e.leave()
	upper := string(rune(kindRecord + 1))
	if to != "" {
		upper = string(kindRecord) + to
	}
	return e.state.index.Scan(string(kindRecord)+from, upper, func(k string, v []byte, _ uint64) bool {
		_, value := splitParts(v)
		return fn(k[1:], value)
	})
}

// get returns a record of the index.
func (s *state) get(key string) (value []byte, parts int, ok bool, err error) {
	v, _, ok, err := s.index.Get(key)
	if !ok || err != nil {
		return nil, 0, false, err
	}
	parts, value = splitParts(v)
	return value, parts, true, nil
}

// The index holds before each value how many pieces it has in the stream beside its first.
func splitParts(v []byte) (int, []byte) {
	n, size := binary.Uvarint(v)
	if size <= 0 {
		return 0, nil
	}
	return int(n), v[size:]
}

func withParts(parts int, value []byte) []byte {
	return append(binary.AppendUvarint(make([]byte, 0, len(value)+2), uint64(parts)), value...)
}

func (s *state) epoch(name string) (uint64, error) {
	v, _, _, err := s.get(string(kindOwner) + name)
	n, _ := binary.Uvarint(v)
	return n, err
}

// check refuses a batch early by what the index says, before its events are stored.
func (s *state) check(b *driver.Batch) error {
	if !s.e.enter() {
		return errClosed()
	}
	defer s.e.leave()
	if b.Fence != nil {
		epoch, err := s.epoch(b.Fence.Name)
		if err != nil {
			return err
		}
		if b.Fence.Epoch < epoch {
			return stale(b.Fence, epoch)
		}
	}
	for i := range b.State {
		op := &b.State[i]
		if op.If == nil {
			continue
		}
		value, _, ok, err := s.get(string(kindRecord) + op.Key)
		if err != nil {
			return err
		}
		if !holds(op, value, ok) {
			b.Failed = len(b.Records) + i
			return otherValue(op.Key)
		}
	}
	return nil
}

func holds(op *driver.StateOp, value []byte, ok bool) bool {
	switch {
	case op.If == nil:
		return true
	case len(op.If) == 0:
		return !ok
	}
	return ok && bytes.Equal(value, op.If)
}

func otherValue(key string) error {
	return tandem.Errorf(tandem.CodeConflict, "state %s has another value", key)
}

func stale(f *driver.Fence, epoch uint64) error {
	return tandem.Errorf(tandem.CodePrecondition, "%s is owned by epoch %d, not %d", f.Name, epoch, f.Epoch)
}

// commit stores the state of a batch.
func (s *state) commit(ctx context.Context, b *driver.Batch) error {
	c := &change{fence: b.Fence, base: len(b.Records), ops: make([]driver.StateOp, len(b.State))}
	if f := b.Fence; f != nil {
		own := *f
		c.fence = &own
	}
	for i, op := range b.State {
		if op.Key == "" || len(s.e.names.stateSubject("r"+op.Key)) > maxSubject {
			return tandem.Errorf(tandem.CodeInvalid, "a state key of %d bytes cannot be a NATS subject", len(op.Key))
		}
		c.ops[i] = driver.StateOp{Key: string(kindRecord) + op.Key, Value: bytes.Clone(op.Value), If: bytes.Clone(op.If)}
	}
	done, err := s.do(ctx, c)
	if done && c.failed >= 0 {
		b.Failed = c.failed
	}
	return err
}

// put stores one record of the engine's own, by its index key; a nil value deletes it.
func (s *state) put(ctx context.Context, key string, value []byte) error {
	_, err := s.do(ctx, &change{ops: []driver.StateOp{{Key: key, Value: value}}})
	return err
}

// Own implements driver.Driver.
func (e *Engine) Own(ctx context.Context, name string) (driver.Fence, error) {
	if err := e.writable(); err != nil {
		return driver.Fence{}, err
	}
	c := &change{take: name}
	if _, err := e.state.do(ctx, c); err != nil {
		return driver.Fence{}, err
	}
	return driver.Fence{Name: name, Epoch: c.epoch}, nil
}

// do hands a change to the committer and waits for it. Without done, the committer may still work on it.
func (s *state) do(ctx context.Context, c *change) (done bool, err error) {
	c.failed, c.done, c.until = -1, make(chan struct{}), time.Now().Add(s.e.opts.Timeout)
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	s.signal()
	select {
	case <-c.done:
		return true, c.err
	case <-ctx.Done():
		return false, tandem.Errorf(tandem.CodeUnavailable, "not known to be stored: %w", context.Cause(ctx))
	case <-s.e.closing:
		return false, errClosed()
	}
}

func (s *state) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hint has the committer read what others wrote.
func (s *state) hint() {
	s.hinted.Store(true)
	s.signal()
}
