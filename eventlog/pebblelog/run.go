package pebblelog

import (
	"encoding/binary"
	"errors"
)

// A run is the value of a key of spaceRuns: the events of one partition that one commit group stored, in order.
//
//	version    1 byte: runVersion
//	header     33 bytes, fixed, little-endian: see runHeader
//	records    uvarint distance from the offset before (0 for the first), uvarint length, record
//
// A run is cut at runBytes, so that reading one event does not mean reading a large group.
const (
	runVersion   = 1
	runHeaderLen = 1 + 4 + 4 + 8 + 8 + 8
	runBytes     = 64 << 10
)

// runHeader says of a run what recovery, retention and the search by time need, so that they do not decode records.
type runHeader struct {
	count    uint32
	span     uint32 // distance of the last offset from the first
	firstSeq uint64
	cumBytes uint64 // bytes of records the partition ever stored, to the end of this run
	newest   int64  // latest acceptance in the partition to the end of this run, in nanoseconds
}

func (h runHeader) put(b []byte) {
	b[0] = runVersion
	binary.LittleEndian.PutUint32(b[1:], h.count)
	binary.LittleEndian.PutUint32(b[5:], h.span)
	binary.LittleEndian.PutUint64(b[9:], h.firstSeq)
	binary.LittleEndian.PutUint64(b[17:], h.cumBytes)
	binary.LittleEndian.PutUint64(b[25:], uint64(h.newest))
}

var (
	errRun        = errors.New("malformed run")
	errRunVersion = errors.New("run of a newer format")
)

func parseRunHeader(b []byte) (h runHeader, err error) {
	if len(b) < runHeaderLen {
		return h, errRun
	}
	if b[0] != runVersion {
		return h, errRunVersion
	}
	h.count = binary.LittleEndian.Uint32(b[1:])
	h.span = binary.LittleEndian.Uint32(b[5:])
	h.firstSeq = binary.LittleEndian.Uint64(b[9:])
	h.cumBytes = binary.LittleEndian.Uint64(b[17:])
	h.newest = int64(binary.LittleEndian.Uint64(b[25:]))
	return h, nil
}

// runIter walks the records of a run.
type runIter struct {
	rest   []byte
	offset uint64
	seq    uint64
	left   uint32

	record []byte // valid after next returned true; a part of the run
	err    error
}

func newRunIter(first uint64, b []byte) (it runIter, h runHeader, err error) {
	h, err = parseRunHeader(b)
	if err != nil {
		return it, h, err
	}
	return runIter{rest: b[runHeaderLen:], offset: first, seq: h.firstSeq - 1, left: h.count}, h, nil
}

func (it *runIter) next() bool {
	if it.left == 0 || it.err != nil {
		return false
	}
	c := cursor{b: it.rest}
	it.offset += c.uvarint()
	it.record = c.take(c.length())
	if c.bad {
		it.err = errRun
		return false
	}
	it.rest = c.b
	it.seq++
	it.left--
	return true
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
