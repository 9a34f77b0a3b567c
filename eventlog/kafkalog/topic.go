package kafkalog

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// topic is one incarnation of a topic, with one version of its declaration. It does not change; its partitions do.
type topic struct {
	driver.Topic
	kafka   string // its name there
	uuid    [16]byte
	adopted bool
	limit   int // largest batch that it takes, in bytes
	parts   []*partition
	grown   *atomic.Bool // it has more partitions in Kafka, which was said
}

// idOf is half of the UUID that Kafka gives a topic: enough to tell incarnations apart.
func idOf(uuid [16]byte) driver.ID {
	if id := binary.BigEndian.Uint64(uuid[:8]); id != 0 {
		return driver.ID(id)
	}
	return driver.ID(binary.BigEndian.Uint64(uuid[8:]))
}

// partition is what this process knows of a partition.
type partition struct {
	topic atomic.Pointer[topic] // with its newest declaration; ID, name and kafka never change
	num   int32

	end     atomic.Uint64 // as told by Notify
	start   atomic.Uint64 // Kafka's log start
	scanned atomic.Uint64 // below it nothing is that was not told
	bytes   atomic.Int64  // on disk, as the brokers said last, and what was appended since
	leader  atomic.Int32  // node, negative when it is not known

	stuck atomic.Int32 // events that were given up on and have no outcome yet: no others are taken
	gone  atomic.Bool  // the topic was deleted

	tail tail
	cold coldReads
}

// raiseStart moves the start up, never down.
func (p *partition) raiseStart(to int64) {
	for to > 0 {
		cur := p.start.Load()
		if uint64(to) <= cur || p.start.CompareAndSwap(cur, uint64(to)) {
			return
		}
	}
}

// bounds is what Bounds answers.
func (p *partition) bounds() driver.Bounds {
	start, end := p.start.Load(), p.end.Load()
	start, end = min(start, max(start, end)), max(start, end)
	b := driver.Bounds{Start: start, End: end, StartSeq: start + 1, EndSeq: end + 1, Removed: start}
	if start < end {
		b.Bytes = p.bytes.Load()
	}
	return b
}

// topicTable is the list of topics.
type topicTable struct {
	mu      sync.RWMutex
	byID    map[driver.ID]*topic
	byName  map[string]*topic
	byKafka map[string]*topic
}

func (tt *topicTable) init() {
	tt.byID, tt.byName, tt.byKafka = map[driver.ID]*topic{}, map[string]*topic{}, map[string]*topic{}
}

// partition finds one.
func (tt *topicTable) partition(id driver.ID, part int) (*partition, error) {
	tt.mu.RLock()
	t := tt.byID[id]
	tt.mu.RUnlock()
	if t == nil || part < 0 || part >= len(t.parts) {
		return nil, errNoPartition(uint64(id), part)
	}
	return t.parts[part], nil
}

// ofKafka finds a partition by its name in Kafka.
func (tt *topicTable) ofKafka(name string, part int32) (*topic, *partition) {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	t := tt.byKafka[name]
	if t == nil || int(part) >= len(t.parts) {
		return nil, nil
	}
	return t, t.parts[part]
}

func (tt *topicTable) named(name string) *topic {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	return tt.byName[name]
}

func (tt *topicTable) all() []*topic {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	list := make([]*topic, 0, len(tt.byID))
	for _, t := range tt.byID {
		list = append(list, t)
	}
	return list
}

func (tt *topicTable) put(t *topic) {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	for _, p := range t.parts {
		p.topic.Store(t)
	}
	tt.byID[t.ID], tt.byName[t.Name], tt.byKafka[t.kafka] = t, t, t
}

// drop forgets a topic, unless another incarnation has taken its place. It reports whether it was there.
func (tt *topicTable) drop(t *topic) bool {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	cur := tt.byID[t.ID]
	if cur == nil {
		return false
	}
	delete(tt.byID, t.ID)
	delete(tt.byName, cur.Name)
	delete(tt.byKafka, cur.kafka)
	for _, p := range cur.parts {
		p.gone.Store(true)
		p.tail.stop()
	}
	return true
}

// newTopic makes the incarnation that Kafka knows by a UUID.
func newTopic(spec tandem.Topic, kafka string, uuid [16]byte, partitions, limit int) *topic {
	spec.Partitions = partitions
	t := &topic{Topic: driver.Topic{Topic: spec, ID: idOf(uuid)}, kafka: kafka, uuid: uuid, adopted: spec.Kafka.Topic != "", grown: new(atomic.Bool), limit: limit,
		parts: make([]*partition, partitions)}
	for i := range t.parts {
		t.parts[i] = &partition{num: int32(i)}
		t.parts[i].topic.Store(t)
		t.parts[i].leader.Store(-1)
		t.parts[i].cold.init()
	}
	return t
}
