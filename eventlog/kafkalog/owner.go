package kafkalog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

// tombstones is how long Kafka keeps the records of deletions in the topic of state at least. An index that was left behind for longer may hold what
// was deleted, and is made anew.
const tombstones = 7 * 24 * time.Hour

// openIndex opens the index; one that may have missed deletions is removed first.
func (e *Engine) openIndex(identity [8]byte) error {
	open := func() (next uint64, err error) {
		if e.state.index, err = stateindex.Open(e.opts.Dir, identity); err != nil {
			return 0, tandem.Errorf(tandem.CodeUnavailable, "open the index of state: %w", err)
		}
		return e.state.index.Next()
	}
	next, err := open()
	if err != nil {
		return err
	}
	seen, _, ok, err := e.state.index.Get(keySeen)
	if err != nil {
		return err
	}
	if ok && len(seen) == 8 && time.Since(time.Unix(int64(binary.BigEndian.Uint64(seen)), 0)) > tombstones/2 {
		if next, err = e.emptyIndex(open); err != nil {
			return err
		}
	}
	e.state.applied = next
	if owner, _, ok, err := e.state.index.Get(keyOwner); err != nil {
		return err
	} else if ok && len(owner) >= 8 {
		e.state.epoch = binary.BigEndian.Uint64(owner)
	}
	return nil
}

func (e *Engine) emptyIndex(open func() (uint64, error)) (uint64, error) {
	if err := e.state.index.Close(); err != nil {
		return 0, err
	}
	if e.opts.Dir != "" {
		if err := os.RemoveAll(e.opts.Dir); err != nil {
			return 0, tandem.Errorf(tandem.CodeUnavailable, "remove the index of state: %w", err)
		}
	}
	return open()
}

// errAhead says that the index goes further than the log.
var errAhead = errors.New("the index of state is ahead of its topic")

// claim reads all state there is and takes it over: from then on what another process writes does not count.
func (e *Engine) claim(ctx context.Context) error {
	s := &e.state
	for {
		hello := &kgo.Record{Topic: s.topic, Key: []byte(keyHello), Value: []byte(s.nonce)}
		if err := e.stateNow(ctx, hello); err != nil {
			return coded("take the log over", err)
		}
		if uint64(hello.Offset) < s.startedAt {
			return errAhead
		}
		if err := s.until(ctx, func() bool { return s.applied > uint64(hello.Offset) }); err != nil {
			return coded("read the state", err)
		}
		s.mu.Lock()
		epoch := s.epoch + 1
		s.mu.Unlock()
		owner := s.recordOf(keyOwner, []byte(s.nonce), epoch)
		if err := e.stateNow(ctx, owner); err != nil {
			return coded("take the log over", err)
		}
		if err := s.until(ctx, func() bool { return s.applied > uint64(owner.Offset) }); err != nil {
			return coded("take the log over", err)
		}
		v, rev, _, err := s.index.Get(keyOwner)
		if err != nil {
			return err
		}
		if rev == uint64(owner.Offset) && string(v[8:]) == s.nonce {
			s.mu.Lock()
			if s.mine = epoch; s.epoch > epoch { // another one came right behind
				s.deposed = uint64(owner.Offset) + 1
				s.refuse(errDeposed())
			}
			s.mu.Unlock()
			return nil
		}
	}
}

// stateNow produces one record of state and waits for it.
func (e *Engine) stateNow(ctx context.Context, rec *kgo.Record) error {
	outcome := make(chan error, 1)
	e.stateProducer.TryProduce(ctx, rec, func(_ *kgo.Record, err error) { outcome <- err })
	if err := e.stateProducer.Flush(ctx); err != nil {
		return err
	}
	return <-outcome
}

// Own implements driver.Driver. The epoch is a state record, so it rises over restarts too. The names' fences are compared by the committer: this
// process alone writes state, and whoever takes that over fences all names at once.
func (e *Engine) Own(ctx context.Context, name string) (driver.Fence, error) {
	if err := e.writable(); err != nil {
		return driver.Fence{}, err
	}
	fence := driver.Fence{Name: name}
	err := e.control(ctx, func(g *group) ([]stateOp, error) {
		cur, err := g.epoch(name)
		fence.Epoch = cur + 1
		return []stateOp{{key: kindFence + name, value: binary.BigEndian.AppendUint64(nil, fence.Epoch)}}, err
	})
	return fence, err
}

// control has the committer write what fn says.
func (e *Engine) control(ctx context.Context, fn func(*group) ([]stateOp, error)) error {
	return e.submit(ctx, &request{control: fn, bytes: 64, failed: -1, done: make(chan struct{})})
}

// openTx makes the producer of transactions. Whoever makes the next one fences this one, so it is asked first whether this process still
// owns the state.
func (e *Engine) openTx() error {
	if err := e.produceState([]*kgo.Record{e.state.record(keyOwner, []byte(e.state.nonce))}, func() {}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.life, e.opts.Timeout)
	defer cancel()
	return e.initTx(ctx)
}

// initTx takes over the transactional id. A transaction that its last producer left open is ended by that.
func (e *Engine) initTx(ctx context.Context) error {
	tx, err := e.opts.newClient(append(e.producing(), kgo.TransactionalID(e.opts.Prefix+"tandem"), kgo.TransactionTimeout(10*time.Second), kgo.ProducerLinger(0))...)
	if err != nil {
		return err
	}
	if _, _, err := tx.ProducerID(ctx); err != nil {
		tx.Close()
		return coded("begin to write transactions", err)
	}
	e.tx = tx
	return nil
}

func (e *Engine) closeTx() {
	if e.tx != nil {
		e.tx.Close()
		e.tx = nil
	}
}

// kgoFatal reports whether a producer of transactions is of no use after an error.
func kgoFatal(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.InvalidProducerIDMapping) ||
		errors.Is(err, kerr.UnknownProducerID) || errors.Is(err, kerr.OutOfOrderSequenceNumber) || errors.Is(err, kerr.InvalidTxnState)
}

func newNonce() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
