package pebblelog

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// BenchmarkLayout compares layouts of keys below the engine: the same groups of 512 records of 250 bytes, one sync each,
// while the oldest half is removed again and again. It reports records per second, bytes written to disk for each byte of
// a record, and how long it takes to read 100 events of one partition from the middle of what is held. The result is kept
// in docs/adr/0004-key-layout.md.
func BenchmarkLayout(b *testing.B) {
	for _, partitions := range []int{8, 80_000} {
		for name, l := range map[string]layout{
			"number+index": numberLayout{},
			"segment+runs": segmentLayout{},
			"topic-first":  topicLayout{partitions},
		} {
			b.Run(fmt.Sprintf("partitions=%d/%s", partitions, name), func(b *testing.B) { benchmarkLayout(b, partitions, l) })
		}
	}
}

const (
	layoutGroup   = 512
	layoutRecord  = 250
	layoutSegment = 64 << 20 / layoutRecord // records
	layoutHeld    = 4                       // segments
)

// layout writes groups, removes segments and reads a partition.
type layout interface {
	write(b *pebble.Batch, first uint64, parts []uint32, record []byte)
	remove(b *pebble.Batch, segment uint32)
	read(db *pebble.DB, part uint32, from, segment uint64, max int) int
}

func benchmarkLayout(b *testing.B, partitions int, l layout) {
	e := open(b, Options{FreeBytes: -1})
	db := e.db
	rng := rand.New(rand.NewPCG(1, 1))
	record := make([]byte, layoutRecord)
	for i := range record {
		record[i] = byte('a' + rng.IntN(4)) // compresses about as events do
	}
	parts := make([]uint32, layoutGroup)
	total := b.N * layoutGroup
	segment := uint32(0)
	before := diskWrites(db)
	start := time.Now()
	for n := 0; n < total; n += layoutGroup {
		for i := range parts {
			parts[i] = uint32(rng.IntN(partitions))
		}
		batch := db.NewBatchWithSize(layoutGroup * (layoutRecord + 64))
		if now := uint32(n / layoutSegment); now != segment {
			segment = now
			if segment >= layoutHeld {
				l.remove(batch, segment-layoutHeld)
			}
		}
		l.write(batch, uint64(n), parts, record)
		if err := db.Apply(batch, pebble.Sync); err != nil {
			b.Fatal(err)
		}
		batch.Close()
	}
	took := time.Since(start)
	b.ReportMetric(float64(total)/took.Seconds(), "records/s")
	b.ReportMetric(float64(diskWrites(db)-before)/float64(total*layoutRecord), "written/byte")
	b.ReportMetric(0, "ns/op")

	first := uint64(0)
	if segment >= layoutHeld {
		first = uint64(segment-layoutHeld+1) * layoutSegment
	}
	middle := first + (uint64(total)-first)/2
	reads, got := 20, 0
	start = time.Now()
	for i := range reads {
		got += l.read(db, uint32(i*partitions/reads), middle, uint64(total), 100)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(reads), "µs/read")
	b.ReportMetric(float64(got)/float64(reads), "events/read")
}

// diskWrites is what Pebble wrote to its log and its tables.
func diskWrites(db *pebble.DB) uint64 {
	m := db.Metrics()
	t := m.Total()
	return m.WAL.BytesWritten + t.TableBytesFlushed + t.TableBytesCompacted
}

// byPartition calls fn for the records of each partition of a group.
func byPartition(parts []uint32, fn func(part uint32, at []int)) {
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(parts[a]) - int(parts[b]) })
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && parts[order[j]] == parts[order[i]] {
			j++
		}
		fn(parts[order[i]], order[i:j])
		i = j
	}
}

// numberLayout: records by number, and for each partition and group an entry with the numbers.
type numberLayout struct{}

func (numberLayout) key(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x21}, n) }

func (numberLayout) entry(part uint32, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32([]byte{0x22}, part), n)
}

func (l numberLayout) write(b *pebble.Batch, first uint64, parts []uint32, record []byte) {
	for i := range parts {
		b.Set(l.key(first+uint64(i)), record, nil)
	}
	byPartition(parts, func(part uint32, at []int) {
		var v []byte
		for _, i := range at {
			v = binary.AppendUvarint(v, uint64(i))
		}
		b.Set(l.entry(part, first), v, nil)
	})
}

// The entries of removed records go when their partition is read; they are not part of the measurement.
func (l numberLayout) remove(b *pebble.Batch, segment uint32) {
	b.DeleteRange(l.key(uint64(segment)*layoutSegment), l.key(uint64(segment+1)*layoutSegment), nil)
}

func (l numberLayout) read(db *pebble.DB, part uint32, from, end uint64, max int) (n int) {
	it, _ := db.NewIter(&pebble.IterOptions{LowerBound: l.entry(part, from), UpperBound: l.entry(part+1, 0)})
	defer it.Close()
	for it.First(); it.Valid() && n < max; it.Next() {
		first := binary.BigEndian.Uint64(it.Key()[5:])
		for v := it.Value(); len(v) > 0 && n < max; n++ {
			i, k := binary.Uvarint(v)
			v = v[k:]
			if _, c, err := db.Get(l.key(first + i)); err == nil {
				c.Close()
			}
		}
	}
	return n
}

// segmentLayout: what keys.go does.
type segmentLayout struct{}

func (segmentLayout) write(b *pebble.Batch, first uint64, parts []uint32, record []byte) {
	byPartition(parts, func(part uint32, at []int) {
		op := b.SetDeferred(runKeyLen, len(at)*len(record))
		runKey{uint32(first / layoutSegment), slot(part / 8), uint16(part % 8), first + uint64(at[0])}.put(op.Key)
		v := op.Value[:0]
		for range at {
			v = append(v, record...)
		}
		op.Finish()
	})
}

func (segmentLayout) remove(b *pebble.Batch, segment uint32) {
	b.DeleteRange(segmentFrom(spaceRuns, segment), segmentFrom(spaceRuns, segment+1), nil)
}

func (segmentLayout) read(db *pebble.DB, part uint32, from, end uint64, max int) (n int) {
	it, _ := db.NewIter(&pebble.IterOptions{LowerBound: segmentFrom(spaceRuns, 0), UpperBound: segmentFrom(spaceRuns, uint32(end/layoutSegment)+1)})
	defer it.Close()
	for s := from / layoutSegment; s <= end/layoutSegment && n < max; s++ {
		k := runKey{uint32(s), slot(part / 8), uint16(part % 8), from}
		for ok := it.SeekGE(k.bytes()); ok && n < max; ok = it.Next() {
			if at, _ := parseRunKey(it.Key()); !at.samePartition(k) {
				break
			}
			n += len(it.Value()) / layoutRecord
		}
	}
	return min(n, max)
}

// topicLayout: topic and partition first, to show what that costs.
type topicLayout struct{ partitions int }

func (topicLayout) key(part uint32, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32([]byte{0x23}, part), n)
}

func (l topicLayout) write(b *pebble.Batch, first uint64, parts []uint32, record []byte) {
	byPartition(parts, func(part uint32, at []int) {
		for _, i := range at {
			b.Set(l.key(part, first+uint64(i)), record, nil)
		}
	})
}

// A range for each of the partitions is what retention costs here.
func (l topicLayout) remove(b *pebble.Batch, segment uint32) {
	for part := range uint32(l.partitions) {
		b.DeleteRange(l.key(part, 0), l.key(part, uint64(segment+1)*layoutSegment), nil)
	}
}

func (l topicLayout) read(db *pebble.DB, part uint32, from, end uint64, max int) (n int) {
	it, _ := db.NewIter(&pebble.IterOptions{LowerBound: l.key(part, from), UpperBound: l.key(part+1, 0)})
	defer it.Close()
	for it.First(); it.Valid() && n < max; it.Next() {
		n++
	}
	return n
}
