package eventlog

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// head is a partition that was read further than a number says.
type head struct {
	topic driver.ID
	part  int
	next  uint64 // offset to read next
}

// encodeHeads returns a cursor of kind heads: a number, and the partitions that were read further, in order of topics and partitions:
//
//	the number, eight bytes; for each: ID less that of the one before, partition, next less the number
//
// all as unsigned varints. What does not fit is left out: its events are read again, and none is lost.
func encodeHeads(logID [8]byte, number uint64, heads []head) tandem.Cursor {
	slices.SortFunc(heads, func(a, b head) int { return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.part, b.part)) })
	raw := make([]byte, 0, 64)
	raw = append(raw, cursorVersion, kindHeads)
	raw = append(raw, logID[:]...)
	raw = binary.BigEndian.AppendUint64(raw, number)
	var last driver.ID
	for _, h := range heads {
		if base64.RawURLEncoding.EncodedLen(len(raw)+3*binary.MaxVarintLen64) > maxCursorLen {
			break
		}
		raw = binary.AppendUvarint(raw, uint64(h.topic-last))
		raw = binary.AppendUvarint(raw, uint64(h.part))
		raw = binary.AppendUvarint(raw, h.next-number)
		last = h.topic
	}
	return tandem.Cursor(base64.RawURLEncoding.EncodeToString(raw))
}

// parseHeads reads the body of a cursor of kind heads and reports whether it is one.
func parseHeads(b []byte) (number uint64, heads []head, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	number, b = binary.BigEndian.Uint64(b), b[8:]
	var last driver.ID
	for len(b) > 0 {
		var v [3]uint64
		for i := range v {
			n, width := binary.Uvarint(b)
			if width <= 0 {
				return 0, nil, false
			}
			v[i], b = n, b[width:]
		}
		last += driver.ID(v[0])
		next := number + v[2]
		if v[1] >= tandem.MaxPartitions || next < number {
			return 0, nil, false
		}
		heads = append(heads, head{last, int(v[1]), next})
	}
	return number, heads, true
}

// resumeHeads gives parts the head start that a cursor names.
func (r *Reader) resumeHeads(heads []head) {
	for _, p := range r.parts {
		for _, h := range heads {
			if h.topic == p.topic.ID && h.part == p.index {
				r.headStart(p, h.next)
			}
		}
	}
}

// future reports whether a place with TotalOrder was not given yet.
func (at *place) future(horizon uint64) bool {
	if at.number >= horizon {
		return true
	}
	return slices.ContainsFunc(at.heads, func(h head) bool { return h.next > horizon })
}
