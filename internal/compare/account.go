package compare

import "time"

// account compares what callers were told with what services did.
type account struct {
	zero     time.Time
	attempts []attempt       // without the warm-up, in the order in which they were due
	ledger   map[string]Work // nil: not known
}

// doneAt is when all work of an attempt was done, since the beginning of the cell.
func (a *account) doneAt(t attempt) (time.Duration, bool) {
	w := a.ledger[t.id]
	return w.At.Sub(a.zero), w.State == Done
}

func (a *account) outcome() (o Outcome) {
	for _, t := range a.attempts {
		switch t.told {
		case Accepted:
			o.Accepted++
		case Refused:
			o.Refused++
		default:
			o.Unknown++
		}
		w := a.ledger[t.id]
		switch {
		case a.ledger == nil:
		case w.State == Half:
			o.HalfDone++
		case w.State == None && t.told == Accepted:
			o.Lost++
		}
		if w.Twice {
			o.Twice++
		}
	}
	return o
}

// answered is how long those waited who were told that their work is or will be done. A refusal can be quick: among the
// latencies it would make a system look better the more it refuses.
func (a *account) answered() *Latency {
	h := NewHistogram()
	for _, t := range a.attempts {
		if t.told == Accepted {
			h.Record(t.answered - t.due)
		}
	}
	return h.Latency()
}

func (a *account) done() *Latency {
	h := NewHistogram()
	for _, t := range a.attempts {
		if at, ok := a.doneAt(t); ok {
			h.Record(at - t.due)
		}
	}
	return h.Latency()
}

// faults says how long after each fault callers succeeded as before it, and all work that waited was done.
func (a *account) faults(plans []FaultPlan) (list []Fault) {
	for _, f := range plans {
		end := f.At + f.For
		fault := Fault{Process: f.Process, Kind: f.Kind(), At: f.At, For: f.For, Recovered: a.recovered(f.At, end)}
		if a.ledger != nil {
			fault.Drained = a.drained(end)
		}
		list = append(list, fault)
	}
	return list
}

// recovered is the time from end to when the last attempt was due that was not accepted. It is nil when the last attempts
// of the cell were not, and when attempts were refused before the fault began, too: then there is nothing to compare with.
func (a *account) recovered(begin, end time.Duration) *time.Duration {
	var before, failedBefore int
	var last time.Duration
	for _, t := range a.attempts {
		if t.answered < begin { // by when it was answered: those under way are hit by the fault
			before++
			if t.told != Accepted {
				failedBefore++
			}
		}
		if t.told != Accepted {
			last = t.due
		}
	}
	if failedBefore*100 > before || len(a.attempts) == 0 || a.attempts[len(a.attempts)-1].told != Accepted {
		return nil
	}
	recovered := max(0, last-end)
	return &recovered
}

// drained is the time from end until the last of those was done that were accepted before end and not done by then. It is
// nil when one of them never was.
func (a *account) drained(end time.Duration) *time.Duration {
	var drained time.Duration
	for _, t := range a.attempts {
		if t.told != Accepted || t.answered > end {
			continue
		}
		at, ok := a.doneAt(t)
		if !ok {
			return nil
		}
		drained = max(drained, at-end)
	}
	return &drained
}

// sampleEvery is the interval of samples for a cell.
func sampleEvery(duration time.Duration) time.Duration {
	return max(250*time.Millisecond, (duration / 60).Round(50*time.Millisecond))
}

// samples divides a cell into intervals. Attempts count where they were due, work where it was done.
func (a *account) samples(every, took time.Duration) []Sample {
	n := int((took + every - 1) / every)
	samples := make([]Sample, n)
	latencies := make([]*Histogram, n)
	in := func(at time.Duration) int { return min(max(int(at/every), 0), n-1) }
	change := make([]int64, n+1) // of the backlog
	for i := range samples {
		samples[i].At = time.Duration(i) * every
		latencies[i] = NewHistogram()
	}
	for _, t := range a.attempts {
		if n == 0 {
			break
		}
		s := &samples[in(t.due)]
		s.Due++
		at, done := a.doneAt(t)
		if done {
			samples[in(at)].Done++
		}
		switch t.told {
		case Accepted:
			s.Accepted++
			latencies[in(t.due)].Record(t.answered - t.due)
			// Counted from the interval in which it was answered to the one before it was done; work can be done first.
			if from, to := in(t.answered), in(at); !done {
				change[from]++
			} else if from < to {
				change[from]++
				change[to]--
			}
		case Refused:
			s.Refused++
		}
	}
	var backlog int64
	for i := range samples {
		backlog += change[i]
		if a.ledger != nil {
			samples[i].Backlog = backlog
		}
		samples[i].P99 = latencies[i].Quantile(0.99)
	}
	return samples
}
