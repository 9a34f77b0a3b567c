package migrate

import (
	"context"
	"log/slog"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// borrowed is an engine that outlives the log over it.
type borrowed struct{ driver.Driver }

// Close does nothing: whoever opened the engine closes it.
func (borrowed) Close() error { return nil }

// openSource opens a log over a source that leaves repeats to whoever reads: they are events to nobody, and are not copied. The caller closes it.
func (m *Migration) openSource(ctx context.Context) (closeSource func(), err error) {
	if m.from.Info().Dedup == driver.DedupAtAppend {
		return func() {}, nil
	}
	if m.log, err = eventlog.Open(ctx, borrowed{m.from}, eventlog.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, tandem.Wrap("read the source", err)
	}
	return func() {
		_ = m.log.Close() // it only read
		m.log = nil
	}, nil
}

// read reads the source, without repeats.
func (m *Migration) read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	var err error
	if m.log != nil {
		dst, err = m.log.ReadPartition(ctx, id, part, from, max, dst)
	} else {
		dst, err = m.from.Read(ctx, id, part, from, max, maxBytes, dst)
	}
	return dst, tandem.Wrap("read the source", err)
}
