package migrate

import (
	"context"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Forget removes the maps of all migrations into an engine, when nobody has cursors of before any more. Whoever comes with one is told of a gap
// then, with the reason migrated. Tandem has to be stopped. It may be repeated. Code: Conflict, when a migration is not finished.
func Forget(ctx context.Context, to driver.Driver) error {
	to.Notify(func([]driver.End) {})
	m := &Migration{from: to, to: to}
	if err := m.whole(ctx); err != nil {
		return err
	}
	logs, err := offsetmap.Logs(ctx, to)
	if err != nil {
		return tandem.Wrap("read the maps", err)
	}
	if m.fence, err = to.Own(ctx, "migrate"); err != nil {
		return tandem.Wrap("take the log", err)
	}
	w := stateWriter{m: m}
	for id, l := range logs {
		l.Forgotten = true // first: half a map leads nobody
		if err := m.put(ctx, driver.StateOp{Key: offsetmap.LogKey(id), Value: offsetmap.Encode(&l)}); err != nil {
			return err
		}
		for _, prefix := range []string{offsetmap.ChunksOf(id), offsetmap.TopicsOf(id)} {
			if err := offsetmap.Scan(ctx, to, prefix, func(key string, _ []byte) error { return w.put(ctx, key, nil) }); err != nil {
				return tandem.Wrap("remove the map", err)
			}
		}
	}
	return w.flush(ctx)
}
