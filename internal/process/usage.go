package process

import "time"

// Usage is what a process has used.
type Usage struct {
	CPU         time.Duration // user and system
	MemoryBytes int64         // the most that was resident
}

// then adds a later life of the same process.
func (u Usage) then(v Usage) Usage {
	return Usage{CPU: u.CPU + v.CPU, MemoryBytes: max(u.MemoryBytes, v.MemoryBytes)}
}
