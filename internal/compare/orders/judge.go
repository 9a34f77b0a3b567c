package orders

import (
	"fmt"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// The claims, in the order of the report.
const (
	claimAway = iota
	claimChain
	claimHalf
	claimLater
	claimLoad
)

func expected() []compare.Expectation {
	return []compare.Expectation{
		claimAway: {Claim: "While a service of a request chain is away, whoever calls the chain is refused; with events callers are accepted and the work is made up for.",
			Source: "C. Richardson, Microservices Patterns, section 3.4.1, Manning, 2018"},
		claimChain: {Claim: "A caller waits for every service of a request chain, so each one adds its time to the answer; an event is answered when it is stored, whatever follows.",
			Source: "C. de la Torre, B. Wagner, M. Rousos, .NET Microservices: Architecture for Containerized .NET Applications, \"Communication in a microservice architecture\", Microsoft, 2017"},
		claimHalf: {Claim: "A sequence of steps without a common transaction that fails on the way leaves the steps before it done, unless somebody goes on or undoes them.",
			Source: "H. Garcia-Molina, K. Salem, Sagas, ACM SIGMOD, 1987"},
		claimLater: {Claim: "What follows from an event is done after its sender was answered: until then others see a state that is out of date.",
			Source: "W. Vogels, Eventually Consistent, Communications of the ACM 52(1), 2009"},
		claimLoad: {Claim: "With a queue before a service, more load than it can take lets work wait; without one, callers wait or are refused.",
			Source: "A. Homer et al., Cloud Design Patterns, \"Queue-Based Load Leveling\", Microsoft patterns & practices, 2014"},
	}
}

// pair is the cells of both styles under the same conditions.
type pair struct{ request, event *compare.Cell }

// pairs returns the pairs of which both cells ran.
func pairs(cells []compare.Cell) (list []pair) {
	for i := range cells {
		for j := range cells {
			r, e := &cells[i], &cells[j]
			if r.Style == compare.Request && e.Style == compare.Event && fmt.Sprint(r.Params) == fmt.Sprint(e.Params) {
				list = append(list, pair{r, e})
			}
		}
	}
	return list
}

// fault is the only fault of a pair, or nil.
func (p pair) fault() *compare.Fault {
	if len(p.request.Faults) != 1 || len(p.event.Faults) != 1 {
		return nil
	}
	return &p.request.Faults[0]
}

// turnedAway are the callers that were not told that their order is taken.
func turnedAway(c *compare.Cell) int64 { return c.Outcome.Refused + c.Outcome.Unknown }

// Judge says what the cells mean.
func (Scenario) Judge(cells []compare.Cell) (v compare.Verdict) {
	v.Expected = compare.Unjudged(expected())
	all := pairs(cells)
	judgeFaults(&v, all)
	judgeChains(&v, all)
	judgeLater(&v, all)
	judgeLoad(&v, cells)
	v.NotMeasured = append(v.NotMeasured,
		"Orders: all processes share this machine, so no network lies between them. A network adds its round trip to each request of a chain that a caller waits for.",
		"Orders: calls between processes go through a proxy of the generator, in both styles alike, which adds its own time to each of them.",
		"Orders: the generator and its proxies take CPU from what is measured; their share is not in the CPU figures.")
	return v
}

// agree adds a figure to a claim, and whether it agrees; figures that disagree with each other make it "partly".
func agree(e *compare.Expectation, ok bool, text string) {
	word := compare.Agree(ok, false)
	if e.Agreed == compare.Unmeasured {
		e.Agreed, e.Figure = word, text
		return
	}
	if e.Agreed != word {
		e.Agreed = compare.Partly
	}
	e.Figure += " " + text
}

func judgeFaults(v *compare.Verdict, all []pair) {
	for _, p := range all {
		f := p.fault()
		if f == nil || f.Process == compare.Tandem {
			continue
		}
		what := figure.FaultName(*f)
		r, e := p.request, p.event
		text := fmt.Sprintf("%s, of %d callers as requests %d were turned away, and of %d as events %d.", what,
			r.Load.Units, turnedAway(r), e.Load.Units, turnedAway(e))
		if f.Kind == "down" {
			drained := "the work that waited was not made up for while it was watched"
			ok := turnedAway(r) > 0 && turnedAway(e) == 0 && compare.Counted(e.Outcome.Lost)+compare.Counted(e.Outcome.HalfDone) == 0
			if d := e.Faults[0].Drained; d != nil {
				drained = "the work that waited was done " + figure.Took(*d) + " after its end"
			} else {
				ok = false
			}
			agree(&v.Expected[claimAway], ok, text+" As events, "+drained+".")
		}
		if turnedAway(r) > 0 {
			asked, told := compare.Counted(r.Outcome.HalfDone), compare.Counted(e.Outcome.HalfDone)
			agree(&v.Expected[claimHalf], asked > 0 && told == 0,
				fmt.Sprintf("%s, %d of %d orders were left half-done as requests, and %d of %d as events.", what, asked, r.Load.Units, told, e.Load.Units))
		}
		advise(v, f, p, text)
	}
}

// advise says which style the link to the service of a fault should have, by whom the fault reached.
func advise(v *compare.Verdict, f *compare.Fault, p pair, text string) {
	a := compare.Advice{Link: "to " + f.Process, Style: "either", Reason: "Its fault reached callers alike in both styles.", Figure: text}
	r, e := p.request, p.event
	slower := r.Answered != nil && e.Answered != nil && r.Answered.P99 > 2*e.Answered.P99
	switch {
	case turnedAway(r) > turnedAway(e):
		a.Style, a.Reason = compare.Event, "Callers are taken while it is away or fails, and need nothing from it to be answered."
	case turnedAway(e) > turnedAway(r):
		a.Style, a.Reason = compare.Request, "Fewer callers were turned away."
	case slower:
		a.Style, a.Reason = compare.Event, "Callers do not wait for it."
		a.Figure = fmt.Sprintf("%s, the answer took %s as a request and %s as an event at p99.", figure.FaultName(*f),
			figure.Took(r.Answered.P99), figure.Took(e.Answered.P99))
	}
	// One advice for each link, on all figures that say the same.
	for i := range v.Advice {
		switch b := &v.Advice[i]; {
		case b.Link != a.Link:
			continue
		case b.Style == a.Style:
			b.Figure += " " + a.Figure
		case b.Style == "either":
			*b = a
		case a.Style != "either":
			b.Style, b.Reason, b.Figure = "either", "Its faults speak for one style and for the other.", b.Figure+" "+a.Figure
		}
		return
	}
	v.Advice = append(v.Advice, a)
}

func judgeChains(v *compare.Verdict, all []pair) {
	type end struct {
		length         int
		request, event time.Duration
	}
	var ends []end
	for _, p := range all {
		var n int
		if _, err := fmt.Sscan(compare.Value(p.request.Params, "chain"), &n); err != nil || p.request.Answered == nil || p.event.Answered == nil {
			continue
		}
		ends = append(ends, end{n, p.request.Answered.P50, p.event.Answered.P50})
	}
	if len(ends) < 2 {
		return
	}
	first, last := ends[0], ends[len(ends)-1]
	each := func(a, b time.Duration) time.Duration { return (b - a) / time.Duration(last.length-first.length) }
	r, e := each(first.request, last.request), each(first.event, last.event)
	text := fmt.Sprintf("From %d services of %s each to %d, the answer went from %s to %s as requests, %s for each service, and from %s to %s as events, at p50.",
		first.length, stepWork, last.length, figure.Took(first.request), figure.Took(last.request), figure.Took(r), figure.Took(first.event), figure.Took(last.event))
	agree(&v.Expected[claimChain], r >= stepWork && e < stepWork, text)
	if r > 2*max(e, 0) {
		v.Advice = append(v.Advice, compare.Advice{Link: "to each further service of a chain", Style: compare.Event,
			Reason: "A caller who does not need its result does not wait for it; who does, asks for it as a request and pays for it.", Figure: text})
	}
}

func judgeLater(v *compare.Verdict, all []pair) {
	for _, p := range all {
		r, e := p.request, p.event
		if compare.Value(r.Params, "chain") != "" || r.Answered == nil || e.Answered == nil || r.Done == nil || e.Done == nil {
			continue
		}
		text := fmt.Sprintf("At %s%s, as events the answer came after %s and all was done after %s; as requests after %s and %s, at p50.",
			compare.Value(r.Params, "rate"), withFault(p), figure.Took(e.Answered.P50), figure.Took(e.Done.P50), figure.Took(r.Answered.P50), figure.Took(r.Done.P50))
		agree(&v.Expected[claimLater], e.Done.P50 > e.Answered.P50, text)
		v.Advice = append(v.Advice, compare.Advice{Link: "from the customer to orders", Style: compare.Request,
			Reason: "The customer needs the number of the order at once, in either style of the links behind it.", Figure: text})
		return // the first pair is the usual load
	}
}

func withFault(p pair) string {
	if f := p.fault(); f != nil {
		return " (" + figure.FaultName(*f) + ")"
	}
	return ""
}

// judgeLoad compares up to which rate each style answers nearly all callers within a second. Where the generator gave up before
// a style did, nothing is known of it.
func judgeLoad(v *compare.Verdict, cells []compare.Cell) {
	type limit struct {
		up    *compare.Cell // the highest that it took
		ended bool          // it did not take the next one
		known bool          // because of the style and not of the generator
	}
	limits := map[string]*limit{compare.Request: {}, compare.Event: {}}
	for i := range cells {
		c := &cells[i]
		l := limits[c.Style]
		if l == nil || l.ended || len(c.Faults) > 0 || compare.Value(c.Params, "chain") != "" {
			continue
		}
		full := turnedAway(c)*100 > c.Load.Units || c.Answered != nil && c.Answered.P99 > time.Second
		if full || c.NotReachable != "" {
			l.ended, l.known = true, full
			continue
		}
		l.up = c
	}
	r, e := limits[compare.Request], limits[compare.Event]
	if !r.known || r.up == nil || e.up == nil {
		return // the generator gave up first, or the rates did not rise so far
	}
	agree(&v.Expected[claimLoad], e.up.Load.Rate > r.up.Load.Rate,
		fmt.Sprintf("Callers were answered within a second at p99, and fewer than one in a hundred turned away, up to %s as requests and up to %s as events.",
			compare.Value(r.up.Params, "rate"), compare.Value(e.up.Params, "rate")))
}
