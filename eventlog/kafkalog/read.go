package kafkalog

import (
	"cmp"
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// tailWait is how long a reader waits for the tail before it asks the broker itself.
const tailWait = 100 * time.Millisecond

// Read implements driver.Driver. What was told and has not come yet, also behind a transaction of others that is not decided, is waited
// for, within Options.Timeout. The records' Data, texts and extensions are shared and read-only.
func (e *Engine) Read(ctx context.Context, id driver.ID, part int, from uint64, most, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	p, err := e.topics.partition(id, part)
	if err != nil {
		return dst, e.open(err)
	}
	if p.tail.touch(time.Now()) {
		if err := e.open(nil); err != nil {
			return dst, err
		}
		e.tails.follow(p)
	}
	from = max(from, p.start.Load())
	end := p.end.Load() // what is told meanwhile is for the next Read
	if from >= end || most < 1 {
		return dst, e.open(nil)
	}
	t := taker{dst: dst, most: most, room: maxBytes}
	var cancel context.CancelFunc
	for {
		next, held, older, wake := p.tail.read(from, &t)
		if held {
			if from = next; t.full || from >= end {
				return t.dst, nil
			}
			continue
		}
		if cancel == nil {
			ctx, cancel = context.WithTimeout(ctx, e.opts.Timeout)
			defer cancel()
		}
		if !older && wait(ctx, wake) {
			continue
		}
		c, err := e.readCold(ctx, p, from)
		if err != nil {
			if t.taken > 0 {
				return t.dst, nil // the next Read meets it again
			}
			return dst, err
		}
		t.take(since(c.records, from))
		stays := c.next <= from
		if from = max(c.next, p.start.Load()); t.full || from >= end || stays && t.taken > 0 {
			return t.dst, nil
		}
		if p.gone.Load() {
			return dst, errNoPartition(uint64(id), part)
		}
		if ctx.Err() != nil || e.life.Err() != nil {
			return dst, e.open(tandem.Errorf(tandem.CodeUnavailable, "read %s: what is stored at %d cannot be read yet", p.topic.Load().Name, from).
				WithHint("a transaction of another client may hold it back, or a broker be lost"))
		}
	}
}

// wait reports whether the tail moved within a while.
func wait(ctx context.Context, wake <-chan struct{}) bool {
	timer := time.NewTimer(tailWait)
	defer timer.Stop()
	select {
	case <-wake:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Bounds implements driver.Driver, without I/O. Seq is the offset plus one, so differences are upper bounds; Bytes is an estimate.
func (e *Engine) Bounds(_ context.Context, id driver.ID, part int) (driver.Bounds, error) {
	p, err := e.topics.partition(id, part)
	if err != nil {
		return driver.Bounds{}, e.open(err)
	}
	return p.bounds(), e.open(nil)
}

// OffsetAt implements driver.Driver: it asks the leader, who looks at the records' time stamps.
func (e *Engine) OffsetAt(ctx context.Context, id driver.ID, part int, t time.Time) (uint64, error) {
	p, err := e.topics.partition(id, part)
	if err != nil {
		return 0, e.open(err)
	}
	if err := e.open(nil); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	top := p.topic.Load()
	got, err := e.listOffset(ctx, top, p, max(0, ms))
	if err != nil {
		return 0, coded("offset at a time of "+top.Name, err)
	}
	if got < 0 { // none so late
		return p.end.Load(), nil
	}
	return min(uint64(got), p.end.Load()), nil
}

// listOffset asks for one offset, by a time in milliseconds or one of Kafka's special values.
func (e *Engine) listOffset(ctx context.Context, t *topic, p *partition, at int64) (int64, error) {
	found := int64(-1)
	err := e.listOffsets(ctx, false, at, map[string][]int32{t.kafka: {p.num}}, func(_ string, got *kmsg.ListOffsetsResponseTopicPartition) {
		found = got.Offset
	})
	return found, err
}

// The special times of a list of offsets.
const (
	listLatest   = -1
	listEarliest = -2
)

// listOffsets asks the leaders for offsets of partitions and calls fn for those that have one. With stable, the latest is that below which every
// transaction has ended. The error is the first that a broker or a partition answered.
func (e *Engine) listOffsets(ctx context.Context, stable bool, at int64, parts map[string][]int32, fn func(kafka string, got *kmsg.ListOffsetsResponseTopicPartition)) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if stable {
		req.IsolationLevel = 1
	}
	for name, nums := range parts {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = name
		for _, n := range nums {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = n, at, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	var first error
	for _, shard := range e.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			first = cmp.Or(first, shard.Err)
			continue
		}
		resp := shard.Resp.(*kmsg.ListOffsetsResponse)
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				got := &resp.Topics[i].Partitions[j]
				if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
					first = cmp.Or(first, err)
					continue
				}
				fn(resp.Topics[i].Topic, got)
			}
		}
	}
	return first
}

func (e *Engine) listStart(ctx context.Context, t *topic, p *partition) (uint64, error) {
	o, err := e.listOffset(ctx, t, p, listEarliest)
	if err != nil {
		return 0, coded("read "+t.Name, err)
	}
	return uint64(max(0, o)), nil
}
