package compare

import (
	"syscall"
	"time"
)

// sleep is time.Sleep with the precision of the system's timers, about 0.1 ms. The runtime's own are rounded up to a
// millisecond where no goroutine runs, which would be added to every latency.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // a signal ends it early: the caller looks at the clock
}
