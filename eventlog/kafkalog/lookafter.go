package kafkalog

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tandem-hybrid/tandem"
)

// How often the engine looks at the cluster by itself.
const (
	lookEvery    = time.Second      // ends of what nobody follows, and whether the brokers answer
	topicsEvery  = 15 * time.Second // whether topics are still the same
	sizesEvery   = time.Minute
	scansPerLook = 64 // partitions whose new end is looked at closely
)

// lookAfter does what nobody asks for until ctx is done: it tells of what others store, turns off tails, and notices lost brokers and deleted topics.
func (e *Engine) lookAfter(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var topics, sizes time.Time
	for {
		suspected := false
		select {
		case <-ctx.Done():
			return
		case <-e.lookOver:
			suspected = true
		case <-tick.C:
		}
		now := time.Now()
		e.tails.leaveIdle(now)
		e.lookAtEnds(ctx)
		if suspected || now.Sub(topics) > topicsEvery {
			topics = now
			e.lookAtTopics(ctx)
		}
		if now.Sub(sizes) > sizesEvery {
			sizes = now
			e.lookAtSizes(ctx)
		}
	}
}

// suspectTopics has the topics looked at soon.
func (e *Engine) suspectTopics() {
	select {
	case e.lookOver <- struct{}{}:
	default:
	}
}

// lookAtEnds asks for the ends of all partitions that are not followed, and for the starts of all. An answer says that the brokers are there.
func (e *Engine) lookAtEnds(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	ends := map[string][]int32{e.state.topic: {0}}
	starts := map[string][]int32{}
	for _, t := range e.topics.all() {
		for _, p := range t.parts {
			starts[t.kafka] = append(starts[t.kafka], p.num)
			if !p.tail.following() {
				ends[t.kafka] = append(ends[t.kafka], p.num)
			}
		}
	}
	scans := scansPerLook
	err := e.listOffsets(ctx, true, listLatest, ends, func(kafka string, got *kmsg.ListOffsetsResponseTopicPartition) {
		_, p := e.topics.ofKafka(kafka, got.Partition)
		if p == nil || got.Offset <= int64(max(p.scanned.Load(), p.end.Load())) {
			return
		}
		if scans--; scans >= 0 {
			e.scan(ctx, p, uint64(got.Offset))
		} else {
			e.told(p, uint64(got.Offset))
		}
	})
	if len(starts) > 0 {
		err = errors.Join(err, e.listOffsets(ctx, false, listEarliest, starts, func(kafka string, got *kmsg.ListOffsetsResponseTopicPartition) {
			if _, p := e.topics.ofKafka(kafka, got.Partition); p != nil {
				p.raiseStart(got.Offset)
			}
		}))
	}
	e.noteContact(err)
}

// scan looks whether there is an event before a new end. It may as well be the mark of a transaction.
func (e *Engine) scan(ctx context.Context, p *partition, end uint64) {
	from := max(p.scanned.Load(), p.end.Load())
	c, err := e.fetch(ctx, p, from, 64<<10) // it tells of what it finds
	switch {
	case err != nil:
	case c.next >= end:
		p.scanned.Store(end)
	case len(c.records) > 0 || c.next == from:
		e.told(p, end)
	default:
		p.scanned.Store(c.next)
	}
}

// following reports whether the tail tells of what arrives.
func (t *tail) following() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.on && t.live
}

// noteContact is told what became of a look at the brokers.
func (e *Engine) noteContact(err error) {
	code := tandem.CodeOf(coded("", err))
	if err == nil || code == tandem.CodeNotFound {
		e.contact.Store(time.Now().UnixNano())
		if e.lost.Swap(nil) != nil {
			e.opts.Logger.Info("the Kafka brokers answer again")
		}
		if err != nil {
			e.suspectTopics()
		}
		return
	}
	if e.life.Err() != nil {
		return
	}
	since := time.Since(time.Unix(0, e.contact.Load())).Round(time.Second)
	var why error = tandem.Errorf(tandem.CodeUnavailable, "a Kafka broker has not answered for %v: %w", since, err)
	if e.lost.Swap(&why) == nil {
		e.opts.Logger.Warn("a Kafka broker does not answer", "error", err)
	}
}

// lookAtTopics compares the topics with those of the cluster: what was deleted there is gone, also if it was made again. One broker's word is not
// enough for that, since it may not have heard of a new topic yet: all have to say so.
func (e *Engine) lookAtTopics(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	e.change.Lock()
	defer e.change.Unlock()
	all := e.topics.all()
	if len(all) == 0 {
		return
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.kafka
	}
	found, err := e.metadata(ctx, names...)
	if err != nil {
		return
	}
	var missing []*topic
	for _, t := range all {
		m := found[t.kafka]
		switch {
		case t.isGone(m):
			missing = append(missing, t)
		case m.err == nil:
			t.noteLeaders(m)
			if len(m.leaders) > len(t.parts) && t.grown.CompareAndSwap(false, true) {
				e.opts.Logger.Error("a topic got more partitions in Kafka, which are read after a restart", "topic", t.Name, "kafka", t.kafka,
					"partitions", len(m.leaders), "known", len(t.parts))
			}
		}
	}
	if len(missing) == 0 {
		return
	}
	answers, err := e.everyBroker(ctx, names...)
	if err != nil {
		return // the next look will tell
	}
	for _, t := range missing {
		if !slices.ContainsFunc(answers, func(found map[string]topicMeta) bool { return !t.isGone(found[t.kafka]) }) {
			e.opts.Logger.Error("a topic was deleted in Kafka behind Tandem's back", "topic", t.Name, "kafka", t.kafka)
			e.forget(t)
		}
	}
}

// isGone reports whether a broker says that the topic is not there, or is another one.
func (t *topic) isGone(m topicMeta) bool {
	return isUnknownTopic(m.err) || m.err == nil && m.id != t.uuid
}

// lookAtSizes asks the brokers how much the partitions take on disk.
func (e *Engine) lookAtSizes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	all := e.topics.all()
	if len(all) == 0 {
		return
	}
	set := kadm.TopicsSet{}
	for _, t := range all {
		for _, p := range t.parts {
			set.Add(t.kafka, p.num)
		}
	}
	dirs, err := e.admin.DescribeAllLogDirs(ctx, set)
	if err != nil {
		return // an estimate stays one
	}
	sizes := map[*partition]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(d kadm.DescribedLogDirPartition) {
			if _, p := e.topics.ofKafka(d.Topic, d.Partition); p != nil && !d.IsFuture {
				sizes[p] = max(sizes[p], d.Size)
			}
		})
	})
	for p, n := range sizes {
		p.bytes.Store(n)
	}
}

// repair writes again what counts of keys that a process of the past wrote to.
func (e *Engine) repair(keys []string) {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	e.opts.Logger.Warn("a process that was taken over wrote state, which does not count", "records", len(keys))
	r := &request{bytes: 64 * len(keys), failed: -1, done: make(chan struct{}), control: func(g *group) (ops []stateOp, err error) {
		for _, key := range keys {
			v, err := g.get(key)
			if err != nil {
				return nil, err
			}
			ops = append(ops, stateOp{key: key, value: v})
		}
		return ops, nil
	}}
	if err := e.committer.push(r); err != nil {
		e.opts.Logger.Warn("state was not written again", "error", err)
	}
}
