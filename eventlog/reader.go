package eventlog

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// The bounds of one Read: what it returns, what it looks at, and what a Reader holds between two.
const (
	pageBytes   = 4 << 20 // data returned, after the first event
	scanEvents  = 4096    // events looked at, whether they match or not
	firstPage   = 32      // events that a page has room for at first
	bufferBytes = 1 << 20 // asked of the engine ahead, for all partitions together
)

// Reader reads the events of a selection with one cursor: in order of commit with TotalOrder, otherwise in order within
// each partition. It holds at most about a MiB that it read ahead, and no goroutine. Not for concurrent use.
type Reader struct {
	log   *Log
	sel   Selection
	watch *Watch // from the first Next on

	parts   []*part      // those of a topic lie together
	lives   []*liveTopic // of the topics, in the order of parts
	heap    partHeap     // scratch of merge
	version uint64       // of the topic table that parts were made of
	started bool         // the start is resolved: topics that appear from now on are new ones

	pos   uint64      // with TotalOrder: all of the selection up to this number was read
	ahead uint64      // with TotalOrder: the greatest head start of a part, zero when none has one
	gap   *tandem.Gap // to be told by the next Read, without To
	more  bool        // the last Read stopped at a bound, not at the end

	// Without TotalOrder:
	turn  int             // the part that is read next
	last  lastPage        // for CursorAfter
	names map[uint32]bool // topics that were there once, by hash
}

// NewReader opens a reader at a start. Codes: Invalid (the cursor or time cannot be parsed, or without TotalOrder the
// selection is too wide for a cursor), NotFound (a plain name without a topic). A foreign, recreated or overtaken cursor
// is no error: the first Read returns a page with a Gap.
func (l *Log) NewReader(ctx context.Context, sel Selection, start tandem.Start) (*Reader, error) {
	r, err := l.newReader(sel)
	if err == nil {
		err = r.seek(ctx, start)
	}
	if err != nil {
		return nil, tandem.Wrap("open reader", err)
	}
	return r, nil
}

// newReader returns one that has no place yet.
func (l *Log) newReader(sel Selection) (*Reader, error) {
	for _, p := range sel.patterns {
		if !isPattern(p) && l.topics.get(p) == nil {
			return nil, noTopic(p)
		}
	}
	return &Reader{log: l, sel: sel}, nil
}

// Read returns what can be read now, at most max events (at least one), without waiting. Events that do not match the filter (the zero
// Filter matches all) are skipped and the cursor moves past them; a call looks at no more than a few thousand, so a page
// without events and with an advanced cursor is possible. The Data of the events is shared and read-only.
//
// A page has a Gap when events before its first one were lost, also later, when retention overtook the reader: one Gap
// for each loss. Codes: Unavailable, or Invalid when topics appeared that make the cursor too long.
func (r *Reader) Read(ctx context.Context, filter tandem.Filter, max int) (tandem.Page, error) {
	return r.read(ctx, &page{max: max, filter: &filter})
}

func (r *Reader) read(ctx context.Context, w *page) (tandem.Page, error) {
	w.max = max(1, w.max)
	if w.maxBytes <= 0 {
		w.maxBytes = pageBytes
	}
	r.more = false
	// The horizon comes before the topics: a topic that has an event below it is in the table by then.
	horizon := r.log.horizon.Load()
	if err := r.refresh(horizon, w.to); err != nil {
		return tandem.Page{}, err
	}
	var err error
	if r.log.info.TotalOrder {
		if w.to != nil {
			horizon = min(horizon, w.to.number+1)
		}
		err = r.merge(ctx, w, horizon)
	} else {
		err = r.rotate(ctx, w)
	}
	r.more = r.more || err != nil // the next Read meets it again
	if err != nil && len(w.events) == 0 && w.gap == nil {
		return tandem.Page{}, err
	}
	out := tandem.Page{Events: w.events, Cursor: r.Cursor(), Gap: w.gap}
	if w.gap != nil {
		r.log.stats.gaps.Add(1)
	}
	return out, nil
}

// Next is Read, but waits until there is at least one event or a Gap, or ctx is done: then it returns an empty page with
// the cursor, and the error of ctx.
func (r *Reader) Next(ctx context.Context, filter tandem.Filter, max int) (tandem.Page, error) {
	if r.watch == nil {
		r.watch = r.log.Watch(r.sel)
	}
	for {
		if err := ctx.Err(); err != nil {
			return tandem.Page{Cursor: r.Cursor()}, err
		}
		p, err := r.Read(ctx, filter, max)
		if err != nil || len(p.Events) > 0 || p.Gap != nil {
			return p, err
		}
		if r.more {
			continue
		}
		r.log.stats.waits.Add(1)
		select {
		case <-r.watch.C:
		case <-ctx.Done():
			return tandem.Page{Cursor: r.Cursor()}, ctx.Err()
		}
	}
}

// Cursor is the place after all that was read.
func (r *Reader) Cursor() tandem.Cursor {
	if r.log.info.TotalOrder {
		return r.cursorAt(r.pos)
	}
	c, err := encodeVector(r.log.info.LogID, r.places())
	if err != nil {
		return "" // refresh has refused the selection already
	}
	return c
}

// CursorAfter returns the place after a record of the last page. It is cheap.
func (r *Reader) CursorAfter(rec *tandem.Record) tandem.Cursor {
	if r.log.info.TotalOrder {
		return r.cursorAt(rec.Position.Offset)
	}
	return r.last.after(r, rec)
}

// Incarnation names the log and the topics that are read, those that were created again by another name. As long as it stays the same,
// what lies behind a cursor is only added to, or removed by retention.
func (r *Reader) Incarnation() string {
	b := append([]byte(nil), r.log.info.LogID[:]...)
	for i, p := range r.parts {
		if i == 0 || p.topic != r.parts[i-1].topic {
			b = binary.BigEndian.AppendUint64(b, uint64(p.topic.ID))
		}
	}
	return string(b)
}

// Close releases the reader. It may be repeated.
func (r *Reader) Close() {
	if r.watch != nil {
		r.watch.Close()
	}
	r.Forget()
}

// page is what one Read collects.
type page struct {
	max      int
	maxBytes int
	filter   *tandem.Filter
	to       *Mark     // nil: no end
	until    time.Time // zero: no bound
	events   []tandem.Record
	gap      *tandem.Gap
	bytes    int
	looked   int
}

// full reports whether no further event may be looked at.
func (w *page) full() bool {
	return len(w.events) >= w.max || w.looked >= scanEvents || w.bytes >= w.maxBytes || w.late()
}

// late looks at the clock now and then: filters may be costly.
func (w *page) late() bool {
	return !w.until.IsZero() && w.looked%16 == 15 && time.Now().After(w.until)
}

func (w *page) look(rec *tandem.Record) {
	w.looked++
	if w.filter.Match(&rec.Event) {
		if w.events == nil {
			w.events = make([]tandem.Record, 0, min(w.max, firstPage))
		}
		w.events = append(w.events, *rec)
		w.bytes += len(rec.Data)
	}
}
