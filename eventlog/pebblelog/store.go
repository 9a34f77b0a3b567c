package pebblelog

import (
	"errors"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"github.com/tandem-hybrid/tandem"
)

// pebbleOptions tune Pebble for a log: large memtables, few levels of overlap, no filters, since keys are found by range.
func (e *Engine) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          &walFS{FS: e.disk.fs, armed: &e.opened, fail: e.fail},
		Lock:                        e.lock,
		Logger:                      pebbleLogger{e},
		FormatMajorVersion:          pebble.FormatWALSyncChunks,
		CacheSize:                   e.opts.CacheBytes,
		MemTableSize:                uint64(e.opts.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       1000, // never make a publisher wait for compaction
		LBaseMaxBytes:               256 << 20,
		BytesPerSync:                1 << 20,
		MaxOpenFiles:                1000,
		FlushDelayDeleteRange:       10 * time.Second,
	}
	o.Experimental.EnableDeleteOnlyCompactionExcises = func() bool { return true }
	// Reads sample where compaction would help; a log is read once, in order.
	o.Experimental.ReadSamplingMultiplier = -1
	for i := range o.Levels {
		o.Levels[i].BlockSize = 32 << 10
		o.Levels[i].Compression = func() *block.CompressionProfile { return block.FastestCompression }
		o.TargetFileSizes[i] = 32 << 20
	}
	o.EventListener = &pebble.EventListener{
		BackgroundError: e.backgroundError,
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			e.fail(errors.New("damaged file " + i.Path))
		},
	}
	return o
}

// A flush or compaction that fails is tried again by Pebble at once, for as long as it fails.
const (
	retryPause = 50 * time.Millisecond
	warnEvery  = 10 * time.Second
)

// backgroundError slows those tries down, and the log lines about them. Pebble's lock is held, but only changes of a table
// or memtable take it.
func (e *Engine) backgroundError(err error) {
	now := time.Now()
	if last := e.warned.Load(); last == nil || now.Sub(*last) >= warnEvery {
		e.warned.Store(&now)
		e.opts.Logger.Warn("pebble will try again", "error", err)
	}
	time.Sleep(retryPause)
}

// errDirectory says what is wrong with a data directory that cannot be used.
func errDirectory(err error) error {
	var known *tandem.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrPermission):
		return tandem.Errorf(tandem.CodeInvalid, "%w", err).WithHint("the data directory must be writable for the user that Tandem runs as")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist), isNotDirectory(err):
		return tandem.Errorf(tandem.CodeInvalid, "%w", err).WithHint("the data directory must be a directory, or a name at which one can be made")
	case isReadOnly(err):
		return tandem.Errorf(tandem.CodeInvalid, "%w", err).WithHint("the volume of the data directory is mounted read-only")
	case isDiskFull(err):
		return tandem.Errorf(tandem.CodeUnavailable, "%w", err).WithHint("the volume of the data directory is full")
	}
	return tandem.Errorf(tandem.CodeInternal, "%w", err)
}

// errLock tells a directory that is taken from one that cannot be locked.
func (e *Engine) errLock(err error) error {
	if isLocked(err) {
		return tandem.Errorf(tandem.CodeConflict, "another process has the log open: %w", err).
			WithHint("a data directory belongs to one process; stop the other one, or give this one another directory")
	}
	return errDirectory(err)
}
