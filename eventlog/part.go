package eventlog

import (
	"context"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// part is a reader's place in one partition.
type part struct {
	topic *topic
	index int

	next uint64          // the offset that the engine is asked for next
	from uint64          // with TotalOrder: a head start; what lies before was read by the owner of a cursor of another log
	buf  []tandem.Record // read ahead, all of it before next; from Log.buffers, nil when all was looked at
	head int             // first of buf that was not looked at
	held int             // bytes of data in buf that were not looked at
}

func isPattern(p string) bool { return strings.Contains(p, "*") }

func (p *part) end() uint64 { return p.topic.live.ends[p.index].Load() }

// active reports whether there is something to look at, or to read.
func (p *part) active() bool { return p.buf != nil || p.next < p.end() }

// place is the offset that the reader has to see next.
func (p *part) place() uint64 {
	if p.buf != nil {
		return p.buf[p.head].Position.Offset
	}
	return p.next
}

// look hands the head of the buffer to the page.
func (p *part) look(l *Log, w *page) (offset uint64) {
	rec := &p.buf[p.head]
	offset = rec.Position.Offset
	p.head++
	p.held -= len(rec.Data)
	w.look(rec)
	if p.head == len(p.buf) {
		l.putBuffer(p.buf)
		p.buf = nil
	}
	return offset
}

// forget drops what was read ahead. It will be read again.
func (p *part) forget(l *Log) {
	if p.buf != nil {
		p.next, p.held = p.place(), 0
		l.putBuffer(p.buf)
		p.buf = nil
	}
}

// fill reads ahead. It moves next past events that retention removed and reports whether there were any.
//
// Bounds before and after the read have to agree on what was removed, otherwise the records may begin behind a hole that
// neither shows. Retention moves seldom, so a second try is rare.
func (p *part) fill(ctx context.Context, l *Log, events, bytes int) (lost bool, err error) {
	before, err := l.drv.Bounds(ctx, p.topic.ID, p.index)
	if err != nil {
		return false, err
	}
	buf := l.getBuffer()
	for {
		if before.Removed > p.next {
			p.next, lost = before.Removed, true
		}
		end := p.end()
		if buf, err = l.read(ctx, p.topic.ID, p.index, p.next, events, bytes, buf[:0]); err != nil {
			break
		}
		var after driver.Bounds
		if after, err = l.drv.Bounds(ctx, p.topic.ID, p.index); err != nil {
			break
		}
		if after.Removed != before.Removed && after.Removed > p.next {
			before = after
			continue
		}
		if len(buf) == 0 {
			p.next = max(p.next, end) // nothing is there any more
			break
		}
		p.next = buf[len(buf)-1].Position.Offset + 1
		p.buf, p.head, p.held = buf, 0, 0
		for i := range buf {
			p.held += len(buf[i].Data)
		}
		return lost, nil
	}
	l.putBuffer(buf)
	return lost, err
}

// getBuffer and putBuffer lend room to read ahead, so that a reader at the end of its topics holds none.
func (l *Log) getBuffer() []tandem.Record {
	if b, ok := l.buffers.Get().(*[]tandem.Record); ok {
		return (*b)[:0]
	}
	return nil
}

func (l *Log) putBuffer(b []tandem.Record) {
	if cap(b) == 0 {
		return
	}
	clear(b)
	l.buffers.Put(&b)
}
