package benchstream

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Usage is what a process uses. Zero stands for what the system does not tell.
type Usage struct {
	CPU  time.Duration // user and system, since it started
	RSS  int64         // bytes resident
	Heap uint64        // bytes of the Go heap and of goroutine stacks that are in use
}

// Self returns what this process uses; with gc, after garbage was collected and free memory was given back to the system.
func Self(gc bool) Usage {
	if gc {
		runtime.GC() // what finalizers and pools hold goes with the second one
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{CPU: cpu(), RSS: resident(), Heap: m.HeapInuse + m.StackInuse}
}
