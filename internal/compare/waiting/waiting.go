// Package waiting is the scenario of the kitchen: many wait for something of which nobody knows when it is done, in each of several ways, and
// it is measured how soon they know and what that costs.
package waiting

import (
	"strconv"
	"time"

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
		Expected: expected(),
	}
}

// The ways of waiting, in the order of the report.
const (
	nobody    = "nobody" // the control: what the kitchen costs when nobody waits
	poll100ms = "poll 100ms"
	poll1s    = "poll 1s"
	pollETag  = "poll 1s, ETag"
	poll10s   = "poll 10s"
	longPoll  = "long poll"
	sse       = "sse"
	webSocket = "websocket"
	webhook   = "webhook"
)

var styles = []string{nobody, poll100ms, poll1s, pollETag, poll10s, longPoll, sse, webSocket, webhook}

// interval is how often a way asks; zero when it does not.
func interval(style string) time.Duration {
	switch style {
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
	counts, ways, lasts := []int{usual}, styles, 5*time.Second
	switch o.Extent {
	case compare.Quick:
		ways, lasts = []string{poll1s, longPoll, sse, webhook}, time.Second
	case compare.Full:
		counts, lasts = []int{1, usual, many}, 15*time.Second
	}
	_, lasts = o.LoadOr(0, lasts)
	var out []compare.Trial
	for _, n := range counts {
		for _, style := range ways {
			out = append(out, newTrial(style, n, lasts))
		}
	}
	return out
}

func newTrial(style string, n int, lasts time.Duration) compare.Trial {
	t := trial{style: style, waiting: n, lasts: lasts}
	return compare.Trial{Style: style, Params: []compare.Param{{Name: "waiting", Value: strconv.Itoa(n)}},
		Takes: t.lasts + interval(style) + time.Duration(n)*time.Millisecond, Run: t.run} // placing takes its time, too
}

// Services is none but the examples'.
func (Scenario) Services() map[string]process.Opener { return nil }
