package pebblelog

import (
	"math"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// topic is an incarnation that exists. Its fields but meta never change.
type topic struct {
	id    driver.ID
	slot  slot
	name  string
	born  uint64
	parts []*partition

	meta driver.Topic // guarded by Engine.mu
	dead bool         // owned by the committer
}

// partition is one partition of a topic. What the committer has decided and what readers may see are kept apart: the
// sync lies between.
type partition struct {
	topic *topic
	index uint16

	next ends // owned by the committer

	// Owned by the committer while it builds a group: the first and last of the partition's records in it.
	first, last int32
	segment     uint32 // newest segment the partition has a run in

	// Guarded by Engine.mu.
	synced ends
	start  starts
	oldest uint64 // offset of the oldest event, zero when it has to be looked up
}

// ends says up to where a partition was written.
type ends struct {
	Offset uint64 // of the last event
	Seq    uint64 // of the last event
	Bytes  uint64 // of all records ever stored
	Newest int64  // latest acceptance, in nanoseconds
}

// starts says up to where a partition was removed.
type starts struct {
	Removed uint64 // offset of the last event removed, plus one
	Seq     uint64 // of the last event removed
	Bytes   uint64 // of all records ever removed
}

// topicRecord is the value of a key of spaceTopic.
type topicRecord struct {
	Topic    tandem.Topic `json:"topic"`
	ID       driver.ID    `json:"id"`
	Slot     slot         `json:"slot"`
	Born     uint64       `json:"born"`
	Replaced uint64       `json:"replaced,omitempty"`
}

func newTopic(r topicRecord) *topic {
	t := &topic{id: r.ID, slot: r.Slot, name: r.Topic.Name, born: r.Born, parts: make([]*partition, r.Topic.Partitions)}
	t.meta = driver.Topic{Topic: r.Topic, ID: r.ID, Born: r.Born, Replaced: r.Replaced}
	parts := make([]partition, len(t.parts))
	for i := range parts {
		parts[i] = partition{topic: t, index: uint16(i), first: -1, next: ends{Offset: t.born, Newest: math.MinInt64}}
		parts[i].synced = parts[i].next
		t.parts[i] = &parts[i]
	}
	return t
}

// held returns the number and bytes of the events that the partition holds. Engine.mu must be held.
func (p *partition) held() (events, bytes uint64) {
	return p.synced.Seq - p.start.Seq, p.synced.Bytes - p.start.Bytes
}
