package idindex_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tandem-hybrid/tandem/eventlog/idindex"
)

// TestNearlyFullDisk: on a volume with less room than the store keeps free nothing is noted, which Pebble might not survive.
func TestNearlyFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("cannot mount a small tmpfs (%v): run this test as root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	x, err := idindex.Open(filepath.Join(dir, "ids"), [8]byte{1}, idindex.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := x.Look(1, 0, 1, []idindex.Entry{{Identity: [16]byte{1}}}); err == nil {
		t.Error("an id was noted")
	}
	if x.Forget(1) == nil {
		t.Error("a topic was forgotten")
	}
	if next, known := x.Next(1, 0); known {
		t.Errorf("the store goes to %d", next)
	}
}
