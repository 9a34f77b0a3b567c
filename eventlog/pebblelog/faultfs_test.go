package pebblelog

import (
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// stallFS makes syncs of the write-ahead log wait.
type stallFS struct {
	vfs.FS
	mu      sync.Mutex
	gate    chan struct{} // nil while syncs go through
	reached chan struct{}
	once    *sync.Once
}

func newStallFS(fs vfs.FS) *stallFS { return &stallFS{FS: fs} }

func (s *stallFS) stall() (reached <-chan struct{}, resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate, s.reached, s.once = gate, make(chan struct{}), new(sync.Once)
	return s.reached, func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	}
}

func (s *stallFS) wait() {
	s.mu.Lock()
	gate, reached, once := s.gate, s.reached, s.once
	s.mu.Unlock()
	if gate != nil {
		once.Do(func() { close(reached) })
		<-gate
	}
}

func (s *stallFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return s.wrap(name, f), err
}

func (s *stallFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(old, name, c)
	return s.wrap(name, f), err
}

func (s *stallFS) wrap(name string, f vfs.File) vfs.File {
	if f == nil || !strings.HasSuffix(name, ".log") {
		return f
	}
	return &stallFile{f, s}
}

type stallFile struct {
	vfs.File
	fs *stallFS
}

func (f *stallFile) Sync() error                         { f.fs.wait(); return f.File.Sync() }
func (f *stallFile) SyncData() error                     { f.fs.wait(); return f.File.SyncData() }
func (f *stallFile) SyncTo(n int64) (full bool, e error) { f.fs.wait(); return f.File.SyncTo(n) }
