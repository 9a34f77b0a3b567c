package offsetmap

import (
	"encoding/binary"
	"errors"
)

// ChunkPairs is how many pairs a chunk has at most.
const ChunkPairs = 4096

const formatVersion = 1

var errFormat = errors.New("the record is damaged or of a newer version")

// Pair is an event by its offsets in its partition of the old log and of the new one.
type Pair struct{ From, To uint64 }

// AppendChunk writes pairs, of which there is at least one, in order: version; the new offset of the pair before them, zero when there is none;
// the number of pairs; the two offsets of the first; then what the old offsets rise by, and then what the new ones rise by. A rise is a varint
// with the lowest bit zero, or one, and a number of times behind it: dense offsets take a few bytes for a chunk, others one or two for a pair.
func AppendChunk(dst []byte, before uint64, pairs []Pair) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, before)
	dst = binary.AppendUvarint(dst, uint64(len(pairs)))
	dst = binary.AppendUvarint(dst, pairs[0].From)
	dst = binary.AppendUvarint(dst, pairs[0].To)
	for _, of := range []func(Pair) uint64{func(p Pair) uint64 { return p.From }, func(p Pair) uint64 { return p.To }} {
		for i := 1; i < len(pairs); {
			rise, times := of(pairs[i])-of(pairs[i-1]), 1
			for i+times < len(pairs) && of(pairs[i+times])-of(pairs[i+times-1]) == rise {
				times++
			}
			if times < 3 {
				times = 1
				dst = binary.AppendUvarint(dst, rise<<1)
			} else {
				dst = binary.AppendUvarint(dst, rise<<1|1)
				dst = binary.AppendUvarint(dst, uint64(times))
			}
			i += times
		}
	}
	return dst
}

// ParseChunk reads what AppendChunk wrote.
func ParseChunk(b []byte) (before uint64, pairs []Pair, err error) {
	if len(b) == 0 || b[0] != formatVersion {
		return 0, nil, errFormat
	}
	b = b[1:]
	bad := false
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	before = next()
	count := next()
	if bad || count == 0 || count > ChunkPairs {
		return 0, nil, errFormat
	}
	pairs = make([]Pair, count)
	pairs[0] = Pair{next(), next()}
	for column := range 2 {
		for i := 1; i < len(pairs); {
			rise, times := next(), uint64(1)
			if rise&1 == 1 {
				times = next()
			}
			rise >>= 1
			if bad || rise == 0 || times == 0 || times > uint64(len(pairs)-i) {
				return 0, nil, errFormat
			}
			for range times {
				if column == 0 {
					pairs[i].From = pairs[i-1].From + rise
				} else {
					pairs[i].To = pairs[i-1].To + rise
				}
				i++
			}
		}
	}
	if bad || len(b) > 0 {
		return 0, nil, errFormat
	}
	return before, pairs, nil
}
