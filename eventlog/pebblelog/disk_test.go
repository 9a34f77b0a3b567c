package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

func TestFreeSpaceMark(t *testing.T) {
	var free atomic.Uint64
	free.Store(10 << 30)
	fs := vfs.NewMem()
	e := open(t, Options{FS: fs, FreeBytes: 1 << 30, ReserveBytes: 1 << 20, DiskFree: func() (uint64, uint64, error) { return free.Load(), 100 << 30, nil }})
	e.disk.every = 0
	top := create(t, e, "t", 1)
	fence, err := e.Own(t.Context(), "duty")
	if err != nil {
		t.Fatal(err)
	}
	publish := func() error {
		return e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: top.ID, Event: event("x")}}})
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	reserved := func() bool { _, err := fs.Stat("log/reserve"); return err == nil }
	if !reserved() {
		t.Error("there is no reserve")
	}

	free.Store(1<<30 - 1)
	err = publish()
	wantCode(t, err, tandem.CodeUnavailable)
	wantCode(t, e.Takes(), tandem.CodeUnavailable)
	var te *tandem.Error
	if errors.As(err, &te); te.RetryAfter == 0 || te.Hint == "" {
		t.Errorf("the refusal %+v does not say when to try again, or what to do", te)
	}
	if reserved() {
		t.Error("the reserve is kept below the mark")
	}
	_, err = e.CreateTopic(t.Context(), tandem.Topic{Name: "u", Partitions: 1})
	wantCode(t, err, tandem.CodeUnavailable)
	_, err = e.UpdateTopic(t.Context(), tandem.Topic{Name: "t", Partitions: 1, Retention: tandem.Duration(time.Minute)})
	for name, err := range map[string]error{
		"shorter":   err,
		"state":     e.Append(t.Context(), &driver.Batch{State: []driver.StateOp{{Key: "k", Value: []byte("v")}}, Fence: &fence}),
		"retention": e.RunRetention(t.Context()),
		"health":    e.Health(),
		"delete":    e.DeleteTopic(t.Context(), "t"),
	} {
		if err != nil {
			t.Errorf("%s below the mark: %v", name, err)
		}
	}

	free.Store(10 << 30)
	top = create(t, e, "t", 1)
	if err := publish(); err != nil {
		t.Error(err)
	}
	if !reserved() {
		t.Error("the reserve is not taken again")
	}
}

// TestWriteFailure fails a sync, a write or the space of the log under concurrent writers: all get Unavailable, what was
// confirmed stays readable, and the process lives on.
func TestWriteFailure(t *testing.T) {
	for name, fault := range map[string]struct {
		op  func(errorfs.Op) bool
		err error
	}{
		"sync": {func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo
		}, syscall.EIO},
		"write": {func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite }, syscall.EIO},
		"space": {func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite }, syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			var on atomic.Bool
			mem := vfs.NewMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && strings.HasSuffix(op.Path, ".log") && fault.op(op) {
					return &os.PathError{Op: "write", Path: op.Path, Err: fault.err}
				}
				return nil
			}))
			e := open(t, Options{FS: fs})
			top := create(t, e, "t", 1)
			confirmed := failUnderLoad(t, e, top, func() { on.Store(true) })
			wantCode(t, e.Health(), tandem.CodeUnavailable)
			recs := readAll(t, e, top.ID, 0, 0)
			if len(recs) < confirmed {
				t.Errorf("%d events can be read, %d were confirmed", len(recs), confirmed)
			}
			wantCode(t, e.DeleteTopic(t.Context(), "t"), tandem.CodeUnavailable)
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			on.Store(false)
			again := open(t, Options{FS: mem})
			if recs := readAll(t, again, top.ID, 0, 0); len(recs) < confirmed {
				t.Errorf("%d events after opening again, %d were confirmed", len(recs), confirmed)
			}
		})
	}
}

func failUnderLoad(t *testing.T, e *Engine, top driver.Topic, fail func()) (confirmed int) {
	var n atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				b := driver.Batch{Records: []driver.Record{{Topic: top.ID, Event: event(fmt.Sprint(w, i))}}}
				if err := e.Append(context.Background(), &b); err != nil {
					if tandem.CodeOf(err) != tandem.CodeUnavailable {
						t.Errorf("append: %v", err)
					}
					return
				}
				if n.Add(1) == 100 {
					fail()
				}
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// noise is data that does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
