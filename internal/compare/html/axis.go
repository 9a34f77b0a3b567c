package html

import (
	"math"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

type tick struct {
	at   float64
	says string
}

type axis struct {
	lo, hi float64
	log    bool
	ticks  []tick
}

// at maps a value to a place between two pixels; what lies outside is put on the edge.
func (a axis) at(v, from, to float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(math.Max(v, a.lo))
	}
	return from + (to-from)*math.Min(math.Max((v-lo)/(hi-lo), 0), 1)
}

// logTime is an axis of durations in nanoseconds, from a round one to a round one. Each is 1, 2 or 5 times a power of ten.
func logTime(least, most float64, maxTicks int) axis {
	least = math.Max(least, 1)
	most = math.Max(most, least)
	a := axis{lo: roundDown(least), hi: roundUp(most), log: true}
	if a.lo == a.hi {
		a.hi = roundUp(a.hi * 1.5)
	}
	var all, decades []tick
	for power := math.Floor(math.Log10(a.lo)); power <= math.Ceil(math.Log10(a.hi)); power++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, power)
			if v < a.lo*0.999 || v > a.hi*1.001 {
				continue
			}
			t := tick{v, figure.Span(time.Duration(math.Round(v)))}
			all = append(all, t)
			if m == 1 {
				decades = append(decades, t)
			}
		}
	}
	if a.ticks = all; len(all) > maxTicks && len(decades) > 1 {
		a.ticks = decades
	}
	return a
}

func roundDown(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)+1e-9))
	for _, m := range []float64{5, 2} {
		if v >= m*power*0.999 {
			return m * power
		}
	}
	return power
}

func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)+1e-9))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*power*1.001 {
			return m * power
		}
	}
	return 10 * power
}

// linear is an axis from zero to a round number that is no less than most, with about four ticks.
func linear(most float64, says func(float64) string) axis {
	if most <= 0 {
		most = 1
	}
	step := roundUp(most / 4)
	a := axis{hi: step * math.Ceil(most/step-1e-9)}
	for n := 0; float64(n)*step <= a.hi*1.001; n++ {
		a.ticks = append(a.ticks, tick{float64(n) * step, says(float64(n) * step)})
	}
	return a
}

// clock is an axis of seconds since the beginning of a cell.
func clock(end float64) axis {
	a := axis{hi: math.Max(end, 1e-3)}
	step := a.hi
	for _, s := range []float64{0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600} {
		if a.hi/s <= 6 {
			step = s
			break
		}
	}
	for n := 0; float64(n)*step <= a.hi*1.001; n++ {
		a.ticks = append(a.ticks, tick{float64(n) * step, figure.Span(time.Duration(float64(n) * step * 1e9))})
	}
	return a
}

// nines is an axis of shares of all that gives each further nine the same room: half, 90 %, 99 %, 99.9 %.
func nines(most float64) axis {
	a := axis{hi: math.Max(most, 2)}
	for _, t := range []tick{{0, "0"}, {math.Log10(2), "50"}, {1, "90"}, {2, "99"}, {3, "99.9"}, {4, "99.99"}, {5, "99.999"}, {6, "99.9999"}} {
		if t.at <= a.hi*1.001 {
			a.ticks = append(a.ticks, t)
		}
	}
	a.ticks[len(a.ticks)-1].says += " %"
	return a
}

// atNines is where a share stands on the axis of nines.
func atNines(share float64) float64 { return -math.Log10(1 - share) }
