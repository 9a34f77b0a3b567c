package compare

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"
)

// merge makes one cell of the repeats of it: times and costs are means, those after faults too, and counts are sums. Samples and
// processes are those of the repeat with the median p50, so they do not add up with the counts. With three or more there are
// confidence intervals. Repeats of a search end at loads that differ, and their times mean nothing together: then the one with the
// median load stands for all.
func merge(repeats []*Cell) Cell {
	if len(repeats) == 1 {
		return *repeats[0]
	}
	byLoad := slices.Clone(repeats)
	slices.SortStableFunc(byLoad, func(a, b *Cell) int { return cmp.Compare(a.Load.Rate, b.Load.Rate) })
	if n := len(byLoad); byLoad[0].Load.Rate != byLoad[n-1].Load.Rate {
		return *byLoad[(n-1)/2]
	}
	byP50 := slices.Clone(repeats)
	slices.SortStableFunc(byP50, func(a, b *Cell) int { return int(p50(a) - p50(b)) })
	c := *byP50[len(byP50)/2]
	c.Load.Reached, c.Load.Units, c.Outcome = 0, 0, repeats[0].Outcome
	for i, r := range repeats {
		c.Load.Units += r.Load.Units
		c.Load.Reached += r.Load.Reached / float64(len(repeats))
		if i > 0 {
			c.Outcome = c.Outcome.plus(r.Outcome)
		}
		c.BrokenOff = c.BrokenOff || r.BrokenOff
		if r.NotReachable != "" {
			c.NotReachable = r.NotReachable // not in every repeat: then it is not reached reliably
		}
	}
	c.Answered = mergeLatencies(repeats, func(c *Cell) *Latency { return c.Answered })
	c.Done = mergeLatencies(repeats, func(c *Cell) *Latency { return c.Done })
	if c.NotReachable != "" {
		c.Answered, c.Done = nil, nil
	}
	c.PerUnit = PerUnit{
		Requests:  mean(repeats, func(c *Cell) *float64 { return c.PerUnit.Requests }),
		WireBytes: mean(repeats, func(c *Cell) *float64 { return c.PerUnit.WireBytes }),
		DiskBytes: mean(repeats, func(c *Cell) *float64 { return c.PerUnit.DiskBytes }),
		CPU:       mean(repeats, func(c *Cell) *time.Duration { return c.PerUnit.CPU }),
	}
	c.Also = slices.Clone(c.Also)
	for i, p := range c.Also {
		if p.counted {
			c.Also[i] = sumOfAll(repeats, p.Name)
		}
	}
	c.Faults = slices.Clone(c.Faults)
	for i := range c.Faults {
		c.Faults[i].Recovered = meanOfAll(repeats, i, func(f Fault) *time.Duration { return f.Recovered })
		c.Faults[i].Drained = meanOfAll(repeats, i, func(f Fault) *time.Duration { return f.Drained })
	}
	return c
}

func p50(c *Cell) time.Duration {
	if c.Answered == nil {
		return 0
	}
	return c.Answered.P50
}

func (o Outcome) plus(p Outcome) Outcome {
	return Outcome{Accepted: o.Accepted + p.Accepted, Refused: o.Refused + p.Refused, Unknown: o.Unknown + p.Unknown,
		Lost: sum(o.Lost, p.Lost), Twice: sum(o.Twice, p.Twice), HalfDone: sum(o.HalfDone, p.HalfDone)}
}

// sum is nil when one of them is not known.
func sum(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}
	return new(*a + *b)
}

func sumOfAll(repeats []*Cell, name string) Param {
	all := 0
	for _, c := range repeats {
		n, _ := strconv.Atoi(Value(c.Also, name)) // as Count wrote it; one that was broken off may have none
		all += n
	}
	return Count(name, all)
}

// mean is that of the repeats that have the figure, or nil.
func mean[T float64 | time.Duration](repeats []*Cell, of func(*Cell) *T) *T {
	var sum T
	n := 0
	for _, c := range repeats {
		if v := of(c); v != nil {
			sum += *v
			n++
		}
	}
	if n == 0 {
		return nil
	}
	sum /= T(n)
	return &sum
}

// meanOfAll is the mean of a time after fault i, or nil when one of the repeats has none.
func meanOfAll(repeats []*Cell, i int, of func(Fault) *time.Duration) *time.Duration {
	for _, c := range repeats {
		if i >= len(c.Faults) || of(c.Faults[i]) == nil {
			return nil
		}
	}
	return mean(repeats, func(c *Cell) *time.Duration { return of(c.Faults[i]) })
}

func mergeLatencies(repeats []*Cell, of func(*Cell) *Latency) *Latency {
	var all []*Latency
	for _, c := range repeats {
		if l := of(c); l != nil {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil
	}
	m := &Latency{}
	series := func(of func(*Latency) time.Duration) (mean, interval time.Duration) {
		values := make([]float64, len(all))
		for i, l := range all {
			values[i] = float64(of(l))
		}
		return meanAndInterval(values)
	}
	for _, l := range all {
		m.Count += l.Count
		m.Max = max(m.Max, l.Max)
	}
	m.P50, m.P50Interval = series(func(l *Latency) time.Duration { return l.P50 })
	m.P90, _ = series(func(l *Latency) time.Duration { return l.P90 })
	m.P99, m.P99Interval = series(func(l *Latency) time.Duration { return l.P99 })
	m.P999, _ = series(func(l *Latency) time.Duration { return l.P999 })
	for i, q := range all[0].Curve {
		q.Took, _ = series(func(l *Latency) time.Duration { return l.Curve[i].Took })
		m.Curve = append(m.Curve, q)
	}
	return m
}

// student are the 0.975 quantiles of Student's t distribution, by degrees of freedom from 2 on.
var student = []float64{4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}

// meanAndInterval returns the mean and half the width of its 95 % confidence interval, which is zero for fewer than three.
func meanAndInterval(values []float64) (mean, interval time.Duration) {
	n := float64(len(values))
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	m := sum / n
	if n < 3 {
		return time.Duration(m), 0
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - m) * (v - m)
	}
	t := 1.96 + 2.8/(n-1) // a bound from above for more than ten repeats
	if i := len(values) - 3; i < len(student) {
		t = student[i]
	}
	return time.Duration(m), time.Duration(t * math.Sqrt(squares/(n-1)/n))
}
