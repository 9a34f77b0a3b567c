package pebblelog

import (
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
)

// disk watches the free space of the volume and keeps a reserve file that is given up when the volume runs full, so that
// what must go on can: acknowledgement, retention, deletion, and Pebble's own flushes and compactions.
type disk struct {
	fs    vfs.FS // retries once what met a full volume, after giving up the reserve
	plain vfs.FS
	dir   string
	log   *slog.Logger
	usage func() (free, total uint64, err error)
	mark  int64 // as in Options.FreeBytes
	size  int64 // of the reserve
	every time.Duration

	below   atomic.Bool
	checked atomic.Int64 // monotonic time of the last look, in nanoseconds
	start   time.Time

	mu   sync.Mutex // guards the reserve file
	held bool
}

// lookEvery is how old the answer to "is there room" may be. At a gigabyte a second that is 250 MB, half the least mark.
const lookEvery = 250 * time.Millisecond

const reserveName = "reserve"

func openDisk(opts Options, dir string) (*disk, error) {
	d := &disk{fs: opts.FS, plain: opts.FS, dir: dir, log: opts.Logger, usage: opts.DiskFree, mark: opts.FreeBytes, size: opts.ReserveBytes, start: time.Now(), every: lookEvery}
	if d.mark < 0 {
		return d, nil
	}
	if d.usage == nil {
		d.usage = func() (uint64, uint64, error) {
			u, err := d.plain.GetDiskUsage(dir)
			return u.AvailBytes, u.TotalBytes, err
		}
	}
	d.fs = vfs.OnDiskFull(opts.FS, d.giveUp)
	_, err := d.plain.Stat(d.path())
	d.held = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d.look()
	return d, nil
}

func (d *disk) path() string { return d.plain.PathJoin(d.dir, reserveName) }

// full reports whether the volume is below its mark. It looks at most every lookEvery.
func (d *disk) full() bool {
	if d.usage == nil {
		return false
	}
	if now := int64(time.Since(d.start)); now-d.checked.Load() >= int64(d.every) {
		d.look()
	}
	return d.below.Load()
}

// look compares the free space with the mark, and gives up or takes the reserve.
func (d *disk) look() {
	d.checked.Store(int64(time.Since(d.start)))
	free, total, err := d.usage()
	if err != nil {
		// A file system that cannot tell is not watched.
		d.below.Store(false)
		return
	}
	mark := uint64(d.mark)
	if d.mark == 0 {
		mark = max(total/20, 512<<20)
	}
	below := free < mark
	if below != d.below.Swap(below) {
		d.log.Warn("free space of the data volume", "below the mark", below, "free", free, "mark", mark)
	}
	switch {
	case below:
		d.giveUp()
	case free >= mark+2*uint64(d.size):
		d.take()
	}
}

// giveUp removes the reserve.
func (d *disk) giveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.held {
		return
	}
	if err := d.plain.Remove(d.path()); err != nil {
		d.log.Error("cannot give up the reserve", "error", err)
		return
	}
	d.held = false
	d.log.Warn("gave up the reserve of the data volume", "bytes", d.size)
}

// take makes the reserve anew.
func (d *disk) take() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held || d.size <= 0 {
		return
	}
	f, err := d.plain.Create(d.path(), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, d.size), f.Close())
	}
	if err != nil {
		d.log.Warn("cannot make the reserve", "error", errors.Join(err, d.plain.Remove(d.path())))
		return
	}
	d.held = true
}

func (d *disk) errFull() error {
	return tandem.Errorf(tandem.CodeUnavailable, "the data volume is below its free-space mark").WithRetryAfter(10 * time.Second).
		WithHint("free space on the volume of the data directory, delete topics, or lower limits.freeBytes")
}
