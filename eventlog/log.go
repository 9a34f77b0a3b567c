package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// Options configure a Log. The zero value works.
type Options struct {
	Logger        *slog.Logger     // nil means slog.Default
	MaxEventBytes int              // largest event, payload and attributes together; zero means tandem.DefaultMaxEventBytes
	Now           func() time.Time // nil means time.Now
	AutoCreate    bool             // a topic comes into being when it is first published to

	// Sampling is how traces begin.
	Sampling tracecontext.Sampling
	// Stored is told of each event that was stored and is no repeat, before its receipt goes out. It must not block, and keeps no reference.
	// Nil means nobody asks.
	Stored func(*tandem.Event, tandem.Position)

	// Dir is where the ids of events are remembered for an engine that does not recognise every repeat itself; others do not use
	// it. Empty means in memory: after a restart a day of events is read again before the first of a partition is given out.
	Dir string

	// The queue of Accept: it refuses with Overloaded beyond either. Zero means 10,000 events and 64 MiB.
	AcceptEvents int
	AcceptBytes  int64
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = tandem.DefaultMaxEventBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AcceptEvents == 0 {
		o.AcceptEvents = 10_000
	}
	if o.AcceptBytes == 0 {
		o.AcceptBytes = 64 << 20
	}
}

// Log is the log over one engine. All methods are safe for concurrent use.
type Log struct {
	drv     driver.Driver
	info    driver.Info
	opts    Options
	limit   int // of one event
	cursors numberCodec

	topics   topicTable
	accepted acceptQueue
	batches  sync.Pool // *batch
	buffers  sync.Pool // *[]tandem.Record
	stats    counters
	repeats  *repeats // nil: the engine recognises them when it stores events

	migrations migrations

	close func() error

	// horizon, with TotalOrder, is the smallest number that no reader may pass: all below it are readable.
	horizon atomic.Uint64
}

// Open takes ownership of drv: it is closed by Close, or at once if Open fails.
func Open(ctx context.Context, drv driver.Driver, opts Options) (*Log, error) {
	opts.setDefaults()
	l := &Log{drv: drv, info: drv.Info(), opts: opts, limit: opts.MaxEventBytes}
	if n := l.info.MaxEventBytes; n > 0 && n < l.limit {
		l.limit = n
	}
	l.cursors = newNumberCodec(l.info.LogID)
	l.batches.New = func() any { return new(batch) }
	l.topics.init()
	drv.Notify(l.notified)
	if err := l.load(ctx); err != nil {
		drv.Close()
		return nil, tandem.Wrap("open log", err)
	}
	if l.info.Dedup != driver.DedupAtAppend {
		var err error
		if l.repeats, err = openRepeats(l); err != nil {
			drv.Close()
			return nil, tandem.Wrap("open log", err)
		}
	}
	l.accepted.start(l)
	l.close = sync.OnceValue(func() error {
		l.accepted.stop()
		err := drv.Close()
		if l.repeats != nil {
			err = errors.Join(err, l.repeats.close())
		}
		return err
	})
	return l, nil
}

// load reads topics and ends. Nothing is appended yet, so what it sees does not move.
func (l *Log) load(ctx context.Context) error {
	if err := l.loadMigrations(ctx); err != nil {
		return err
	}
	all, err := l.drv.Topics(ctx)
	if err != nil {
		return err
	}
	horizon := uint64(1)
	for _, dt := range all {
		t := newTopic(dt)
		for i := range t.live.ends {
			b, err := l.drv.Bounds(ctx, t.ID, i)
			if err != nil {
				return tandem.Wrap("bounds of "+t.Name, err)
			}
			t.live.raise(i, b.End)
			horizon = max(horizon, b.End)
		}
		horizon = max(horizon, dt.Born+1)
		l.topics.put(t)
	}
	kept, err := l.keptHorizon(ctx)
	l.raise(max(horizon, kept))
	return err
}

// Close appends what Accept has taken, then closes the engine. Calls under way end with Unavailable. Repeating it waits
// for the first and returns its error.
func (l *Log) Close() error { return l.close() }

// Health returns nil while the engine can write, else why not. It is cheap.
func (l *Log) Health() error { return l.drv.Health() }

// Info says what the engine is and can do.
func (l *Log) Info() driver.Info { return l.info }

// Bounds returns what a partition holds. It is cheap. Code: NotFound.
func (l *Log) Bounds(ctx context.Context, topic driver.ID, partition int) (driver.Bounds, error) {
	return l.drv.Bounds(ctx, topic, partition)
}

// OffsetAt returns the offset of the first event of a partition accepted at or after t, or its end. Code: NotFound.
func (l *Log) OffsetAt(ctx context.Context, topic driver.ID, partition int, t time.Time) (uint64, error) {
	return l.drv.OffsetAt(ctx, topic, partition, t)
}

// ReadPartition appends to dst up to max events of a partition from an offset on and returns the extended slice. It never
// waits, and stops early after a few MiB. It is for readers that keep their own place in each partition; others use a
// Reader. The records are the caller's, but Data is shared and read-only. Code: NotFound.
func (l *Log) ReadPartition(ctx context.Context, topic driver.ID, partition int, from uint64, max int, dst []tandem.Record) ([]tandem.Record, error) {
	return l.read(ctx, topic, partition, from, max, pageBytes, dst)
}
