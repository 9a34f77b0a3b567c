// Package localstore opens the stores of what a process knows beside its engine, and can find out again: nothing in them is synced, and
// they are emptied when they are of another log.
package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// metaKey holds what the store is. The keys of its user begin with another byte.
var metaKey = []byte{0}

// MinFree is the free space of a volume, in bytes, below which Room refuses. Pebble's own flushes and compactions use it meanwhile: a write
// that fails for want of space ends the process, and a flush that fails holds up all writes.
const MinFree = 64 << 20

// openFree is what opening needs: Pebble writes what it finds in its journal, and a manifest.
const openFree = 16 << 20

// lookEvery is how old the answer to "is there room" may be.
const lookEvery = 100 * time.Millisecond

// DB is an open store.
type DB struct {
	*pebble.DB
	dir string // empty: in memory

	mu     sync.Mutex // guards what follows
	looked time.Time
	room   error
}

// Room returns an error, which clients may see, while the volume of the store is nearly full. Who can do without a write asks before it. A volume that cannot tell
// has room.
func (db *DB) Room() error {
	if db.dir == "" {
		return nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if now := time.Now(); now.Sub(db.looked) >= lookEvery {
		db.looked, db.room = now, room(db.dir, MinFree)
	}
	return db.room
}

func room(dir string, least uint64) error {
	if u, err := vfs.Default.GetDiskUsage(dir); err == nil && u.AvailBytes < least {
		return fmt.Errorf("its volume has %d MiB left, and %d are needed", u.AvailBytes>>20, least>>20)
	}
	return nil
}

// Open opens the store in a directory, which it makes, and which nothing else may use. An empty dir keeps it in memory. A store whose
// format, or log, is another one is emptied. A volume that is full is refused. The caller closes it.
func Open(dir string, format byte, logID [8]byte) (*DB, error) {
	cache := pebble.NewCache(32 << 20)
	defer cache.Unref()
	opts := &pebble.Options{Logger: new(quiet), Cache: cache}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	name := dir
	if dir == "" {
		opts.FS, name = vfs.NewMem(), "store"
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store in %s: %w", dir, err)
	} else if err := room(dir, openFree); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	db, err := pebble.Open(name, opts)
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	if err := check(db, append([]byte{format}, logID[:]...)); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, errors.Join(err, db.Close()))
	}
	return &DB{DB: db, dir: dir}, nil
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
type quiet struct {
	told atomic.Int64 // Unix seconds
}

func (*quiet) Infof(string, ...any) {}

// Errorf tells of one error a minute: on a full volume Pebble tries again at once, thousands of times a second.
func (q *quiet) Errorf(format string, args ...any) {
	now, told := time.Now().Unix(), q.told.Load()
	if now-told >= 60 && q.told.CompareAndSwap(told, now) {
		slog.Error("local store: " + fmt.Sprintf(format, args...))
	}
}

// Fatalf ends the process, as Pebble expects: it cannot go on. What was stored is with the engine.
func (*quiet) Fatalf(format string, args ...any) {
	panic("local store: " + fmt.Sprintf(format, args...))
}
