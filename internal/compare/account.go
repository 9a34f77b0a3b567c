package compare

import "time"

// account compares what callers were told with what services did.
type account struct {
	zero     time.Time
	attempts []attempt       // without the warm-up, in the order in which they were due
	ledger   map[string]Work // nil: not known
	// unsettled says that work may have been under way when the ledger was read: what was not done then may be done later.
	unsettled bool
}

// settled reports whether it is known of all work that it was done or never will be.
func (a *account) settled() bool { return a.ledger != nil && !a.unsettled }

// doneAt is when all work of an attempt was done, since the beginning of the cell.
func (a *account) doneAt(t attempt) (time.Duration, bool) {
	w := a.ledger[t.id]
	return w.At.Sub(a.zero), w.State == Done
}

func (a *account) outcome() (o Outcome) {
	var lost, twice, half int64
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
		case w.State == Half:
			half++
		case w.State == None && t.told == Accepted:
			lost++
		}
		if w.Twice {
			twice++
		}
	}
	if a.ledger != nil {
		o.Twice = &twice
	}
	if a.settled() {
		o.Lost, o.HalfDone = &lost, &half
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
		if a.settled() {
			fault.Drained = a.drained(end)
		}
		list = append(list, fault)
	}
	return list
}

// recovered is the time from end to when the last attempt was due that was not accepted. It is nil when the last attempts
// of the cell were not, when none was due after end, and when attempts were refused before the fault began, too: then there
// is nothing to compare with.
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
	if n := len(a.attempts); failedBefore*100 > before || n == 0 || a.attempts[n-1].told != Accepted || a.attempts[n-1].due < end {
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

// samples divides a cell into intervals: none of one that was broken off in its warm-up. Attempts count where they were due,
// work where it was done.
func (a *account) samples(every, took time.Duration) []Sample {
	n := int((max(took, 0) + every - 1) / every)
	done := make([]int64, n)
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
		at, did := a.doneAt(t)
		if did {
			done[in(at)]++
		}
		switch t.told {
		case Accepted:
			s.Accepted++
			latencies[in(t.due)].Record(t.answered - t.due)
			// Counted from the interval in which it was answered to the one before it was done; work can be done first.
			if from, to := in(t.answered), in(at); !did {
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
			samples[i].Done, samples[i].Backlog = &done[i], new(backlog)
		}
		samples[i].P99 = latencies[i].Quantile(0.99)
	}
	return samples
}
