// Package benchfloor is the floor that Tandem's benchmarks measure against: the least a program can do that makes bytes
// durable before it answers.
package benchfloor

import (
	"os"
	"sync"
)

// File is an append-only file with group commit: all that waits is written in one call and synced once. It has no format,
// no index and no checksum. Safe for concurrent use.
type File struct {
	f    *os.File
	done chan struct{}

	mu      sync.Mutex
	more    sync.Cond
	buf     []byte
	waiting []chan error
	closed  bool
}

// OpenFile makes or truncates the file at path.
func OpenFile(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	file := &File{f: f, done: make(chan struct{})}
	file.more.L = &file.mu
	go file.commit()
	return file, nil
}

var signals = sync.Pool{New: func() any { return make(chan error, 1) }}

// Append writes p and returns when it is synced. It keeps no reference to p.
func (f *File) Append(p []byte) error {
	done := signals.Get().(chan error)
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return os.ErrClosed
	}
	f.buf = append(f.buf, p...)
	f.waiting = append(f.waiting, done)
	f.mu.Unlock()
	f.more.Signal()
	err := <-done
	signals.Put(done)
	return err
}

func (f *File) commit() {
	defer close(f.done)
	var buf []byte
	var waiting []chan error
	for {
		f.mu.Lock()
		for len(f.waiting) == 0 && !f.closed {
			f.more.Wait()
		}
		if len(f.waiting) == 0 {
			f.mu.Unlock()
			return
		}
		buf, f.buf = f.buf, buf[:0]
		waiting, f.waiting = f.waiting, waiting[:0]
		f.mu.Unlock()

		_, err := f.f.Write(buf)
		if err == nil {
			err = f.f.Sync()
		}
		for _, done := range waiting {
			done <- err
		}
	}
}

// Close syncs what waits and closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.more.Signal()
	<-f.done
	return f.f.Close()
}
