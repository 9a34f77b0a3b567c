package natslog

import (
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// topic is an incarnation of a topic.
type topic struct {
	driver.Topic // changes under table.mu
	parts        []*partition
}

// partition is one stream, as far as this process knows it.
type partition struct {
	topic   driver.ID
	name    string // of the topic
	index   int
	stream  string
	subject string
	out     queue // of what is published

	mu       sync.Mutex
	gone     bool   // the topic was deleted
	seen     bool   // the server has said something of the stream
	replicas int    // of the stream
	first    uint64 // sequence of the oldest event, or end
	end      uint64 // sequence after the newest that may be read
	bytes    int64
	asked    uint64 // end when the server was asked last
	missing  int    // how often it had less than that, in a row
	tail     tail

	told     uint64       // end as Notify said; guarded by Engine.telling
	readAt   atomic.Int64 // when it was read last, in seconds since 1970: a tail is kept only for readers
	checking atomic.Bool  // it waits for the watcher
	again    atomic.Bool  // something came while the watcher looked
}

func (p *partition) bounds() driver.Bounds {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := driver.Bounds{Start: p.first, End: p.end, StartSeq: p.first, EndSeq: p.end, Bytes: p.bytes}
	if p.first > 1 {
		b.Removed = p.first
	}
	return b
}

func (p *partition) endNow() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// observe takes what the server says of the stream. The first time, all its events count as readable. It reports whether there is more than is
// known, and how many events were known that the server has lost.
func (p *partition) observe(c *cache, info *jetstream.StreamInfo) (more bool, lost uint64) {
	s := &info.State
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicas = max(1, info.Config.Replicas)
	if !p.seen {
		p.seen, p.end = true, max(p.end, s.LastSeq+1)
	}
	// What was known when the server was asked the time before has to be there.
	if s.LastSeq+1 >= p.asked {
		p.missing = 0
	} else if p.missing++; p.missing > 1 {
		lost = p.end - 1 - s.LastSeq
		p.end, p.first, p.missing = s.LastSeq+1, min(p.first, s.LastSeq+1), 0
		c.forget(p)
	}
	p.asked = p.end
	first := max(s.FirstSeq, 1)
	if s.Msgs == 0 {
		first = s.LastSeq + 1
	}
	p.first = min(max(p.first, first), p.end)
	switch known := p.end - 1; {
	case known == s.LastSeq:
		p.bytes = int64(s.Bytes)
	case known > s.LastSeq && s.Msgs > 0:
		p.bytes = int64(s.Bytes + (known-s.LastSeq)*(s.Bytes/s.Msgs))
	}
	return s.LastSeq >= p.end, lost
}

// stored notes that the records, which follow each other from seq on, may be read.
func (p *partition) stored(c *cache, seq uint64, count int, bytes int64, records []tandem.Record) {
	p.mu.Lock()
	c.put(p, seq, records)
	p.end = max(p.end, seq+uint64(count))
	p.bytes += bytes
	p.mu.Unlock()
	c.shrink()
}

// removed notes that nothing is left before seq.
func (p *partition) removed(seq uint64) {
	p.mu.Lock()
	p.first = min(max(p.first, seq), p.end)
	p.mu.Unlock()
}
