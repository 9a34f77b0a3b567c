package eventlog

import (
	"sync/atomic"

	"github.com/tandem-hybrid/tandem/eventlog/idindex"
)

// Stats counts what a Log did since it was opened. Counters only rise, but those of the queue.
type Stats struct {
	Appends     uint64 // batches that the engine stored
	Failed      uint64 // batches that it refused
	Events      uint64 // events stored, without duplicates
	Repeats     uint64 // events recognised as duplicates, when they were appended or, by some engines, first read
	Conflicts   uint64 // of those first read: other data under the id of an event, which nobody is given
	Bytes       uint64 // payload and attributes of the events in those batches
	Waits       uint64 // times that a reader had to wait for events
	Gaps        uint64 // gaps that readers were told of
	Dropped     uint64 // events accepted without waiting that could not be stored
	Queued      int    // events that Accept holds now
	QueuedBytes int64  // their bytes
}

type counters struct {
	appends, failed, events, repeats, conflicts, bytes, waits, gaps, dropped atomic.Uint64
}

func (c *counters) appended(b *batch, err error) {
	if err != nil {
		c.failed.Add(1)
		return
	}
	repeats := 0
	for i := range b.Records {
		if b.Records[i].Duplicate {
			repeats++
		}
	}
	c.appends.Add(1)
	c.events.Add(uint64(len(b.Records) - repeats))
	c.repeats.Add(uint64(repeats))
	c.bytes.Add(uint64(b.bytes))
}

// Stats returns the counters. It is cheap and may be called at any time.
func (l *Log) Stats() Stats {
	c := &l.stats
	s := Stats{Appends: c.appends.Load(), Failed: c.failed.Load(), Events: c.events.Load(), Repeats: c.repeats.Load(), Conflicts: c.conflicts.Load(),
		Bytes: c.bytes.Load(), Waits: c.waits.Load(), Gaps: c.gaps.Load(), Dropped: c.dropped.Load()}
	s.Queued, s.QueuedBytes = l.accepted.held()
	return s
}

// RepeatWindow says how far back repeats are recognised when events are read. It reports false where the engine recognises all when it
// stores them.
func (l *Log) RepeatWindow() (idindex.Window, bool) {
	if l.repeats == nil {
		return idindex.Window{}, false
	}
	return l.repeats.ids.Window(), true
}
