package kafkalog

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

// The kinds of records in the topic of state, at the front of their keys.
const (
	kindState = "s/" // a state record of the log
	kindTopic = "t/" // a topic's declaration, by name
	kindFence = "f/" // the epoch of the newest fence of a name, eight bytes
	keyOwner  = "o/owner"
	keyHello  = "o/hello" // marks the end of the log for the process that wrote it
	keySeen   = "i/seen"  // in the index only: when it was brought up to date last, in seconds
)

// headerEpoch is the epoch of the process that wrote a record, eight bytes.
const headerEpoch = "e"

// state follows the topic of state and keeps the index of it.
//
// Its order decides who owns it. A record counts if its epoch is not lower than the largest seen before it; the record of an owner raises that. So a process that
// was taken over may still write, and what it writes is read by nobody.
type state struct {
	topic  string
	index  *stateindex.Index
	client *kgo.Client
	log    *slog.Logger

	// stale is told the keys that a process of the past wrote to: compaction must not keep its record and remove the one that counts.
	stale func(keys []string)

	mu      sync.Mutex
	applied uint64        // offset up to which the index goes
	epoch   uint64        // the largest seen
	moved   chan struct{} // closed when applied moves
	mine    uint64        // epoch of this process, zero before it owns
	nonce   string        // of this process
	deposed uint64        // offset of the record that took over, plus one

	startedAt uint64 // where the reading began

	ops   []stateindex.Op // of run alone
	seen  time.Time
	fault error // the index cannot be written; guarded by mu

	refusal atomic.Pointer[error] // set once there is a reason to write no more
}

// record makes a record of state with this process' epoch.
func (s *state) record(key string, value []byte) *kgo.Record {
	s.mu.Lock()
	epoch := s.mine
	s.mu.Unlock()
	return s.recordOf(key, value, epoch)
}

func (s *state) recordOf(key string, value []byte, epoch uint64) *kgo.Record {
	return &kgo.Record{Topic: s.topic, Key: []byte(key), Value: value,
		Headers: []kgo.RecordHeader{{Key: headerEpoch, Value: binary.BigEndian.AppendUint64(nil, epoch)}}}
}

// run follows the topic until ctx is done.
func (s *state) run(ctx context.Context) {
	for {
		fetches := s.client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) {
			s.log.Debug("the topic of state cannot be read for now", "error", err)
		})
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		if err := s.apply(records); err != nil {
			s.log.Error("the index of state cannot be written", "error", err)
			s.mu.Lock()
			s.fault = tandem.Errorf(tandem.CodeUnavailable, "the index of state cannot be written: %w", err)
			s.refuse(s.fault)
			s.mu.Unlock()
			return
		}
	}
}

// apply brings the index up to date with what was read.
func (s *state) apply(records []*kgo.Record) error {
	var stale []string
	s.ops = s.ops[:0]
	s.mu.Lock()
	epoch, mine := s.epoch, s.mine
	s.mu.Unlock()
	deposed := uint64(0)
	for _, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		key := string(r.Key)
		by, ok := header(r, headerEpoch)
		if !ok || len(by) != 8 {
			continue // a hello, or nobody of ours wrote it
		}
		of := binary.BigEndian.Uint64(by)
		switch {
		case of < epoch || key == keyOwner && of == epoch && !s.owns(r.Value):
			if mine > 0 && of < mine && key != keyOwner {
				stale = append(stale, key)
			}
			continue
		case of > epoch:
			if epoch = of; mine > 0 && of > mine && deposed == 0 {
				deposed = uint64(r.Offset) + 1
			}
		}
		if key == keyOwner {
			s.ops = append(s.ops, stateindex.Op{Key: key, Value: append(binary.BigEndian.AppendUint64(nil, of), r.Value...), Rev: uint64(r.Offset)})
			continue
		}
		s.ops = append(s.ops, stateindex.Op{Key: key, Value: r.Value, Rev: uint64(r.Offset)})
	}
	next := uint64(records[len(records)-1].Offset) + 1
	if now := time.Now(); now.Sub(s.seen) > time.Minute {
		s.seen = now
		s.ops = append(s.ops, stateindex.Op{Key: keySeen, Value: binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))})
	}
	if err := s.index.Apply(next, s.ops); err != nil {
		return err
	}
	clear(s.ops)
	s.mu.Lock()
	s.applied, s.epoch = next, epoch
	if deposed > 0 && s.deposed == 0 {
		s.deposed = deposed
		s.refuse(errDeposed())
	}
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	if len(stale) > 0 {
		s.stale(stale)
	}
	return nil
}

// owns reports whether an owner is the one that was seen last: that of this group, or of the index.
func (s *state) owns(nonce []byte) bool {
	for i := len(s.ops) - 1; i >= 0; i-- {
		if s.ops[i].Key == keyOwner {
			return string(s.ops[i].Value[8:]) == string(nonce)
		}
	}
	v, _, ok, err := s.index.Get(keyOwner)
	return err == nil && ok && len(v) >= 8 && string(v[8:]) == string(nonce)
}

// until waits until a condition holds, which is asked for with mu held.
func (s *state) until(ctx context.Context, holds func() bool) error {
	for {
		s.mu.Lock()
		ok, moved, fault := holds(), s.moved, s.fault
		s.mu.Unlock()
		if fault != nil {
			return fault
		}
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wait returns when the index goes up to an offset.
func (s *state) wait(ctx context.Context, to uint64) error {
	return s.until(ctx, func() bool { return s.applied >= to })
}

// confirm says whether what this process wrote at an offset counts. It was applied.
func (s *state) confirm(offset uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deposed > 0 && offset >= s.deposed {
		return errDeposed()
	}
	return nil
}

// err returns why state cannot be written, nil if it can.
func (s *state) err() error {
	if why := s.refusal.Load(); why != nil {
		return *why
	}
	return nil
}

func (s *state) refuse(why error) { s.refusal.CompareAndSwap(nil, &why) }

// ScanState implements driver.Driver. It works on the index.
func (e *Engine) ScanState(_ context.Context, from, to string, fn func(key string, value []byte) bool) error {
	if err := e.reading(); err != nil {
		return err
	}
	defer e.closing.RUnlock()
	end := afterState
	if to != "" {
		end = kindState + to
	}
	return e.state.index.Scan(kindState+from, end, func(key string, value []byte, _ uint64) bool { return fn(key[len(kindState):], value) })
}

// afterState is the smallest key after all of kindState.
const afterState = "s0"
