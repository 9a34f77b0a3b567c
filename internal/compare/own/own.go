// Package own is the scenario of the user's own services: those of a tandem.yaml, which run already, under requests from a file.
package own

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Scenario is the user's services, with all links as events, each link alone as a request, and all as requests.
type Scenario struct {
	topology *topology
	requests []request
}

// Name is what --scenario calls it.
const Name = "own"

// New reads a tandem.yaml and a file of requests. Codes: NotFound; Invalid with the place.
func New(config, requests string) (*Scenario, error) {
	if requests == "" {
		return nil, tandem.Errorf(tandem.CodeInvalid, "nothing says which requests to send to the services of %s", config).
			WithHint("record some and name them with --requests FILE; docs/compare.md tells their form")
	}
	t, err := readTopology(config)
	if err != nil {
		return nil, err
	}
	list, err := readRequests(requests)
	if err != nil {
		return nil, err
	}
	return &Scenario{t, list}, nil
}

// About says what is asked.
func (s *Scenario) About() compare.About {
	return compare.About{Name: Name, Title: "Your services",
		Question: "What does each link cost callers as a request, and what does it spare them as an event?"}
}

// Services are none: they run already.
func (s *Scenario) Services() map[string]process.Opener { return nil }

// linkParam names the links that are requests: none, one of them, or all. No subscription can be called all.
const linkParam, all = "links as requests", "all of them"

// Trials are all links as events, each link alone as a request, and, where there are several, all as requests.
func (s *Scenario) Trials(o compare.Options) (trials []compare.Trial) {
	offer := compare.Offer{Warmup: 3 * time.Second}
	offer.Rate, offer.Duration = o.LoadOr(10, 20*time.Second)
	switch o.Extent {
	case compare.Quick:
		offer.Warmup = time.Second
		offer.Rate, offer.Duration = o.LoadOr(10, 5*time.Second)
	case compare.Full:
		offer.Rate, offer.Duration = o.LoadOr(10, 2*time.Minute)
	}
	add := func(style, value string, links ...link) {
		trials = append(trials, compare.Trial{Style: style, Params: []compare.Param{{Name: linkParam, Value: value}}, Takes: offer.Warmup + offer.Duration,
			Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
				return s.run(ctx, env, offer, o.Faults, links)
			}})
	}
	add(compare.Event, "none")
	for _, l := range s.topology.links {
		add(compare.Request, l.name, l)
	}
	if len(s.topology.links) > 1 {
		add(compare.Request, all, s.topology.links...)
	}
	return trials
}

// run runs a cell with some links as requests and all others as events.
func (s *Scenario) run(ctx context.Context, env *compare.Env, offer compare.Offer, faults []compare.FaultPlan, requests []link) (*compare.Cell, error) {
	config, err := compare.Restyle(s.topology.yaml, compare.Event)
	must := append([]string{compare.Tandem}, s.topology.fronts...)
	for _, l := range requests {
		if err == nil {
			config, err = compare.Restyle(config, compare.Request, l.name)
		}
		if l.service != "" {
			must = append(must, l.service)
		}
	}
	if err != nil {
		return nil, err
	}
	sys, err := env.Start(ctx, process.Plan{Config: config, URLs: s.topology.urls})
	if err != nil {
		return nil, err
	}
	offer.Seed = env.Seed
	run := tandem.NewID() // so that no unit has the id of another cell's: the services keep what they have seen
	return env.Run(ctx, compare.Job{Offer: offer, Faults: faults, Settle: env.Quiet, MustBeUp: unique(must),
		Attempt: func(ctx context.Context, u compare.Unit) compare.Told {
			req, err := s.requests[u.Seq%len(s.requests)].make(ctx, sys.Public, u.Seq, run+"-"+u.ID)
			if err != nil {
				return compare.Unknown
			}
			return compare.Send(env.Client, req)
		}})
}

func unique(names []string) (list []string) {
	seen := map[string]bool{}
	for _, n := range names {
		if !seen[n] {
			list = append(list, n)
		}
		seen[n] = true
	}
	return list
}

// slower reports whether links as requests add more to the answer at p99 than runs differ by: a fifth, 5 ms, and what repeats differ by.
func slower(request, event *compare.Latency) bool {
	return request.P99-event.P99 > max(event.P99/5, 5*time.Millisecond, request.P99Interval+event.P99Interval)
}

// turnsAway reports whether links as requests turn more callers away than chance does: more than one in a hundred.
func turnsAway(request, event *compare.Cell) bool {
	share := func(c *compare.Cell) float64 { return float64(away(c)) / float64(max(c.Load.Units, 1)) }
	return share(request)-share(event) > 0.01
}

func away(c *compare.Cell) int64 { return c.Outcome.Refused + c.Outcome.Unknown }

// Judge compares each link as a request, and all of them, with all links as events.
func (s *Scenario) Judge(cells []compare.Cell) (v compare.Verdict) {
	var base *compare.Cell
	for i := range cells {
		c := &cells[i]
		if c.Style == compare.Event {
			base = c
		}
		name := value(c)
		if base == nil || c == base || base.Answered == nil {
			continue
		}
		a := compare.Advice{Link: s.describe(name), Style: "either", Reason: "As a request it cost callers nothing that was noticed."}
		a.Figure = fmt.Sprintf("As a request %d of %d callers were turned away, as an event %d of %d.", away(c), c.Load.Units, away(base), base.Load.Units)
		if c.Answered != nil {
			a.Figure += fmt.Sprintf(" The answer took %s at p99 as a request and %s as an event.", figure.Duration(c.Answered.P99), figure.Duration(base.Answered.P99))
		}
		switch {
		case c.NotReachable != "":
			a.Style, a.Reason, a.Figure = compare.Event, "As a request this load could not be kept.", c.NotReachable
		case turnsAway(c, base):
			a.Style, a.Reason = compare.Event, "As a request it turned callers away."
		case c.Answered != nil && slower(c.Answered, base.Answered):
			a.Style, a.Reason = compare.Event, "Callers do not wait for it, unless they need what it answers."
		}
		v.Advice = append(v.Advice, a)
	}
	v.NotMeasured = []string{
		"Your services: what they did with the work is known to them alone, so nothing is said of work that was lost, done twice or left half-done.",
		"Your services: their CPU and memory are not measured, since this run did not start them.",
		"Your services: events that they publish themselves go to the server that they are configured for, and not to the one of this run.",
	}
	if n := s.topology.left; len(n) > 0 {
		v.NotMeasured = append(v.NotMeasured, "Your services: left out, since it would publish to a broker: "+strings.Join(n, ", ")+".")
	}
	if n := s.topology.directly; len(n) > 0 {
		v.NotMeasured = append(v.NotMeasured, "Your services: called by their own URL, so that requests and bytes to them are not counted and faults cannot reach them: "+strings.Join(n, ", ")+".")
	}
	return v
}

func value(c *compare.Cell) string { return compare.Value(c.Params, linkParam) }

func (s *Scenario) describe(name string) string {
	if name == all {
		return "all links at once"
	}
	for _, l := range s.topology.links {
		if l.name == name && l.service != "" && l.service != name {
			return name + " (to " + l.service + ")"
		}
	}
	return name
}
