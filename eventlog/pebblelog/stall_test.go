package pebblelog

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// TestStall fills the volume for tables while the write-ahead log still has room: Pebble then makes commits wait without
// end. Everybody is answered, and when there is room again the log goes on.
func TestStall(t *testing.T) {
	var full atomic.Bool
	var tries atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpCreate {
			tries.Add(1)
			return syscall.ENOSPC
		}
		return nil
	}))
	e := open(t, Options{FS: fs, MemTableBytes: 256 << 10, FreeBytes: -1, stallAfter: 100 * time.Millisecond})
	top := create(t, e, "t", 1)
	ev := event("")
	ev.Data = noise(16 << 10)
	publish := func() error {
		return e.Append(context.Background(), &driver.Batch{Records: []driver.Record{{Topic: top.ID, Event: ev}}})
	}
	full.Store(true)
	const writers = 4
	refused := make(chan error, writers)
	var stored atomic.Int64
	for range writers {
		go func() {
			for {
				if err := publish(); err != nil {
					refused <- err
					return
				}
				stored.Add(1)
			}
		}()
	}
	for range writers {
		err := <-refused
		wantCode(t, err, tandem.CodeUnavailable)
		var te *tandem.Error
		if errors.As(err, &te); te.RetryAfter == 0 || te.Hint == "" {
			t.Errorf("the refusal %v does not say when to try again, or what to do", err)
		}
	}
	wantCode(t, e.Health(), tandem.CodeUnavailable)
	wantCode(t, publish(), tandem.CodeUnavailable)
	wantCode(t, e.Append(t.Context(), &driver.Batch{State: []driver.StateOp{{Key: "k", Value: []byte("v")}}}), tandem.CodeUnavailable)
	if n := int64(len(readAll(t, e, top.ID, 0, 0))); n < stored.Load() {
		t.Errorf("%d events can be read, %d were confirmed", n, stored.Load())
	}
	if n := tries.Load(); n > 200 {
		t.Errorf("Pebble tried %d times to flush within moments", n)
	}
	full.Store(false)
	for e.Health() != nil {
		time.Sleep(time.Millisecond) // Pebble tries again in its own time
	}
	if err := publish(); err != nil {
		t.Error(err)
	}
}

// TestLogCannotBegin fails the change to a new write-ahead log, where Pebble panics, in goroutines that are not the
// committer.
func TestLogCannotBegin(t *testing.T) {
	for name, run := range map[string]func(e *Engine){
		"flush": func(e *Engine) { _ = e.db.Flush() },
		"retention": func(e *Engine) {
			e.cleared = []span{{from: segmentFrom(spaceRuns, 0), to: segmentFrom(spaceRuns, 9), bytes: 1 << 30}}
			_ = e.RunRetention(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			var on atomic.Bool
			mem := vfs.NewMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite) {
					return syscall.ENOSPC
				}
				return nil
			}))
			e := open(t, Options{FS: fs, RetentionEvery: -1})
			top := create(t, e, "t", 1)
			appendOne(t, e, driver.Record{Topic: top.ID, Event: event("1")})
			on.Store(true)
			go run(e) // and stays where it is
			<-e.failure.done
			wantCode(t, e.Health(), tandem.CodeUnavailable)
			if n := len(readAll(t, e, top.ID, 0, 0)); n != 1 {
				t.Errorf("%d events can be read", n)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			on.Store(false)
			if n := len(readAll(t, open(t, Options{FS: mem}), top.ID, 0, 0)); n != 1 {
				t.Errorf("%d events after opening again", n)
			}
		})
	}
}
