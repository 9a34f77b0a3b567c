package pebblelog

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/drivertest"
)

// contractEngine is an engine whose clock and syncs the suite holds.
type contractEngine struct {
	*Engine
	fs  *stallFS
	now *atomic.Int64
}

func TestContract(t *testing.T) {
	openOn := func(t testing.TB, fs *stallFS, now *atomic.Int64) driver.Driver {
		e, err := Open("log", Options{FS: fs, RetentionEvery: -1, SegmentBytes: 64 << 10,
			Now: func() time.Time { return time.Unix(0, now.Load()) }})
		if err != nil {
			t.Fatal(err)
		}
		return contractEngine{e, fs, now}
	}
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB) driver.Driver {
			now := &atomic.Int64{}
			now.Store(time.Now().UnixNano())
			return openOn(t, newStallFS(vfs.NewMem()), now)
		},
		Reopen: func(t testing.TB, drv driver.Driver) driver.Driver {
			c := drv.(contractEngine)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			return openOn(t, c.fs, c.now)
		},
		StallSync: func(t testing.TB, drv driver.Driver) (<-chan struct{}, func()) {
			return drv.(contractEngine).fs.stall()
		},
		Retain: func(t testing.TB, drv driver.Driver, now time.Time) {
			c := drv.(contractEngine)
			c.now.Store(now.UnixNano())
			if err := c.RunRetention(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	})
}
