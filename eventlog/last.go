package eventlog

import (
	"context"

	"github.com/tandem-hybrid/tandem"
)

// maxLast bounds the events that a search for the last ones looks at.
const maxLast = 100_000

// NewReaderLast opens a reader before the last n events of a selection that match a filter (the zero Filter matches all), among those
// readable when it is called: read with the same filter, it returns them and then what is stored from now on, without a Gap. What is
// stored while it searches comes in addition. Last means by number with TotalOrder, otherwise by the time of acceptance, in order
// within each partition.
//
// It looks at the newest 100,000 events of the selection at most. When fewer than n of them match, the reader begins before
// the first that does; when none does, or n is less than 1, at the end. Codes: those of NewReader, and Unavailable.
func (l *Log) NewReaderLast(ctx context.Context, sel Selection, filter tandem.Filter, n int) (*Reader, error) {
	r, err := l.newReader(sel)
	if err == nil {
		err = r.seekLast(ctx, filter, n)
	}
	if err != nil {
		return nil, tandem.Wrap("open reader", err)
	}
	return r, nil
}

// Last returns the place where NewReaderLast begins, for a reader that is opened later. With TotalOrder a place is one number for all
// topics, and below what retention removed of any of them, or below the creation of one that replaced another, there is a Gap: the
// place is then behind that, and what is older is left out. Errors are those of NewReaderLast.
func (l *Log) Last(ctx context.Context, sel Selection, filter tandem.Filter, n int) (tandem.Cursor, error) {
	r, err := l.NewReaderLast(ctx, sel, filter, n)
	if err != nil {
		return "", err
	}
	if !l.info.TotalOrder {
		return r.Cursor(), nil
	}
	pos := r.pos
	for _, p := range r.parts {
		pos = max(pos, p.topic.Replaced)
		if p.end() <= r.pos+1 {
			continue // removed or not, it is not behind the place
		}
		b, err := l.drv.Bounds(ctx, p.topic.ID, p.index)
		switch {
		case tandem.CodeOf(err) == tandem.CodeNotFound: // deleted meanwhile
		case err != nil:
			return "", tandem.Wrap("find the last events", err)
		case b.Removed > 0:
			pos = max(pos, b.Removed-1)
		}
	}
	return l.cursors.encode(pos), nil
}

// seekLast places a new reader before the last n events that match.
func (r *Reader) seekLast(ctx context.Context, filter tandem.Filter, n int) error {
	horizon := r.log.horizon.Load() // before the topics, as in seek
	if err := r.refresh(all, nil); err != nil {
		return err
	}
	r.begin()
	r.pos = horizon - 1
	s := backward{r: r, filter: &filter, want: n, left: maxLast, horizon: horizon}
	for _, p := range r.parts {
		p.next = s.end(p)
	}
	if n < 1 {
		return nil
	}
	hits, err := s.search(ctx)
	for _, h := range hits {
		h.part.next = min(h.part.next, h.offset)
		r.pos = min(r.pos, h.offset-1)
	}
	return err
}
