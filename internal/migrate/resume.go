package migrate

import (
	"context"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// resume finds where the copy of each partition stands: behind the last pair of the map, and behind the events that follow it in the target, since
// the map is written after them and nobody knows what became of a batch that was under way when an earlier run ended.
func (m *Migration) resume(ctx context.Context) error {
	m.copied = 0
	w := &writer{m: m}
	for _, t := range m.topics {
		for _, p := range t.parts {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := m.resumePart(ctx, w, p); err != nil {
				return err
			}
		}
		if w.pending >= maxPending {
			if err := w.writePairs(ctx); err != nil {
				return err
			}
		}
	}
	if err := w.writePairs(ctx); err != nil {
		return err
	}
	m.found = m.copied
	return m.recall(ctx)
}

func (m *Migration) resumePart(ctx context.Context, w *writer, p *part) (err error) {
	p.next, p.last, p.before, p.any, p.pending = 0, 0, 0, false, nil
	err = m.places.Pairs(ctx, uint64(p.topic.from.ID), p.index, func(pairs []offsetmap.Pair) error {
		last := pairs[len(pairs)-1]
		p.next, p.last, p.before, p.any = last.From+1, last.To, last.To, true
		m.copied += uint64(len(pairs))
		return nil
	})
	if err != nil {
		return tandem.Wrap("read the map of the target", err)
	}
	var mine, theirs []tandem.Record
	for at := p.after(); ; at = p.last + 1 {
		theirs, err = m.to.Read(ctx, p.topic.to.ID, p.index, at, m.opts.BatchEvents, m.opts.BatchBytes, theirs[:0])
		if err != nil {
			return tandem.Wrap("read the target", err)
		}
		if len(theirs) == 0 {
			return nil
		}
		for i := range theirs {
			if len(mine) == 0 {
				if mine, err = m.read(ctx, p.topic.from.ID, p.index, p.next, m.opts.BatchEvents, m.opts.BatchBytes, mine[:0]); err != nil {
					return err
				}
			}
			if len(mine) == 0 || !sameEvent(&mine[0].Event, &theirs[i].Event) {
				return tandem.Errorf(tandem.CodeConflict, "event %s of the target was not copied from the source", theirs[i].Position).
					WithHint("something else was published to the target, or the source has lost events since: migrate into an empty target")
			}
			w.note(p, offsetmap.Pair{From: mine[0].Position.Offset, To: theirs[i].Position.Offset})
			p.next = mine[0].Position.Offset + 1
			mine = mine[1:]
		}
	}
}
