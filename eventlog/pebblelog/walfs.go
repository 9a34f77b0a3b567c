package pebblelog

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS parks whoever cannot write Pebble's write-ahead log, as pebbleLogger does where Pebble calls Fatalf: Pebble panics
// instead, in whatever goroutine it is, its own ones too, where nobody could recover.
type walFS struct {
	vfs.FS
	armed *atomic.Bool // false while the store is being opened: then errors are the answer
	fail  func(error)
}

// park does not return after an error.
func (w *walFS) park(what string, err error) error {
	if err != nil && w.armed.Load() {
		w.fail(fmt.Errorf("%s the write-ahead log: %w", what, err))
		select {}
	}
	return err
}

func (w *walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.Create(name, c)
	return w.guard(name, f, err)
}

func (w *walFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.ReuseForWrite(old, name, c)
	return w.guard(name, f, err)
}

func (w *walFS) guard(name string, f vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") {
		return f, err
	}
	if err := w.park("begin", err); err != nil {
		return nil, err
	}
	return &walFile{f, w}, nil
}

type walFile struct {
	vfs.File
	fs *walFS
}

func (f *walFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.fs.park("write", err)
}

func (f *walFile) Sync() error     { return f.fs.park("sync", f.File.Sync()) }
func (f *walFile) SyncData() error { return f.fs.park("sync", f.File.SyncData()) }
func (f *walFile) Close() error    { return f.fs.park("close", f.File.Close()) }

func (f *walFile) SyncTo(n int64) (bool, error) {
	full, err := f.File.SyncTo(n)
	return full, f.fs.park("sync", err)
}
