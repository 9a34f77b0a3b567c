package pebblelog

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configure an Engine. The zero value works.
type Options struct {
	// FS is the file system; nil means the disk.
	FS vfs.FS
	// Logger gets what an operator should see. Nil drops it.
	Logger *slog.Logger
	// Now is the clock of retention, of the window of ids and of events without an acceptance time; nil means time.Now.
	Now func() time.Time

	// FreeBytes is the free-space mark: below it events are refused. Zero means the larger of 5 % of the volume and
	// 512 MiB; negative disables the mark and the reserve.
	FreeBytes int64
	// ReserveBytes is the size of the file that is given up when the volume runs full, so that acknowledgement,
	// retention and deletion go on. Zero means 64 MiB.
	ReserveBytes int64
	// DiskFree returns the free and the total bytes of the volume; nil asks the file system.
	DiskFree func() (free, total uint64, err error)

	// RetentionEvery is how often expired events are looked for. Zero means 30s; negative leaves it to RunRetention.
	RetentionEvery time.Duration
	// SegmentBytes is the size of records at which a segment is sealed. Zero means 256 MiB.
	SegmentBytes int64
	// SegmentSpan is the time after which a segment is sealed, and so how late retention by age may be. Zero means an
	// eighth of the shortest retention of any topic, at least a minute and at most six hours.
	SegmentSpan time.Duration

	// DedupWindow is how long an id is remembered, unless the topic's retention is shorter. Zero means 24h; negative
	// remembers none.
	DedupWindow time.Duration
	// DedupBytes bounds the memory of remembered ids, about 60 bytes each. Zero means 256 MiB.
	DedupBytes int64

	// CacheBytes is the size of Pebble's block cache. Zero means 64 MiB.
	CacheBytes int64
	// MemTableBytes is the size of one of Pebble's memtables, of which there are at most four. Zero means 64 MiB.
	MemTableBytes int64

	// noSync leaves out syncs, so that tests can show that they would notice.
	noSync bool
	// stallAfter is the constant of that name, but for tests.
	stallAfter time.Duration
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	setDefault(&o.ReserveBytes, 64<<20)
	setDefault(&o.RetentionEvery, 30*time.Second)
	setDefault(&o.SegmentBytes, 256<<20)
	setDefault(&o.DedupWindow, 24*time.Hour)
	setDefault(&o.DedupBytes, 256<<20)
	setDefault(&o.CacheBytes, 64<<20)
	setDefault(&o.MemTableBytes, 64<<20)
	setDefault(&o.stallAfter, stallAfter)
	return o
}

func setDefault[T ~int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
