package kafkalog

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tandem-hybrid/tandem"
)

// loadTopics reads the declarations and finds their topics in Kafka.
func (e *Engine) loadTopics(ctx context.Context) error {
	found := map[string]*declaration{}
	var names []string
	err := e.state.index.Scan(kindTopic, "t0", func(key string, value []byte, _ uint64) bool {
		d := new(declaration)
		if err := json.Unmarshal(value, d); err != nil {
			e.opts.Logger.Error("the declaration of a topic cannot be read, and the topic is left out", "record", key, "error", err)
			return true
		}
		found[d.Topic.Name] = d
		names = append(names, d.Kafka)
		return true
	})
	if err != nil || len(names) == 0 {
		return err
	}
	inKafka, err := e.metadata(ctx, names...)
	if err != nil {
		return coded("list topics", err)
	}
	if slices.ContainsFunc(names, func(name string) bool { return isUnknownTopic(inKafka[name].err) }) {
		answers, err := e.everyBroker(ctx, names...) // it may be new to the one that was asked
		if err != nil {
			return coded("list topics", err)
		}
		for _, found := range answers {
			for name, m := range found {
				if isUnknownTopic(inKafka[name].err) {
					inKafka[name] = m
				}
			}
		}
	}
	limits, err := e.readLimits(ctx, slices.DeleteFunc(names, func(name string) bool { return inKafka[name].err != nil })...)
	if err != nil {
		return coded("list topics", err)
	}
	var all []*topic
	for name, d := range found {
		m := inKafka[d.Kafka]
		switch {
		case isUnknownTopic(m.err):
			if !d.Making {
				e.opts.Logger.Error("a topic was deleted in Kafka behind Tandem's back", "topic", name, "kafka", d.Kafka)
			}
		case m.err != nil:
			return coded("list topics", m.err)
		default:
			if n := len(m.leaders); n != d.Topic.Partitions && !d.Making {
				e.opts.Logger.Warn("a topic has another number of partitions in Kafka now", "topic", name, "partitions", n, "before", strconv.Itoa(d.Topic.Partitions))
			}
			t := newTopic(d.Topic, d.Kafka, m.id, len(m.leaders), limits[d.Kafka])
			t.noteLeaders(m)
			e.topics.put(t)
			all = append(all, t)
		}
	}
	return coded("read the ends of topics", e.readEnds(ctx, all...))
}

// readEnds sets where the partitions of a topic begin and end. The end is the high watermark: what was acknowledged lies before it, even while a
// transaction of others holds readers back.
func (e *Engine) readEnds(ctx context.Context, topics ...*topic) error {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	all, byName := map[string][]int32{}, map[string]*topic{}
	for _, t := range topics {
		byName[t.kafka] = t
		for i := range t.parts {
			all[t.kafka] = append(all[t.kafka], int32(i))
		}
	}
	if len(all) == 0 {
		return nil
	}
	for {
		err := e.listOffsets(ctx, false, listLatest, all, func(kafka string, got *kmsg.ListOffsetsResponseTopicPartition) {
			p := byName[kafka].parts[got.Partition]
			p.end.Store(uint64(got.Offset))
			p.scanned.Store(uint64(got.Offset))
		})
		if err == nil {
			err = e.listOffsets(ctx, false, listEarliest, all, func(kafka string, got *kmsg.ListOffsetsResponseTopicPartition) {
				byName[kafka].parts[got.Partition].raiseStart(got.Offset)
			})
		}
		if !isUnknownTopic(err) {
			return err
		}
		select { // a broker may not know a new topic yet
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// makeTopic asks Kafka for a topic and returns its UUID.
func (e *Engine) makeTopic(ctx context.Context, kafka string, partitions int32, configs map[string]*string) ([16]byte, error) {
	made, err := e.admin.CreateTopic(ctx, partitions, e.settings.replication, configs, kafka)
	if err == nil {
		err = made.Err
	}
	return made.ID, err
}

// awaitTopic waits until a topic that was just made has its leaders. Brokers may show the incarnation before for a moment.
func (e *Engine) awaitTopic(ctx context.Context, kafka string, uuid [16]byte) (topicMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	for {
		found, err := e.metadata(ctx, kafka)
		if err != nil {
			return topicMeta{}, coded("create "+kafka, err)
		}
		m := found[kafka]
		if m.led() && (uuid == m.id || uuid == [16]byte{}) {
			return m, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return m, tandem.Errorf(tandem.CodeUnavailable, "create %s: its partitions have no leader yet", kafka)
		}
	}
}
