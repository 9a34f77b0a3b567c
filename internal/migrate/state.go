package migrate

import (
	"context"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Room says what becomes of the state records of a room.
type Room struct {
	// Prefix begins the keys of its records. Prefixes do not overlap.
	Prefix string
	// Translate gives put the records of the target, each key once, for those of the source. It must do the same each time that it is called. Nil
	// copies the records as they are: they hold nothing of one log, or cursors only, which the log translates itself.
	Translate func(ctx context.Context, from offsetmap.State, moved *Moved, put func(key string, value []byte) error) error
	// Skip leaves the records out: the target makes its own.
	Skip bool
}

func (r Room) how() string {
	switch {
	case r.Skip:
		return "left out"
	case r.Translate != nil:
		return "translated"
	}
	return "copied"
}

// rooms are those of the log itself and those of the options.
func (m *Migration) rooms() []Room {
	return append([]Room{
		{Prefix: "log/horizon", Skip: true},              // numbers of the source
		{Prefix: offsetmap.RunKey, Skip: true},           // how the source was filled
		{Prefix: offsetmap.Prefix + "log/", Skip: false}, // the maps of earlier migrations stay steps of the way
		{Prefix: offsetmap.Prefix + "topic/"},
		{Prefix: offsetmap.Prefix + "map/"},
	}, m.opts.Rooms...)
}

// eachRoom gives put the records of the target, room by room.
func (m *Migration) eachRoom(ctx context.Context, put func(r *Room, key string, value []byte) error) error {
	moved := &Moved{m: m}
	for _, r := range m.rooms() {
		if r.Skip {
			continue
		}
		one := func(key string, value []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return put(&r, key, value)
		}
		translate := r.Translate
		if translate == nil {
			translate = func(ctx context.Context, from offsetmap.State, _ *Moved, put func(string, []byte) error) error {
				return offsetmap.Scan(ctx, from, r.Prefix, put)
			}
		}
		if err := translate(ctx, m.from, moved, one); err != nil {
			return tandem.Wrap("state records "+r.Prefix, err)
		}
	}
	return nil
}

// copyState writes all state of the target. It always does so from the start: writing a record again changes nothing.
func (m *Migration) copyState(ctx context.Context) error {
	var total uint64
	plans, err := m.stateOfSource(ctx)
	if err != nil {
		return err
	}
	for _, p := range plans {
		total += p.Records
	}
	w, done := stateWriter{m: m}, uint64(0)
	err = m.eachRoom(ctx, func(_ *Room, key string, value []byte) error {
		if done++; done%1000 == 0 {
			m.progress(StepState, done, total)
		}
		return w.put(ctx, key, value)
	})
	if err == nil {
		err = w.flush(ctx)
	}
	m.progress(StepState, done, done)
	return err
}

// The bounds of one write of state.
const (
	stateRecords = 512
	stateBytes   = 512 << 10
)

// stateWriter writes state in batches.
type stateWriter struct {
	m     *Migration
	ops   []driver.StateOp
	bytes int
}

func (w *stateWriter) put(ctx context.Context, key string, value []byte) error {
	w.ops = append(w.ops, driver.StateOp{Key: strings.Clone(key), Value: value})
	w.bytes += len(key) + len(value)
	if len(w.ops) < stateRecords && w.bytes < stateBytes {
		return nil
	}
	return w.flush(ctx)
}

func (w *stateWriter) flush(ctx context.Context) error {
	if len(w.ops) == 0 {
		return nil
	}
	err := w.m.put(ctx, w.ops...)
	w.ops, w.bytes = w.ops[:0], 0
	return tandem.Wrap("store state in the target", err)
}
