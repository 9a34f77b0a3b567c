package pebblelog

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// removal is one durable step of retention.
type removal struct {
	batch  *pebble.Batch
	starts map[*topic][]starts
	spans  []span
}

// span is a range of keys that a removal clears, with the bytes of records that were in it.
type span struct {
	from, to []byte
	bytes    int64
	whole    bool // a whole segment
}

func (e *Engine) newRemoval() *removal {
	return &removal{batch: e.db.NewBatch(), starts: map[*topic][]starts{}}
}

// of returns the starts of a topic as they will be.
func (r *removal) of(e *Engine, t *topic) []starts {
	if s, ok := r.starts[t]; ok {
		return s
	}
	s := make([]starts, len(t.parts))
	e.mu.RLock()
	for i, p := range t.parts {
		s[i] = p.start
	}
	e.mu.RUnlock()
	r.starts[t] = s
	return s
}

// until moves the starts of a topic behind the end of a portion, and returns the bytes that this removes.
func (r *removal) until(e *Engine, t *topic, portion []byte) (bytes int64, err error) {
	s := r.of(e, t)
	err = decodeEnds(portion, func(i int, v ends) {
		if i < len(s) && v.Offset >= s[i].Removed {
			bytes += int64(v.Bytes - s[i].Bytes)
			s[i] = starts{Removed: v.Offset + 1, Seq: v.Seq, Bytes: v.Bytes}
		}
	})
	return bytes, err
}

// commit makes a removal known and then durable. Pebble shows a deletion before its sync returns, and who then finds events
// missing must find them removed, too. What a crash gives back is removed again later.
func (r *removal) commit(e *Engine) error {
	for t, s := range r.starts {
		if err := r.batch.Set(topicKey(spaceStarts, t.id), encodeStarts(s), nil); err != nil {
			return err
		}
	}
	e.mu.Lock()
	for t, s := range r.starts {
		for i, p := range t.parts {
			if p.start != s[i] {
				p.start, p.oldest = s[i], 0
			}
		}
	}
	e.mu.Unlock()
	return e.db.Apply(r.batch, pebble.Sync)
}

// giveBack makes the disk space of what was removed free. The range deletions are the truth, and Pebble compacts them in
// its own time; that may be never in a log that is not written to any more.
func (r *removal) giveBack(ctx context.Context, e *Engine) error {
	const worthIt = 1 << 20 // bytes; below it the files that would be written again are larger
	for _, s := range r.spans {
		var err error
		switch {
		case s.whole:
			err = e.db.Excise(ctx, pebble.KeyRange{Start: s.from, End: s.to})
		case s.bytes >= worthIt:
			err = e.db.Compact(ctx, s.from, s.to, false)
		}
		if err != nil {
			return fmt.Errorf("give disk space back: %w", err)
		}
	}
	return nil
}
