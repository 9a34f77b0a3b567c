// Package waiting is the scenario of the kitchen: many wait for something of which nobody knows when it is done, in each of several ways, and
// it is measured how soon they know and what that costs.
package waiting

import (
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/examples/kitchen/cook"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Scenario is compare.Scenario.
type Scenario struct{}

// About is what the scenario says before it runs.
func (Scenario) About() compare.About {
	return compare.About{
		Name:  "waiting",
		Title: "Waiting for something: the kitchen",
		Question: "How soon does somebody who waits know that it is done, and what does each such notice cost? " +
			"The latency is the time from when it was done until one knew; the unit of work is one notice.",
		Expected: expected(), NoRate: true, NoFaults: true,
	}
}

// The ways of waiting, in the order of the report and by the names that it gives them: the style, and what only polls have.
const (
	nobody    = "nobody" // the control: what the kitchen costs when nobody waits
	poll100ms = "poll, 100 ms"
	poll1s    = "poll, 1 s"
	pollETag  = "poll, 1 s, ETag"
	poll10s   = "poll, 10 s"
	longPoll  = "long poll"
	sse       = "sse"
	webSocket = "websocket"
	webhook   = "webhook"
)

var ways = []string{nobody, poll100ms, poll1s, pollETag, poll10s, longPoll, sse, webSocket, webhook}

// interval is how often a way asks; zero when it does not.
func interval(way string) time.Duration {
	switch way {
	case poll100ms:
		return 100 * time.Millisecond
	case poll1s, pollETag:
		return time.Second
	case poll10s:
		return 10 * time.Second
	}
	return 0
}

// Trials are all ways with 100 that wait; with the extent Quick those that a second is enough for, and with Full also with 1 and with 10,000.
func (Scenario) Trials(o compare.Options) []compare.Trial {
	counts, ways, lasts := []int{usual}, ways, 5*time.Second
	switch o.Extent {
	case compare.Quick:
		ways, lasts = []string{poll1s, longPoll, sse, webhook}, time.Second
	case compare.Full:
		counts, lasts = []int{1, usual, many}, 15*time.Second
	}
	_, lasts = o.LoadOr(0, lasts)
	lasts = min(lasts, cook.MaxWithin) // the kitchen refuses a dish that takes longer
	var out []compare.Trial
	for _, n := range counts {
		for _, way := range ways {
			out = append(out, newTrial(way, n, lasts))
		}
	}
	return out
}

func newTrial(way string, n int, lasts time.Duration) compare.Trial {
	t := trial{name: way, waiting: n, lasts: lasts}
	style, every, polls := strings.Cut(way, ", ")
	params := []compare.Param{{Name: "waiting", Value: strconv.Itoa(n)}}
	if polls {
		params = append(params, compare.Param{Name: "every", Value: every}) // with an ETag or without
	}
	return compare.Trial{Style: style, Params: params, Run: t.run,
		Takes: lasts + interval(way) + time.Duration(n)*time.Millisecond} // placing takes its time, too
}

// wayOf is the way of a cell.
func wayOf(c *compare.Cell) string {
	way := c.Style
	for _, p := range c.Params {
		if p.Name != "waiting" {
			way += ", " + p.Value
		}
	}
	return way
}

// Services is none but the examples'.
func (Scenario) Services() map[string]process.Opener { return nil }
