package kafkalog

import (
	"container/list"
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tandem-hybrid/tandem"
)

// Fetches of readers that are behind.
const (
	coldFetches   = 8                      // at once
	coldBytes     = 1 << 20                // asked for by one
	coldWait      = 100 * time.Millisecond // how long a broker may wait when there is nothing
	coldMinCached = 4 << 20                // that the chunks may take at least
)

// coldReads makes fetches of one partition one after another, so that of several who read the same one fetches.
type coldReads struct{ turn chan struct{} }

func (c *coldReads) init() { c.turn = make(chan struct{}, 1) }

// chunk is what one fetch brought: all events of [from, next).
type chunk struct {
	p       *partition
	from    uint64
	next    uint64
	records []tandem.Record
	bytes   int64
}

// chunks keeps the newest fetches, within bytes.
type chunks struct {
	mu    sync.Mutex
	total int64
	bytes int64
	lru   list.List // of *chunk, the last used first
	of    map[*partition][]*list.Element
}

// find returns the chunk that has an offset.
func (cs *chunks) find(p *partition, from uint64) *chunk {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, el := range cs.of[p] {
		if c := el.Value.(*chunk); c.from <= from && from < c.next {
			cs.lru.MoveToFront(el)
			return c
		}
	}
	return nil
}

func (cs *chunks) add(c *chunk) {
	c.bytes = recordOverhead
	for i := range c.records {
		c.bytes += footprint(&c.records[i])
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.of[c.p] = append(cs.of[c.p], cs.lru.PushFront(c))
	cs.bytes += c.bytes
	for cs.bytes > cs.total && cs.lru.Len() > 1 {
		cs.removeLocked(cs.lru.Back())
	}
}

func (cs *chunks) removeLocked(el *list.Element) {
	c := cs.lru.Remove(el).(*chunk)
	cs.bytes -= c.bytes
	rest := cs.of[c.p][:0]
	for _, other := range cs.of[c.p] {
		if other != el {
			rest = append(rest, other)
		}
	}
	if cs.of[c.p] = rest; len(rest) == 0 {
		delete(cs.of, c.p)
	}
}

// forget drops the chunks of a topic.
func (cs *chunks) forget(t *topic) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, p := range t.parts {
		for len(cs.of[p]) > 0 {
			cs.removeLocked(cs.of[p][0])
		}
	}
}

// since returns the events from an offset on.
func since(records []tandem.Record, from uint64) []tandem.Record {
	return records[sort.Search(len(records), func(i int) bool { return records[i].Position.Offset >= from }):]
}

// readCold returns a chunk that has an offset, fetched if need be. One whose next is from has nothing: what is there is not decided yet.
func (e *Engine) readCold(ctx context.Context, p *partition, from uint64) (*chunk, error) {
	if c := e.chunks.find(p, from); c != nil {
		return c, nil
	}
	if err := acquire(ctx, p.cold.turn); err != nil {
		return nil, err
	}
	defer func() { <-p.cold.turn }()
	if c := e.chunks.find(p, from); c != nil {
		return c, nil
	}
	if err := acquire(ctx, e.coldTurns); err != nil {
		return nil, err
	}
	defer func() { <-e.coldTurns }()
	c, err := e.fetch(ctx, p, from, coldBytes)
	if err == nil && c.next > c.from {
		e.chunks.add(c)
	}
	return c, err
}

func acquire(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeUnavailable, "not read in time: %w", context.Cause(ctx))
	}
}

// fetch asks the partition's leader once, or again when it has moved.
func (e *Engine) fetch(ctx context.Context, p *partition, from uint64, bytes int32) (*chunk, error) {
	t := p.topic.Load()
	for try := 0; ; try++ {
		leader := p.leader.Load()
		if leader < 0 {
			if err := e.findLeaders(ctx, t); err != nil {
				return nil, coded("read "+t.Name, err)
			}
			leader = p.leader.Load()
		}
		fp, next, err := e.fetchFrom(ctx, leader, t, p, from, bytes)
		switch {
		case err == nil:
			c := &chunk{p: p, from: from}
			var told uint64
			c.records, _, told = p.decodeAll(fp.Records, nil)
			c.next = max(from, uint64(max(0, next)))
			p.raiseStart(fp.LogStartOffset)
			e.told(p, told)
			return c, nil
		case errors.Is(err, kerr.OffsetOutOfRange):
			start, err := e.listStart(ctx, t, p)
			if err != nil {
				return nil, err
			}
			if start > from {
				p.raiseStart(int64(start))
				return &chunk{p: p, from: from, next: start}, nil
			}
			return &chunk{p: p, from: from, next: from}, nil // beyond the end
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
			e.suspectTopics()
		}
		if p.gone.Load() {
			return nil, errNoPartition(t.Name, p.num)
		}
		p.leader.Store(-1)
		if ctx.Err() != nil || try == 20 {
			return nil, coded("read "+t.Name, err)
		}
		select {
		case <-time.After(min(time.Duration(try+1)*20*time.Millisecond, 250*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// fetchFrom is one request. next is the offset after all that the answer covers.
func (e *Engine) fetchFrom(ctx context.Context, node int32, t *topic, p *partition, from uint64, bytes int32) (fp kgo.FetchPartition, next int64, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = -1, int32(coldWait.Milliseconds()), 1, bytes, 1
	req.SessionEpoch = -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch = p.num, int64(from), bytes, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = t.kafka, t.uuid, []kmsg.FetchRequestTopicPartition{part}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	answer, err := e.client.Broker(int(node)).RetriableRequest(ctx, req)
	if err != nil {
		return fp, 0, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fp, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return fp, 0, errors.New("the broker's answer is about other partitions")
	}
	fp, next = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{KeepControlRecords: true, Offset: int64(from), IsolationLevel: kgo.ReadCommitted(), Topic: t.kafka, Partition: p.num},
		&resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return fp, next, fp.Err
}
