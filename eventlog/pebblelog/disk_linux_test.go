package pebblelog

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// TestSmallVolume fills a real volume: publishing is refused before it is full, and deletion makes room.
func TestSmallVolume(t *testing.T) {
	dir := os.Getenv("TANDEM_TMPFS")
	if dir == "" {
		dir = t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
			t.Skipf("set TANDEM_TMPFS to a volume of 64 MiB, or run as root: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	e := openAt(t, filepath.Join(dir, "log"), Options{FreeBytes: 16 << 20, ReserveBytes: 4 << 20, MemTableBytes: 2 << 20})
	e.disk.every = 0
	top := create(t, e, "t", 1)
	ev := event("x")
	ev.Data = noise(64 << 10)
	stored := 0
	for ; stored < 10_000; stored++ {
		if err := e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: top.ID, Event: ev}}}); err != nil {
			wantCode(t, err, tandem.CodeUnavailable)
			break
		}
	}
	if stored == 10_000 {
		t.Fatal("640 MB fit on a volume of 64 MiB")
	}
	if err := e.Health(); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(t.Context(), &driver.Batch{State: []driver.StateOp{{Key: "k", Value: []byte("v")}}}); err != nil {
		t.Errorf("state on a full volume: %v", err)
	}
	if n := len(readAll(t, e, top.ID, 0, 0)); n != stored {
		t.Errorf("%d events, %d were confirmed", n, stored)
	}
	if err := e.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	top = createWhenRoom(t, e, "t")
	if err := e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: top.ID, Event: ev}}}); err != nil {
		t.Errorf("after deletion: %v", err)
	}
}

// createWhenRoom creates a topic once there is room for it.
func createWhenRoom(t *testing.T, e *Engine, name string) driver.Topic {
	deadline := time.Now().Add(20 * time.Second)
	for {
		top, err := e.CreateTopic(t.Context(), tandem.Topic{Name: name, Partitions: 1, Retention: -1})
		if err == nil {
			return top
		}
		if time.Now().After(deadline) {
			t.Fatalf("the volume did not get its space back: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // the space comes back by Pebble's own goroutines
	}
}
