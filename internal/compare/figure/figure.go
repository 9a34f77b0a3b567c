// Package figure writes the figures of a report as people read them, so that the page and the terminal say the same: units, rounding,
// which cells stand side by side, and which columns they have. What was not measured is an empty string here, never a zero.
package figure

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration writes three significant digits with a unit, such as "1.24 ms", and an empty string for zero or less.
func Duration(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d >= 10*time.Minute:
		return Span(d.Round(time.Second))
	}
	value, unit := inUnit(threeDigits(d))
	return Significant(value) + " " + unit
}

// Took writes a time that was measured: a Duration, and "0 ms" for one that was too short, or a difference that is chance.
func Took(d time.Duration) string {
	if d <= 0 {
		return "0 ms"
	}
	return Duration(d)
}

// threeDigits rounds before the unit is chosen, so that 999.6 µs is 1.00 ms.
func threeDigits(d time.Duration) time.Duration {
	place := time.Duration(1)
	for d/place >= 1000 {
		place *= 10
	}
	return d.Round(place)
}

func inUnit(d time.Duration) (float64, string) {
	switch {
	case d < time.Microsecond:
		return float64(d), "ns"
	case d < time.Millisecond:
		return float64(d) / 1e3, "µs"
	case d < time.Second:
		return float64(d) / 1e6, "ms"
	}
	return d.Seconds(), "s"
}

// Span writes a duration that somebody chose, without digits that say nothing: "10 s", "1.5 s", "3 min 2 s". Zero is "0 s".
func Span(d time.Duration) string {
	if d < 2*time.Minute {
		if d <= 0 {
			return "0 s"
		}
		value, unit := inUnit(d)
		return strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64) + " " + unit
	}
	d = d.Round(time.Second)
	var parts []string
	for _, part := range []struct {
		n    time.Duration
		unit string
	}{{d / time.Hour, "h"}, {d % time.Hour / time.Minute, "min"}, {d % time.Minute / time.Second, "s"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.unit))
		}
	}
	return strings.Join(parts, " ")
}

// Significant writes three significant digits: "1.24", "12.4", "124", "1,240".
func Significant(v float64) string {
	switch a := math.Abs(v); {
	case a < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return Count(int64(math.Round(v)))
}

// Number is Significant without trailing zeros: "200", "1.5".
func Number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return Count(int64(v))
	}
	text := Significant(v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// Count writes a number with its thousands apart: "12,000".
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Bytes writes a size in decimal units: "740 B", "1.24 kB", "3.5 GB".
func Bytes(n float64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if n < 999.5 {
		return Number(math.Round(n)) + " B"
	}
	unit := -1
	for n >= 999.5 && unit < len(units)-1 {
		n, unit = n/1000, unit+1
	}
	return Number(n) + " " + units[unit]
}

// Percent writes a share of a whole. It says 100 % and 0 % of the whole and of nothing only: what is close to them keeps its digits.
func Percent(part, whole int64) string {
	switch {
	case whole <= 0:
		return ""
	case part <= 0:
		return "0 %"
	case part >= whole:
		return "100 %"
	}
	share := float64(part) / float64(whole)
	for digits := 1; digits < 6; digits++ {
		text := strconv.FormatFloat(share*100, 'f', digits, 64)
		if v, _ := strconv.ParseFloat(text, 64); v > 0 && v < 100 {
			return text + " %"
		}
	}
	if share < 0.5 {
		return "< 0.00001 %"
	}
	return "> 99.99999 %"
}
