package compare

import (
	"time"

	"github.com/tandem-hybrid/tandem/internal/process"
)

// Meter measures what everything but the generator uses, from Measure to Stop.
type Meter struct {
	env             *Env
	bytes, requests int64
	disk            int64
	usage           map[string]process.Usage
}

// Measure begins to measure.
func (e *Env) Measure() *Meter {
	m := &Meter{env: e, bytes: e.wire.bytes.Load(), requests: e.wire.requests.Load(), disk: e.diskBytes(), usage: map[string]process.Usage{}}
	for _, p := range e.Group.Processes() {
		m.usage[p.Name], _ = p.Usage()
	}
	return m
}

// Stop puts what was used since into a cell, divided by the units of work that were accepted: those that are refused cost
// little, and would make a style look the cheaper the more it refuses. What the system does not tell stays absent, and so
// does the cost of a unit where there are none.
func (m *Meter) Stop(c *Cell, units int64) {
	if units > 0 {
		per := func(n int64) *float64 { f := float64(n) / float64(units); return &f }
		c.PerUnit.WireBytes = per(m.env.wire.bytes.Load() - m.bytes)
		c.PerUnit.Requests = per(m.env.wire.requests.Load() - m.requests)
		c.PerUnit.DiskBytes = per(max(0, m.env.diskBytes()-m.disk))
	}
	var total time.Duration
	for _, p := range m.env.Group.Processes() {
		now, ok := p.Usage()
		if !ok {
			return
		}
		name := p.Name
		if name == process.Server {
			name = Tandem
		}
		used := Process{Name: name, CPU: now.CPU - m.usage[p.Name].CPU, MemoryBytes: now.MemoryBytes}
		total += used.CPU
		c.Processes = append(c.Processes, used)
	}
	if units > 0 {
		c.PerUnit.CPU = new(total / time.Duration(units))
	}
}
