package memlog_test

import (
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/drivertest"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// clock is set by the suite.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]memlog.Options{"total": {}, "partitioned": {Partitioned: true}, "late": {Partitioned: true, LateDedup: true}} {
		t.Run(name, func(t *testing.T) {
			c := &clock{now: time.Now()}
			opts.Now = c.Now
			drivertest.Run(t, drivertest.Harness{
				Open: func(testing.TB) driver.Driver { return memlog.New(opts) },
				StallSync: func(_ testing.TB, drv driver.Driver) (<-chan struct{}, func()) {
					return drv.(*memlog.Engine).Stall()
				},
				Retain: func(_ testing.TB, drv driver.Driver, now time.Time) {
					c.set(now)
					drv.(*memlog.Engine).RunRetention()
				},
			})
		})
	}
}
