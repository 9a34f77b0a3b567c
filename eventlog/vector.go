package eventlog

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// vectorTopic is the place in one incarnation of a topic, on engines whose offsets count within a partition. Topics are
// in order of their IDs:
//
//	number of topics; for each topic: hash of its name (4 bytes), ID less that of the one before, number of
//	partitions, the smallest offset, and what each partition has more than it
//
// in which all numbers but the hash are unsigned varints.
type vectorTopic struct {
	name uint32 // hash: tells a recreated topic from one that was not there
	id   driver.ID
	next []uint64 // offset to read next, by partition
}

// maxVectorPartitions is how many partitions a topic may have, so that its cursor fits also when they have drifted apart by 2²⁸ events.
const maxVectorPartitions = 512

func nameHash(topic string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(topic))
	return h.Sum32()
}

// encodeVector returns the cursor for the places, which it sorts. Code: Invalid, when it would be too long.
func encodeVector(logID [8]byte, topics []vectorTopic) (tandem.Cursor, error) {
	slices.SortFunc(topics, func(a, b vectorTopic) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	raw := make([]byte, 0, 64)
	raw = append(raw, cursorVersion, kindVector)
	raw = append(raw, logID[:]...)
	raw = binary.AppendUvarint(raw, uint64(len(topics)))
	var last driver.ID
	for i := range topics {
		raw = topics[i].append(raw, last)
		last = topics[i].id
	}
	if n := base64.RawURLEncoding.EncodedLen(len(raw)); n > maxCursorLen {
		return "", tandem.Errorf(tandem.CodeInvalid, "the selection of %d topics is too wide: its cursor would have %d bytes, at most %d fit", len(topics), n, maxCursorLen).
			WithField("topic", "a cursor over these topics would have %d bytes, at most %d fit", n, maxCursorLen).
			WithHint("select fewer topics, or topics with fewer partitions")
	}
	return tandem.Cursor(base64.RawURLEncoding.EncodeToString(raw)), nil
}

// append writes the place in a topic behind that in the one with the ID last.
func (t *vectorTopic) append(raw []byte, last driver.ID) []byte {
	raw = binary.BigEndian.AppendUint32(raw, t.name)
	raw = binary.AppendUvarint(raw, uint64(t.id-last))
	raw = binary.AppendUvarint(raw, uint64(len(t.next)))
	base := slices.Min(t.next)
	raw = binary.AppendUvarint(raw, base)
	for _, n := range t.next {
		raw = binary.AppendUvarint(raw, n-base)
	}
	return raw
}

// parseVector reads the body of a cursor of kind vector and reports whether it is one.
func parseVector(b []byte) ([]vectorTopic, bool) {
	ok := true
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok, b = false, nil
			return 0
		}
		b = b[n:]
		return v
	}
	count := number()
	if count > uint64(len(b)) { // each topic takes more than a byte
		return nil, false
	}
	topics := make([]vectorTopic, 0, count)
	var last driver.ID
	for range count {
		if len(b) < 4 {
			return nil, false
		}
		t := vectorTopic{name: binary.BigEndian.Uint32(b)}
		b = b[4:]
		t.id = last + driver.ID(number())
		partitions, base := number(), number()
		if !ok || t.id <= last || partitions < 1 || partitions > min(tandem.MaxPartitions, uint64(len(b))) {
			return nil, false
		}
		last = t.id
		t.next = make([]uint64, partitions)
		for i := range t.next {
			t.next[i] = base + number()
		}
		if !ok {
			return nil, false
		}
		topics = append(topics, t)
	}
	return topics, ok && len(b) == 0
}

// placeOf returns the cursor after one stored event of a topic, for its receipt: the other partitions are where they are
// now. It is empty for a topic with more partitions than fit.
func (l *Log) placeOf(t *topic, partition int, offset uint64) tandem.Cursor {
	var (
		next [64]uint64 // none of these leaves the stack, for topics of a usual size
		raw  [256]byte
		text [344]byte
	)
	v := vectorTopic{name: t.hash, id: t.ID, next: next[:0]}
	for i := range t.live.ends {
		v.next = append(v.next, t.live.ends[i].Load())
	}
	v.next[partition] = offset + 1
	b := append(raw[:0], cursorVersion, kindVector)
	b = append(b, l.info.LogID[:]...)
	b = v.append(append(b, 1), 0)
	if base64.RawURLEncoding.EncodedLen(len(b)) > maxCursorLen {
		return ""
	}
	return tandem.Cursor(base64.RawURLEncoding.AppendEncode(text[:0], b))
}
