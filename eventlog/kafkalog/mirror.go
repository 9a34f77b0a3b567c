package kafkalog

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Place is how far a reader of a partition is.
type Place struct {
	Topic     driver.ID
	Partition int
	Next      uint64 // offset of the first event that is not done with
}

// Mirror commits places as the offsets of a plain consumer group, for tools that show lags. Nothing of Tandem's reads them: the truth is
// the state. Kafka refuses it while the group has members. Places of topics that are gone are left out. Code: Unavailable.
func (e *Engine) Mirror(ctx context.Context, group string, places []Place) error {
	offsets := kadm.Offsets{}
	for _, at := range places {
		if p, err := e.topics.partition(at.Topic, at.Partition); err == nil {
			offsets.AddOffset(p.topic.Load().kafka, p.num, int64(at.Next), -1)
		}
	}
	if len(offsets) == 0 {
		return e.open(nil)
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	return coded("mirror the places of "+group, e.admin.CommitAllOffsets(ctx, group, offsets))
}

// Transactions says how long transactions held back those who read committed events, since the engine was opened.
type Transactions struct {
	Count   uint64
	Total   time.Duration
	Longest time.Duration
}

type stats struct {
	mu sync.Mutex
	tx Transactions
}

func (s *stats) transaction(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx.Count++
	s.tx.Total += took
	s.tx.Longest = max(s.tx.Longest, took)
}

// Transactions returns figures about transactions.
func (e *Engine) Transactions() Transactions {
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	return e.stats.tx
}
