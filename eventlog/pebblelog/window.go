package pebblelog

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// window remembers the ids of the last events that asked for it: a queue of fingerprints in order of their offsets, and an
// index of hash tables over it. It takes entryBytes for an entry and 11 to 21 for its place in the index, allocates in
// small pieces, and holds no pointers the garbage collector would have to follow.
type window struct {
	keep time.Duration
	max  uint64 // entries

	mu     sync.Mutex
	shards [windowShards]shard
	chunks []*[chunkEntries]fingerprint // of the positions from tail/chunkEntries on
	tail   uint64                       // position of the oldest entry
	head   uint64                       // position of the next entry
	first  uint64                       // position of chunks[0][0]
}

const (
	windowShards  = 256
	chunkEntries  = 2048
	entryBytes    = 40
	entryMaxBytes = 64 // with the index at its sparsest
	partitionBits = 10 // enough for tandem.MaxPartitions
)

// fingerprint is what is remembered of an event.
type fingerprint struct {
	id     identity
	at     uint32 // seconds since 1970
	sum    uint64
	offset uint64
	place  uint64 // seq, then partitionBits of partition
}

// identity is 96 bits made of a Record's identity and the incarnation of its topic.
type identity struct {
	hi uint64
	lo uint32
}

func identityOf(topic driver.ID, id [16]byte) identity {
	a, b := binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
	hi := mix(a ^ mix(b^mix(uint64(topic))))
	return identity{hi: hi, lo: uint32(mix(b + mix(a^0x9e3779b97f4a7c15) ^ hi))}
}

// mix is the finaliser of SplitMix64: every bit of v changes about half of the result's.
func mix(v uint64) uint64 {
	v ^= v >> 30
	v *= 0xbf58476d1ce4e5b9
	v ^= v >> 27
	v *= 0x94d049bb133111eb
	return v ^ v>>31
}

func makeFingerprint(id identity, sum, offset, seq uint64, partition int, at time.Time) fingerprint {
	return fingerprint{id: id, sum: sum, offset: offset, place: seq<<partitionBits | uint64(partition), at: uint32(at.Unix())}
}

func (f *fingerprint) seq() uint64    { return f.place >> partitionBits }
func (f *fingerprint) partition() int { return int(f.place & (1<<partitionBits - 1)) }

// shard is an open-addressed table with linear probing. A used slot is a tag, with its highest bit set, above the low 32
// bits of a position. The tag alone gives the slot's home, so that moving slots touches no entry.
type shard struct {
	slots []uint64
	used  int
}

func newWindow(keep time.Duration, bytes int64) *window {
	w := &window{keep: keep}
	if keep > 0 {
		w.max = min(uint64(max(bytes, 0))/entryMaxBytes, 1<<31)
	}
	return w
}

func (w *window) at(pos uint64) *fingerprint {
	i := pos - w.first
	return &w.chunks[i/chunkEntries][i%chunkEntries]
}

func locate(id identity) (shard int, tag uint64) {
	return int(id.hi >> 56), id.hi&(1<<31-1) | 1<<31
}

// find returns the entry of an identity that is newest, or nil. mu must be held.
func (w *window) find(id identity) *fingerprint {
	n, tag := locate(id)
	s := &w.shards[n]
	if s.used == 0 {
		return nil
	}
	mask := uint64(len(s.slots) - 1)
	for i := tag & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if s.slots[i]>>32 != tag {
			continue
		}
		if f := w.at(w.widen(s.slots[i])); f.id == id {
			return f
		}
	}
	return nil
}

// widen makes a position of the low 32 bits in a slot.
func (w *window) widen(slot uint64) uint64 {
	return w.tail + uint64(uint32(slot)-uint32(w.tail))
}

// add remembers f as the newest entry, in place of an older one of the same identity. mu must be held.
func (w *window) add(f fingerprint) {
	if w.max == 0 {
		return
	}
	if w.head-w.tail >= w.max {
		w.evict()
	}
	i := w.head - w.first
	if i/chunkEntries == uint64(len(w.chunks)) {
		w.chunks = append(w.chunks, new([chunkEntries]fingerprint))
	}
	w.chunks[i/chunkEntries][i%chunkEntries] = f
	n, tag := locate(f.id)
	w.shards[n].put(w, tag, f.id, w.head)
	w.head++
}

func (s *shard) put(w *window, tag uint64, id identity, pos uint64) {
	if 4*(s.used+1) > 3*len(s.slots) {
		s.grow()
	}
	mask := uint64(len(s.slots) - 1)
	i := tag & mask
	for s.slots[i] != 0 {
		if s.slots[i]>>32 == tag && w.at(w.widen(s.slots[i])).id == id {
			s.used--
			break
		}
		i = (i + 1) & mask
	}
	s.slots[i] = tag<<32 | uint64(uint32(pos))
	s.used++
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]uint64, max(16, 2*len(old)))
	mask := uint64(len(s.slots) - 1)
	for _, v := range old {
		if v == 0 {
			continue
		}
		i := v >> 32 & mask
		for s.slots[i] != 0 {
			i = (i + 1) & mask
		}
		s.slots[i] = v
	}
}

// drop removes the slot of exactly one position, if it is there, and closes the hole.
func (s *shard) drop(tag, pos uint64) {
	if s.used == 0 {
		return
	}
	mask := uint64(len(s.slots) - 1)
	want := tag<<32 | uint64(uint32(pos))
	i := tag & mask
	for s.slots[i] != want {
		if s.slots[i] == 0 {
			return
		}
		i = (i + 1) & mask
	}
	s.used--
	for j := i; ; {
		j = (j + 1) & mask
		v := s.slots[j]
		if v == 0 {
			break
		}
		// v may move to the hole unless its home lies after it, cyclically.
		if home := v >> 32 & mask; (j-home)&mask >= (j-i)&mask {
			s.slots[i] = v
			i = j
		}
	}
	s.slots[i] = 0
}

// evict forgets the oldest entry. mu must be held, and there must be one.
func (w *window) evict() {
	n, tag := locate(w.at(w.tail).id)
	w.shards[n].drop(tag, w.tail)
	w.tail++
	if w.tail-w.first >= chunkEntries {
		w.chunks[0] = nil
		w.chunks = w.chunks[1:]
		w.first += chunkEntries
	}
}

// expire forgets what is older than the window. mu must be held.
func (w *window) expire(now time.Time) {
	limit := now.Add(-w.keep).Unix()
	for w.tail < w.head && int64(w.at(w.tail).at) < limit {
		w.evict()
	}
}

// Window says how far back repeated ids are recognised (promise 6).
type Window struct {
	Entries int           // ids remembered
	Oldest  time.Time     // acceptance of the oldest of them, to the second; zero when there is none
	Bytes   int64         // memory taken
	Keep    time.Duration // how long an id is remembered at most
	Max     int           // how many are remembered at most
}

// DedupWindow reports the window of remembered ids.
func (e *Engine) DedupWindow() Window {
	w := e.window
	w.mu.Lock()
	defer w.mu.Unlock()
	r := Window{Entries: int(w.head - w.tail), Keep: max(w.keep, 0), Max: int(w.max)}
	if r.Entries > 0 {
		r.Oldest = time.Unix(int64(w.at(w.tail).at), 0).UTC()
	}
	r.Bytes = int64(len(w.chunks)) * chunkEntries * entryBytes
	for i := range w.shards {
		r.Bytes += int64(8 * len(w.shards[i].slots))
	}
	return r
}
