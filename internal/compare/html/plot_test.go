package html

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
)

// Each plot has a title and a description, stays inside its frame, and shades the fault from its beginning to its end.
func TestPlots(t *testing.T) {
	r := reporttest.Report()
	_, root := pageFor(t, r)
	shades, kinds := 0, map[string]int{}
	for _, p := range root.all("svg.plot") {
		id := p.attrs["id"]
		kinds[id[strings.LastIndex(id, "-")+1:]]++
		if p.all("title")[0].text() == "" || !strings.Contains(p.all("desc")[0].text(), ": ") || p.attrs["aria-labelledby"] != id+"-t "+id+"-d" {
			t.Errorf("%s is titled %q and described %q", id, p.all("title")[0].text(), p.all("desc")[0].text())
		}
		if len(p.all("polyline")) == 0 {
			t.Errorf("%s has no line", id)
		}
		for _, l := range p.all("polyline") {
			for _, q := range strings.Fields(l.attrs["points"]) {
				x, y, _ := strings.Cut(q, ",")
				if x, y := value(t, x), value(t, y); x < plotLeft || x > plotWidth-plotRight || y < plotTop || y > plotHeight-plotBottom {
					t.Errorf("%s: %s is outside", id, q)
				}
			}
		}
		for _, s := range p.all("rect.fault") {
			shades++
			// 10 s to 20 s of 30 s.
			third := (plotWidth - plotLeft - plotRight) / 3
			if x, w := value(t, s.attrs["x"]), value(t, s.attrs["width"]); math.Abs(x-plotLeft-third) > .1 || math.Abs(w-third) > .1 {
				t.Errorf("%s: the shade is at %v and %v wide", id, x, w)
			}
			if p.all("text.fault-name")[0].text() != "payments down" {
				t.Errorf("%s: the shade says %s", id, p.all("text.fault-name")[0].text())
			}
		}
	}
	// Five conditions of orders, with two distributions and four plots over time; one of waiting, with one distribution.
	if want := fmt.Sprint(map[string]int{"answered": 6, "done": 5, "p99": 5, "throughput": 5, "available": 5, "backlog": 5}); fmt.Sprint(kinds) != want || shades != 2*4 {
		t.Errorf("%v with %d shades", kinds, shades)
	}
}

func value(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Planted figures are drawn where they belong.
func TestPlantedLine(t *testing.T) {
	c := compare.Cell{Style: "event", Took: 4 * time.Second}
	for i, s := range []compare.Sample{{Due: 10, Accepted: 10, Done: new(int64(10))}, {}, {Due: 10, Accepted: 5, Backlog: new(int64(8))}, {Due: 10, Accepted: 10, Done: new(int64(8))}} {
		s.At = time.Duration(i) * time.Second
		c.Samples = append(c.Samples, s)
	}
	g := figure.Group{Series: []figure.Series{{Name: "event", Cell: &c}}}
	got := map[string]string{}
	for _, p := range overTime("x", &g, map[string]string{"event": "c1"}) {
		got[p.id] = fmt.Sprint(p.lines[0].points) + " " + p.describe
	}
	want := map[string]string{
		"x-throughput": "[{0.5 10} {1.5 0} {2.5 0} {3.5 8}] event: between 0 and 10 a second.",
		"x-available":  "[{0.5 1} {1.5 NaN} {2.5 0.5} {3.5 1}] event: at least 50 %.",
		"x-backlog":    "[{0.5 0} {1.5 0} {2.5 8} {3.5 0}] event: at most 8.",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	// Nothing is said of work that nobody watched.
	for i := range c.Samples {
		c.Samples[i].Done, c.Samples[i].Backlog = nil, nil
	}
	plots := overTime("x", &g, nil)
	if len(plots) != 2 || plots[0].title != "Throughput: accepted, a second" || plots[0].lines[0].points[2].y != 5 {
		t.Errorf("%d plots, the first %q", len(plots), plots[0].title)
	}
	if rows := behind(&g).Bodies[0].Rows; rows[2].Places[1].Text != "" || rows[2].Places[2].Text != "50.0 %" || rows[2].Places[3].Text != "" {
		t.Errorf("%+v", rows[2])
	}
}

// A point between two gaps is drawn, and nothing is drawn in a gap.
func TestGaps(t *testing.T) {
	nan := math.NaN()
	got := fmt.Sprint(runs([]point{{0, nan}, {1, 5}, {2, nan}, {3, 6}, {4, 7}}))
	if got != "[[{1 5} {1 5}] [{3 6} {4 7}]]" {
		t.Error(got)
	}
}

// Samples that are joined lose nothing.
func TestBins(t *testing.T) {
	c := reporttest.Cell("event", 200, time.Minute, 100*time.Millisecond, []compare.Fault{{Process: "payments", At: 10 * time.Second, For: 10 * time.Second}})
	var want, got bin
	var wantDone, gotDone int64
	for _, s := range c.Samples {
		want.Due += s.Due
		want.Accepted += s.Accepted
		want.Refused += s.Refused
		wantDone += *s.Done
		want.P99 = max(want.P99, s.P99)
		want.Backlog = s.Backlog
	}
	want.lasts = time.Minute
	all := bins(&c)
	for _, b := range all {
		got.Due += b.Due
		got.Accepted += b.Accepted
		got.Refused += b.Refused
		gotDone += *b.Done
		got.P99 = max(got.P99, b.P99)
		got.Backlog = b.Backlog
		got.lasts += b.lasts
	}
	if got != want || gotDone != wantDone || len(all) > mostBins || len(all) < mostBins/2 {
		t.Errorf("%d bins: %+v, not %+v", len(all), got, want)
	}
}

// The curve ends where its last unit is, and a cell without a curve has one of its percentiles.
func TestDistribution(t *testing.T) {
	c := compare.Cell{Style: "request", Answered: &compare.Latency{Count: 1000, P50: 1e6, P90: 2e6, P99: 4e6, P999: 8e6, Max: 9e6}}
	g := figure.Group{Series: []figure.Series{{Name: "request", Cell: &c}}}
	p := distribution("x", "", &g, answered, logTime(1e6, 1e7, 5), map[string]string{"request": "c0"})
	last := p.lines[0].points[len(p.lines[0].points)-1]
	if math.Abs(last.x-3) > 1e-9 || last.y != 9e6 || len(p.lines[0].marks) != 4 || p.lines[0].marks[2].says != "request, p99: 4.00 ms" {
		t.Errorf("%+v", p.lines[0])
	}
	if p.describe != "request: half within 1.00 ms, 99 % within 4.00 ms, all within 9.00 ms." {
		t.Error(p.describe)
	}
	c.Answered.Count = 20 // of which nobody knows the 99th percentile but as the maximum
	if p := distribution("x", "", &g, answered, p.y, nil); p.lines[0].points[len(p.lines[0].points)-1].x > 1.31 || len(p.lines[0].marks) != 2 {
		t.Errorf("%+v", p.lines[0])
	}
	if c.Answered = nil; distribution("x", "", &g, answered, p.y, nil) != nil {
		t.Error("a plot of nothing")
	}
}

func TestAxes(t *testing.T) {
	says := func(a axis) string {
		var all []string
		for _, t := range a.ticks {
			all = append(all, t.says)
		}
		return fmt.Sprint(figure.Number(a.lo), "..", figure.Number(a.hi), " ", strings.Join(all, "|"))
	}
	for _, c := range []struct {
		a    axis
		want string
	}{
		{logTime(1.3e6, 9e7, 6), "1,000,000..100,000,000 1 ms|10 ms|100 ms"},
		{logTime(3e6, 9e6, 6), "2,000,000..10,000,000 2 ms|5 ms|10 ms"},
		{logTime(1e6, 1e6, 6), "1,000,000..2,000,000 1 ms|2 ms"},
		{linear(0, figure.Number), "0..1 0|0.5|1"},
		{linear(507, figure.Number), "0..600 0|200|400|600"},
		{linear(4, figure.Number), "0..4 0|1|2|3|4"},
		{clock(30), "0..30 0 s|5 s|10 s|15 s|20 s|25 s|30 s"},
		{clock(0.25), "0..0.25 0 s|100 ms|200 ms"},
		{nines(3.2), "0..3.2 0|50|90|99|99.9 %"},
	} {
		if got := says(c.a); got != c.want {
			t.Errorf("%q where %q was wanted", got, c.want)
		}
	}
	a := logTime(1e6, 1e8, 5)
	if got := [3]float64{a.at(1e6, 0, 100), a.at(1e7, 0, 100), a.at(1e12, 0, 100)}; got != [3]float64{0, 50, 100} {
		t.Error(got)
	}
}

// Names of lines that end at the same place stand apart, inside the plot.
func TestLabels(t *testing.T) {
	for _, end := range []float64{0, 50, 100} {
		var lines []line
		for i := range 7 {
			lines = append(lines, line{name: fmt.Sprint(i), points: []point{{1, end}, {2, math.NaN()}}})
		}
		all := labels(lines, func(v float64) float64 { return v }, func(v float64) float64 { return v }, 0, 100)
		for i, l := range all {
			if l.at < 0 || l.at > 100 || i > 0 && l.at < all[i-1].at+lineOfText-1e-9 {
				t.Errorf("ending at %v: %+v", end, all)
			}
		}
		if len(all) != 7 {
			t.Errorf("%d labels", len(all))
		}
	}
}

// Text has a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) on every ground it stands on, in light, in dark and in print.
func TestContrast(t *testing.T) {
	colour := regexp.MustCompile(`--([\w-]+): #([0-9a-f]{3,6})\b`)
	schemes := regexp.MustCompile(`:root \{[^}]*\}`).FindAllString(style, -1)
	if len(schemes) != 3 {
		t.Fatalf("%d schemes", len(schemes))
	}
	for n, scheme := range schemes {
		vars := map[string]float64{}
		for _, m := range colour.FindAllStringSubmatch(scheme, -1) {
			vars[m[1]] = luminance(t, m[2])
		}
		checked := 0
		for name, text := range vars {
			switch name {
			case "ground", "raised", "edge", "grid", "fault":
				continue
			}
			checked++
			for _, ground := range []string{"ground", "raised"} {
				if strings.HasPrefix(name, "c") && ground == "raised" {
					continue // styles are named on the ground alone
				}
				light, dark := math.Max(text, vars[ground]), math.Min(text, vars[ground])
				if ratio := (light + .05) / (dark + .05); ratio < 4.5 {
					t.Errorf("scheme %d: %s on %s has %.2f", n, name, ground, ratio)
				}
			}
		}
		if checked < 14 {
			t.Errorf("scheme %d has %d colours", n, checked)
		}
	}
}

// luminance of a colour, by WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
