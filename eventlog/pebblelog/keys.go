package pebblelog

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// This file is the layout of keys and nothing else knows it: see docs/adr/0004-key-layout.md.
//
// Events are stored as runs: the events of one partition in one commit group under one key, segment first, so that
// expiry is one range, then topic and partition, so that a reader of one partition meets no other.
//
//	spaceRuns     segment(4) slot(8) partition(2) first offset(8)  a run
//	spaceState    key                                              a state record
//	spaceSegment  segment(4)                                       first and newest of a segment
//	spacePortion  segment(4) slot(8)                               what a topic had stored by the end of a segment
//	spaceTopic    id(8)                                            the declaration
//	spaceEnds     id(8)                                            ends of the partitions at the last sealed segment
//	spaceStarts   id(8)                                            starts of the partitions, moved by retention
//	spaceTomb     name                                             a name that was deleted
//	spaceFence    name                                             epoch
//	spaceMeta     one byte                                         format version, identity, counters
type space byte

const (
	spaceMeta    space = 0x01
	spaceTopic   space = 0x02
	spaceTomb    space = 0x03
	spaceFence   space = 0x04
	spaceSegment space = 0x05
	spacePortion space = 0x06
	spaceEnds    space = 0x07
	spaceStarts  space = 0x08
	spaceState   space = 0x10
	spaceRuns    space = 0x20
)

// The records of spaceMeta.
var (
	keyFormat = []byte{byte(spaceMeta), 'f'}
	keyLogID  = []byte{byte(spaceMeta), 'i'}
	keyCounts = []byte{byte(spaceMeta), 'n'}
)

const runKeyLen = 1 + 4 + 8 + 2 + 8

// slot is the place of a topic's incarnation within each segment: its id below a byte that groups topics of like
// retention at their creation, so that what expires together lies together.
type slot uint64

func slotOf(t tandem.Topic, id driver.ID) slot {
	class := uint64(math.MaxUint8)
	if t.Retention > 0 {
		class = uint64(bits.Len64(uint64(time.Duration(t.Retention) / time.Second)))
	}
	return slot(class<<56 | uint64(id)&(1<<56-1))
}

// runKey is where a run lies.
type runKey struct {
	segment   uint32
	slot      slot
	partition uint16
	offset    uint64
}

func (k runKey) put(b []byte) {
	b[0] = byte(spaceRuns)
	binary.BigEndian.PutUint32(b[1:], k.segment)
	binary.BigEndian.PutUint64(b[5:], uint64(k.slot))
	binary.BigEndian.PutUint16(b[13:], k.partition)
	binary.BigEndian.PutUint64(b[15:], k.offset)
}

func (k runKey) bytes() []byte {
	b := make([]byte, runKeyLen)
	k.put(b)
	return b
}

func parseRunKey(b []byte) (k runKey, ok bool) {
	if len(b) != runKeyLen || b[0] != byte(spaceRuns) {
		return k, false
	}
	k.segment = binary.BigEndian.Uint32(b[1:])
	k.slot = slot(binary.BigEndian.Uint64(b[5:]))
	k.partition = binary.BigEndian.Uint16(b[13:])
	k.offset = binary.BigEndian.Uint64(b[15:])
	return k, true
}

// samePartition reports whether two runs are of one partition in one segment.
func (k runKey) samePartition(o runKey) bool {
	return k.segment == o.segment && k.slot == o.slot && k.partition == o.partition
}

// slotsFrom returns the lower bound of what topics from a slot on have in a segment, in a space that is keyed so.
func slotsFrom(sp space, segment uint32, s slot) []byte {
	b := make([]byte, 13)
	b[0] = byte(sp)
	binary.BigEndian.PutUint32(b[1:], segment)
	binary.BigEndian.PutUint64(b[5:], uint64(s))
	return b
}

// segmentFrom returns the lower bound of a segment in a space that is keyed by segment.
func segmentFrom(sp space, segment uint32) []byte {
	b := make([]byte, 5)
	b[0] = byte(sp)
	binary.BigEndian.PutUint32(b[1:], segment)
	return b
}

func topicKey(sp space, id driver.ID) []byte {
	b := make([]byte, 9)
	b[0] = byte(sp)
	binary.BigEndian.PutUint64(b[1:], uint64(id))
	return b
}

func nameKey(sp space, name string) []byte {
	b := make([]byte, 0, 1+len(name))
	b = append(b, byte(sp))
	return append(b, name...)
}

// spaceEnd returns the first key after a space.
func spaceEnd(sp space) []byte { return []byte{byte(sp) + 1} }
