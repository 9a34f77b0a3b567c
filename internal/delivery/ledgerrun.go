package delivery

import (
	"encoding/binary"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	// runBytes is how long a run grows. It is written again with each group that adds to it, so that deliveries that come one by one
	// share a record, too.
	runBytes = 512
	// runBlock is within how many offsets, as a power of two, the deliveries of a run lie: a search for one begins at the start of its
	// block, since events end out of order.
	runBlock = 16
	// maxOpenRuns is how many runs are open at most. With more, all begin anew now and then.
	maxOpenRuns = 2048
)

// runEntry is one delivery of a run.
type runEntry struct {
	offset uint64
	at     int64  // Unix milliseconds of the outcome
	took   uint32 // tenths of a millisecond
	status uint16 // of the answer
}

// openRun is a run to which more can be added.
type openRun struct {
	key     string
	b       []byte
	counted int // of b, in the bytes of the segment
	touched bool
	block   uint64
	epoch   uint64
	last    runEntry
}

// openRuns are the runs to which more can be added.
type openRuns struct {
	topics map[driver.ID]*topicRuns
	last   *topicRuns // asked for last: most outcomes are of the same topic
	n      int        // runs
}

// topicRuns are those of a topic, for each partition that of an even block and that of an odd one.
type topicRuns struct {
	topic driver.ID
	parts [][2]*openRun
}

func (o *openRuns) of(topic driver.ID, part int) *[2]*openRun {
	t := o.last
	if t == nil || t.topic != topic {
		if t = o.topics[topic]; t == nil {
			if o.topics == nil {
				o.topics = map[driver.ID]*topicRuns{}
			}
			t = &topicRuns{topic: topic}
			o.topics[topic] = t
		}
		o.last = t
	}
	for part >= len(t.parts) {
		t.parts = append(t.parts, [2]*openRun{})
	}
	return &t.parts[part]
}

// addToRun adds a delivery to the run of its block. Two runs of a partition are open, since what is near the end of a block ends among
// what comes after it.
func (s *subscription) addToRun(seg *segment, e *outcome) *openRun {
	pair := s.ledger.open.of(e.where.topic, e.part)
	block := e.offset >> runBlock
	r := pair[block&1]
	if r == nil {
		if s.ledger.open.n >= maxOpenRuns {
			s.ledger.open = openRuns{}
			pair = s.ledger.open.of(e.where.topic, e.part)
		}
		s.ledger.open.n++
	}
	if r == nil || r.block != block || r.epoch != e.epoch || len(r.b) >= runBytes {
		r = &openRun{key: s.ledgerKey(seg.start, ledgerRun) + eventKey(e.where, e.epoch), block: block, epoch: e.epoch,
			last: runEntry{offset: e.offset, at: e.at}}
		r.b = append(make([]byte, 0, runBytes+16), formatVersion)
		r.b = binary.AppendUvarint(r.b, uint64(len(e.name)))
		r.b = append(r.b, e.name...)
		r.b = binary.AppendVarint(r.b, e.at)
		seg.bytes += uint64(len(r.key))
		seg.runs = true
		pair[block&1] = r
	}
	r.b = appendRunEntry(r.b, &r.last, runEntry{e.offset, e.at, e.took, e.status})
	seg.events.include(e.offset, e.offset)
	seg.at.include(uint64(max(0, e.at)), uint64(max(0, e.at)))
	return r
}

// appendRunEntry writes a delivery as its distance from the one before: usually three bytes. A status is written where it changes.
func appendRunEntry(b []byte, last *runEntry, e runEntry) []byte {
	b = binary.AppendVarint(b, int64(e.offset-last.offset))
	took := uint64(e.took) << 1
	if e.status == last.status {
		b = binary.AppendUvarint(b, took)
	} else {
		b = binary.AppendUvarint(b, took|1)
		b = binary.AppendUvarint(b, uint64(e.status))
	}
	b = binary.AppendVarint(b, e.at-last.at)
	*last = e
	return b
}

// runReader reads the deliveries of a run.
type runReader struct {
	topic string // its name
	u     uvarints
	last  runEntry
}

// readRun begins to read a run whose first delivery is at an offset.
func readRun(b []byte, offset uint64) (runReader, error) {
	if len(b) == 0 || b[0] != formatVersion {
		return runReader{}, errFormat
	}
	r := runReader{u: uvarints{b: b[1:]}}
	n := r.u.next()
	if r.u.bad || n > uint64(len(r.u.b)) {
		return runReader{}, errFormat
	}
	r.topic, r.u.b = string(r.u.b[:n]), r.u.b[n:]
	r.last = runEntry{offset: offset, at: r.u.signed()}
	if r.u.bad {
		return runReader{}, errFormat
	}
	return r, nil
}

// next returns the next delivery; ok is false at the end.
func (r *runReader) next() (e runEntry, ok bool, err error) {
	if len(r.u.b) == 0 {
		return runEntry{}, false, nil
	}
	e.offset = r.last.offset + uint64(r.u.signed())
	took := r.u.next()
	e.status = r.last.status
	if took&1 == 1 {
		status := r.u.next()
		if status > 1<<16-1 {
			r.u.bad = true
		}
		e.status = uint16(status)
	}
	e.at = r.last.at + r.u.signed()
	if took>>1 > 1<<32-1 {
		r.u.bad = true
	}
	e.took = uint32(took >> 1)
	if r.u.bad {
		return runEntry{}, false, errFormat
	}
	r.last = e
	return e, true, nil
}

func (u *uvarints) signed() int64 {
	v, n := binary.Varint(u.b)
	if n <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[n:]
	return v
}
