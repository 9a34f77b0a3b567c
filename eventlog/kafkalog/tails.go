package kafkalog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
)

const (
	// idleTail is after how long without a read a partition is no longer followed.
	idleTail = time.Minute
	// minTail is what each tail may hold, however many there are.
	minTail = 64 << 10
)

// tails follows the partitions that are read, with one client for all of them.
type tails struct {
	client *kgo.Client
	total  int64

	mu sync.Mutex
	on map[*partition]struct{}
}

// limit is what one tail may hold. It is called with mu held.
func (ts *tails) limitLocked() int64 { return max(ts.total/int64(max(1, len(ts.on))), minTail) }

// follow turns a partition's tail on from its end.
func (ts *tails) follow(p *partition) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	from := p.end.Load()
	if p.gone.Load() || !p.tail.start(from) {
		return
	}
	before := ts.limitLocked()
	ts.on[p] = struct{}{}
	if limit := ts.limitLocked(); limit < before {
		for other := range ts.on {
			other.tail.trim(limit)
		}
	}
	ts.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic.Load().kafka: {p.num: kgo.NewOffset().At(int64(from))}})
}

// leave turns tails off.
func (ts *tails) leave(parts ...*partition) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, p := range parts {
		ts.leaveLocked(p)
	}
}

func (ts *tails) leaveLocked(p *partition) {
	if _, ok := ts.on[p]; !ok {
		return
	}
	delete(ts.on, p)
	p.tail.stop()
	ts.client.RemoveConsumePartitions(map[string][]int32{p.topic.Load().kafka: {p.num}})
}

// leaveIdle turns off what nobody has read for a while.
func (ts *tails) leaveIdle(now time.Time) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for p := range ts.on {
		if p.tail.stopIfIdle(now.Add(-idleTail)) {
			ts.leaveLocked(p)
		}
	}
}

// forget is leave for all of a topic that was deleted. The client must not take its successor for it.
func (ts *tails) forget(t *topic) {
	ts.leave(t.parts...)
	ts.client.PurgeTopicsFromConsuming(t.kafka)
}

// poll takes what the client has fetched, until ctx is done.
func (e *Engine) pollTails(ctx context.Context) {
	var records []tandem.Record
	for {
		fetches := e.tails.client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachTopic(func(ft kgo.FetchTopic) {
			for i := range ft.Partitions {
				fp := &ft.Partitions[i]
				t, p := e.topics.ofKafka(ft.Topic, fp.Partition)
				if p == nil || ft.TopicID != [16]byte{} && ft.TopicID != t.uuid {
					continue
				}
				records = e.arrived(p, fp, records[:0])
				clear(records)
			}
		})
	}
}

// arrived takes what was fetched of a partition: first it can be read, then Notify tells of it.
func (e *Engine) arrived(p *partition, fp *kgo.FetchPartition, records []tandem.Record) []tandem.Record {
	p.raiseStart(fp.LogStartOffset)
	if fp.Err != nil {
		e.tailFailed(p, fp.Err)
	}
	records, next, told := p.decodeAll(fp.Records, records)
	if next == 0 {
		return records
	}
	e.tails.mu.Lock()
	limit := e.tails.limitLocked()
	e.tails.mu.Unlock()
	p.tail.add(records, next, limit)
	e.told(p, told)
	return records
}

// decodeAll appends the events among records, and returns the offset after all of them and after the last event.
func (p *partition) decodeAll(from []*kgo.Record, to []tandem.Record) (_ []tandem.Record, next, told uint64) {
	t := p.topic.Load()
	for _, r := range from {
		next = uint64(r.Offset) + 1
		if r.Attrs.IsControl() {
			continue
		}
		told = next
		to = append(to, tandem.Record{})
		decode(r, t, &to[len(to)-1])
	}
	return to, next, told
}

// tailFailed is told of an error while following. Readers go on by single fetches, which answer for themselves.
func (e *Engine) tailFailed(p *partition, err error) {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		e.suspectTopics()
	case kerr.IsRetriable(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return
	default:
		t := p.topic.Load()
		e.opts.Logger.Warn("a partition cannot be followed", "topic", t.Name, "kafka", t.kafka, "partition", p.num, "error", err)
	}
	e.tails.leave(p)
}
