package pebblelog

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// TestStateIsDurable: a scan does not return what a crash could take back; it waits for the sync.
func TestStateIsDurable(t *testing.T) {
	fs := newStallFS(vfs.NewMem())
	e := open(t, Options{FS: fs})
	reached, resume := fs.stall()
	stored := make(chan error, 1)
	go func() {
		stored <- e.Append(context.Background(), &driver.Batch{State: []driver.StateOp{{Key: "k", Value: []byte("v")}}})
	}()
	<-reached
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := e.ScanState(ctx, "", "", func(k string, v []byte) bool {
		t.Errorf("saw %s before its sync", k)
		return true
	})
	if err == nil {
		t.Error("the scan did not wait")
	}
	resume()
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	seen := false
	if err := e.ScanState(t.Context(), "", "", func(string, []byte) bool { seen = true; return true }); err != nil || !seen {
		t.Errorf("after the sync: %v, seen %v", err, seen)
	}
}
