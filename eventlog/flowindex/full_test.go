package flowindex_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// TestFullDisk fills a real, small file system: nothing is added any more, what was added can be read, and the process lives on. It is not
// opened on a volume that is full. When there is room again, the index goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("cannot mount a small tmpfs (%v): run this test as root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	now := start
	opts := flowindex.Options{Bytes: 1 << 30, Now: func() time.Time { return now }}
	x := open(t, filepath.Join(dir, "flows"), opts)
	defer func() { x.Close() }()
	next := uint64(0)
	put := func() error {
		recs := make([]tandem.Record, 1000)
		for i := range recs {
			recs[i] = event(next+uint64(i), flowAt(start, int(next)+i), start)
		}
		err := x.Add(7, 0, flowindex.Progress{Next: next + 1000, Seq: next + 1001}, recs)
		if err == nil {
			next += 1000
		}
		return err
	}
	for range 10 {
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil { // so that nothing is being written when the volume runs full
		t.Fatal(err)
	}
	x = open(t, filepath.Join(dir, "flows"), opts)
	other := filepath.Join(dir, "other")
	fill(t, other)
	refused := 0
	for range 500 {
		if put() != nil {
			refused++
		}
	}
	if refused != 500 {
		t.Errorf("of 500 pages %d were refused", refused)
	}
	if got := offsets(t, x, flowAt(start, 9999)); len(got) != 1 {
		t.Errorf("what was added before: %v", got)
	}
	now = start.Add(2 * time.Hour)
	if x.Sweep() == nil || x.Forget(7) == nil || !x.Topics()[7] {
		t.Error("something was removed")
	}
	now = start
	_ = x.Close() // it may say that the end could not be written
	if _, err := flowindex.Open(filepath.Join(dir, "flows"), [8]byte{1}, opts); err == nil {
		t.Error("it was opened on a full volume")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	x = open(t, filepath.Join(dir, "flows"), opts)
	next = 10_000 // what was not synced may be lost, and is added again
	if err := put(); err != nil {
		t.Error(err)
	}
	now = start.Add(2 * time.Hour)
	if err := errors.Join(x.Sweep(), x.Forget(7)); err != nil || x.Bytes() != 0 || x.Topics()[7] {
		t.Errorf("%v; %d bytes are left", err, x.Bytes())
	}
}

// fill makes a file that takes all the room there is.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(piece)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
