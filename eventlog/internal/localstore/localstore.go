// Package localstore opens the stores of what a process knows beside its engine, and can find out again: nothing in them is synced, and
// they are emptied when they are of another log.
package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// metaKey holds what the store is. The keys of its user begin with another byte.
var metaKey = []byte{0}

// Open opens the store in a directory, which it makes, and which nothing else may use. An empty dir keeps it in memory. A store whose
// format, or log, is another one is emptied. The caller closes it.
func Open(dir string, format byte, logID [8]byte) (*pebble.DB, error) {
	cache := pebble.NewCache(32 << 20)
	defer cache.Unref()
	opts := &pebble.Options{Logger: quiet{}, Cache: cache}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if dir == "" {
		opts.FS, dir = vfs.NewMem(), "store"
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store in %s: %w", dir, err)
	}
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	if err := check(db, append([]byte{format}, logID[:]...)); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, errors.Join(err, db.Close()))
	}
	return db, nil
}

func check(db *pebble.DB, meta []byte) error {
	v, closer, err := db.Get(metaKey)
	if err == nil {
		same := bytes.Equal(v, meta)
		if err := closer.Close(); err != nil || same {
			return err
		}
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	b := db.NewBatch()
	defer b.Close()
	if err := errors.Join(b.DeleteRange(metaKey, []byte{0xff, 0xff}, nil), b.Set(metaKey, meta, nil)); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// quiet hides what Pebble tells of its work.
type quiet struct{}

func (quiet) Infof(string, ...any) {}
func (quiet) Errorf(format string, args ...any) {
	slog.Error("local store: " + fmt.Sprintf(format, args...))
}

// Fatalf ends the process, as Pebble expects: it cannot go on. What was stored is with the engine.
func (quiet) Fatalf(format string, args ...any) {
	panic("local store: " + fmt.Sprintf(format, args...))
}
