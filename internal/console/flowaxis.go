package console

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// axis is the time of a flow, drawn from left to right. Places and widths are in percent.
type axis struct {
	start time.Time
	end   time.Time
	Ticks []tick
	Parts int // between the ticks
}

type tick struct {
	X      string
	Anchor string // of its text
	Text   string
}

// bar is a part of a line: how long something took.
type bar struct {
	Class string // waiting, service, backoff and so on
	X     string
	Width string
	Text  string // for who points at it
}

// widths are the distances between ticks, of which the smallest is taken that makes no more than maxTicks.
var widths = []time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour}

const (
	maxTicks = 5
	minWidth = .35 // of a bar, so that it is seen
)

// axisOf returns the axis of a flow. While it runs the axis ends a little after what happened last, so that it changes when something does,
// and what happened is not lost beside what has waited since.
func axisOf(f *tandem.Flow) *axis {
	whole := f.Ended.Sub(f.Started)
	if f.Ended.IsZero() {
		whole = 0
		for i := range f.Nodes {
			whole = max(whole, f.Nodes[i].At.Add(time.Duration(f.Nodes[i].Took)).Sub(f.Started))
		}
		whole += max(whole/5, time.Millisecond)
	}
	width := widths[len(widths)-1]
	for _, w := range widths {
		if whole <= maxTicks*w {
			width = w
			break
		}
	}
	n := max(1, int((whole+width-1)/width))
	for n > maxTicks { // it went on for years
		n, width = (n+1)/2, 2*width
	}
	a := &axis{start: f.Started, end: f.Started.Add(time.Duration(n) * width), Parts: n}
	for i := range n + 1 {
		t := tick{percent(float64(i) / float64(n) * 100), "middle", durationText(time.Duration(i) * width)}
		switch i {
		case 0:
			t.Anchor, t.Text = "start", "0"
		case n:
			t.Anchor = "end"
		}
		a.Ticks = append(a.Ticks, t)
	}
	return a
}

func percent(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }

// place is where a time is, in percent.
func (a *axis) place(t time.Time) float64 {
	return min(max(float64(t.Sub(a.start))/float64(a.end.Sub(a.start))*100, 0), 100)
}

func (a *axis) bar(class, text string, from, to time.Time) bar {
	x, end := a.place(from), a.place(to)
	width := max(end-x, minWidth)
	return bar{class, percent(min(x, 100-width)), percent(width), fmt.Sprintf("%s %s", text, durationText(to.Sub(from)))}
}

// mark is for what took no time.
func (a *axis) mark(class string, at time.Time) bar {
	return bar{class, percent(min(a.place(at), 100-minWidth)), "3", "at " + at.UTC().Format("15:04:05.000") + " UTC"}
}

// bars returns how a node is drawn.
func (a *axis) bars(n *step) []bar {
	switch {
	case n.At.IsZero():
		return nil
	case n.isDelivery() && !n.decided():
		return a.delivery(n)
	case n.open():
		b := a.bar(n.Kind+" open", "", n.At, a.end)
		b.Text = "goes on"
		return []bar{b}
	case n.Kind == tandem.NodeAttempt:
		return []bar{a.bar("service "+stateClass(n.State), "service", n.At, n.At.Add(time.Duration(n.Took)))}
	case n.Took > 0:
		return []bar{a.bar(n.Kind+" "+stateClass(n.State), "took", n.At, n.At.Add(time.Duration(n.Took)))}
	}
	return []bar{a.mark("point "+stateClass(n.State), n.At)}
}

// delivery divides the time of a delivery. What it waited for is drawn first, so that short attempts are seen above it.
func (a *axis) delivery(n *step) (bars []bar) {
	var service []bar
	from, class, text := n.At, "waiting", "waiting"
	if len(n.attempts) == 0 && !n.open() { // where the time went is not known
		class, text = n.Kind+" "+stateClass(n.State), "took"
	}
	gap := func(to time.Time) {
		if to.After(from) {
			bars = append(bars, a.bar(class, text, from, to))
		}
	}
	for _, t := range n.attempts {
		gap(t.At)
		end := t.At.Add(time.Duration(t.Took))
		service = append(service, a.bar("service "+stateClass(t.State), "service", t.At, end))
		from, class, text = end, "backoff", "backoff"
	}
	switch last := len(n.attempts) - 1; {
	case n.open():
		b := a.bar(class+" open", "", from, a.end)
		b.Text = text + ", and goes on"
		bars = append(bars, b)
	case last < 0 || n.attempts[last].State != "succeeded": // such as a dead letter until it was discarded
		gap(n.At.Add(time.Duration(n.Took)))
	}
	if bars = append(bars, service...); len(bars) == 0 {
		bars = append(bars, a.mark("point "+stateClass(n.State), n.At))
	}
	return bars
}
