// Package authentication is the scenario of the log-in: who logs in waits for the answer in either style, so that what events are good for
// counts for little, and what they cost shows.
package authentication

import (
	_ "embed"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

//go:embed tandem.yaml
var config []byte

const (
	name         = "authentication"
	accountsName = "accounts"
	warmup       = time.Second
)

// The styles: POST /session, which accounts answers; POST /logins, which waits for the event that accounts replies with; and the same with
// its subscription in request mode.
const linked = "request link"

var styles = []string{compare.Request, linked, compare.Event}

// Scenario is compare.Scenario.
type Scenario struct{}

// About is what the scenario says before it runs.
func (Scenario) About() compare.About {
	return compare.About{
		Name:  name,
		Title: "Authentication: log-in as a request, and as an event with a reply",
		Question: "Somebody who logs in can do nothing before the answer. What does it cost to have it over an event? " +
			"The unit of work is one log-in with argon2id; accepted is who has a session, and unknown who was told that the event is stored and nothing more.",
		Expected: expected(),
	}
}

// The rates of the scenario: one that two cores can hash with ease, one near what they can, and one beyond it.
var rates = []float64{10, 40, 160}

var faults = []compare.FaultPlan{
	{Process: accountsName, Down: true},
	{Process: accountsName, Slow: 500 * time.Millisecond},
	{Process: accountsName, Error: 0.3},
}

// Trials are all styles at rising rates, then with faults at the lowest. They run when they are asked for by name, or with Full.
func (Scenario) Trials(o compare.Options) (out []compare.Trial) {
	if len(o.Scenarios) == 0 && o.Extent != compare.Full {
		return nil
	}
	rates, faults, lasts := rates, faults, 6*time.Second
	switch o.Extent {
	case compare.Quick:
		rates, faults, lasts = rates[:1], faults[:1], 3*time.Second
	case compare.Full:
		lasts = 10 * time.Second
	}
	_, lasts = o.LoadOr(0, lasts)
	if o.Rate > 0 {
		rates = []float64{o.Rate}
	}
	if len(o.Faults) > 0 {
		faults = o.FaultsFor(lasts, accountsName)
	}
	add := func(rate float64, fault ...compare.FaultPlan) {
		for _, style := range styles {
			t := trial{style: style, rate: rate, warmup: warmup, lasts: lasts, faults: fault, config: config}
			params := []compare.Param{{Name: "rate", Value: strconv.FormatFloat(rate, 'f', -1, 64) + "/s"}}
			for _, f := range fault {
				params = append(params, compare.Param{Name: "fault", Value: f.String()})
			}
			out = append(out, compare.Trial{Style: style, Params: params, Takes: warmup + lasts, Run: t.run})
		}
	}
	for _, rate := range rates {
		add(rate)
	}
	for _, f := range faults {
		add(rates[0], f)
	}
	return out
}

// Services is the desk at which all styles log in.
func (Scenario) Services() map[string]process.Opener {
	return map[string]process.Opener{deskKind: openDesk}
}
