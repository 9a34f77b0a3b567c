package fanout

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

const (
	constant = iota // the expectations, in their order
	slowest
	failing
	replays
)

func expected() []compare.Expectation {
	return []compare.Expectation{
		constant: {Claim: "Who publishes waits the same however many subscribe; who calls one after another waits for the sum of the calls.",
			Source: "Hohpe and Woolf, Enterprise Integration Patterns, 2003, \"Publish-Subscribe Channel\""},
		slowest: {Claim: "Calls made at the same time take as long as the slowest of them, so that the more there are, the more often a rare delay is everybody's.",
			Source: "Dean and Barroso, The Tail at Scale, Communications of the ACM 56(2), 2013"},
		failing: {Claim: "When one of several services that are called is down, the whole request fails; events reach the others, and wait for the one.",
			Source: "de la Torre, Wagner and Rousos, .NET Microservices: Architecture for Containerized .NET Applications, Microsoft, \"Communication in a microservice architecture\""},
		replays: {Claim: "A log lets a new consumer read what happened before it was there, without the help of those who wrote it.",
			Source: "Kreps, The Log: What every software engineer should know about real-time data's unifying abstraction, 2013"},
	}
}

// cells are those that were measured.
type cells []compare.Cell

// of returns the cells of a style that pass, by the number of services, rising.
func (all cells) of(s style, pass func(*compare.Cell) bool) (found []*compare.Cell) {
	for i := range all {
		if c := &all[i]; c.Style == s.name && compare.Value(c.Params, calls) == s.calls && pass(c) {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b *compare.Cell) int { return count(a) - count(b) })
	return found
}

// calm are cells without a fault, about latencies.
func calm(c *compare.Cell) bool { return !added(c) && len(c.Faults) == 0 && c.Answered != nil }

// faulty are cells with one of the services down.
func faulty(c *compare.Cell) bool {
	return len(c.Faults) == 1 && c.Faults[0].Kind == "down" && c.Faults[0].Process != compare.Tandem && c.Faults[0].Process != owner
}

func added(c *compare.Cell) bool { return compare.Value(c.Params, before) != "0" }

// count is the number of services.
func count(c *compare.Cell) int {
	n, _ := strconv.Atoi(compare.Value(c.Params, services)) // what the trial wrote
	return n
}

// Judge says what the cells mean.
func (Scenario) Judge(measured []compare.Cell) compare.Verdict {
	all := cells(measured)
	v := compare.Verdict{Expected: compare.Unjudged(expected()), NotMeasured: []string{
		"Fan-out: all services share this machine, so that 50 calls at the same time wait for its cores, which they would not on machines of their own."}}
	seq, par, ev := all.of(sequence, calm), all.of(parallel, calm), all.of(event, calm)
	if min(len(seq), len(par), len(ev)) > 1 {
		few, many := ev[0], ev[len(ev)-1]
		s1, sN, p1, pN := seq[0], seq[len(seq)-1], par[0], par[len(par)-1]
		e := &v.Expected[constant]
		// Half the growth of the services is far more than noise, and far less than their sum.
		growth := float64(count(many)) / float64(count(few)) / 2
		e.Agreed = compare.Agree(times(few, many) < growth/2 && times(s1, sN) > growth, times(s1, sN) > times(few, many))
		e.Figure = fmt.Sprintf("From %d to %d services, the p50 of the answer grows from %s to %s by calls one after another, and from %s to %s by an event.",
			count(few), count(many), p50(s1), p50(sN), p50(few), p50(many))
		e = &v.Expected[slowest]
		e.Agreed = compare.Agree(times(p1, pN) > 1.5 && times(p1, pN) < times(s1, sN), times(p1, pN) > 1.5)
		e.Figure = fmt.Sprintf("By calls at the same time, p50 grows from %s to %s and p99 from %s to %s.", p50(p1), p50(pN), figure.Took(p1.Answered.P99), figure.Took(pN.Answered.P99))
		byLinks := all.of(links, calm)
		v.Advice = append(v.Advice, advise(s1, p1, with(byLinks, few), few), advise(sN, pN, with(byLinks, many), many))
	}
	if seq, par, ev := all.of(sequence, faulty), all.of(parallel, faulty), all.of(event, faulty); min(len(seq), len(par), len(ev)) > 0 {
		s, p, x := seq[0], par[0], ev[0]
		e := &v.Expected[failing]
		refuse := s.Outcome.Refused > 0 && p.Outcome.Refused > 0
		whole := x.Outcome.Refused+x.Outcome.Unknown+short(x) == 0
		e.Agreed = compare.Agree(refuse && whole, refuse || whole)
		e.Figure = fmt.Sprintf("With one of %d services down (%s), %d of %d changes were refused by calls one after another and left half-done in %d cases, at the same time %d and %d; of %d published, %d were refused and %d did not reach all.",
			count(s), figure.FaultName(s.Faults[0]), s.Outcome.Refused, s.Load.Units, compare.Counted(s.Outcome.HalfDone),
			p.Outcome.Refused, compare.Counted(p.Outcome.HalfDone), x.Load.Units, x.Outcome.Refused, short(x))
	}
	if req, ev := all.of(parallel, added), all.of(event, added); min(len(req), len(ev)) > 0 {
		judgeReplays(&v, req[0], ev[0])
	}
	return v
}

// short are the changes that did not reach all.
func short(c *compare.Cell) int64 {
	return compare.Counted(c.Outcome.Lost) + compare.Counted(c.Outcome.HalfDone)
}

func judgeReplays(v *compare.Verdict, req, ev *compare.Cell) {
	e := &v.Expected[replays]
	lost := compare.Counted(ev.Outcome.Lost)
	known := func(c *compare.Cell) int64 { return c.Outcome.Accepted - compare.Counted(c.Outcome.Lost) }
	e.Agreed = compare.Agree(lost == 0 && known(req) == 0, lost == 0)
	e.Figure = fmt.Sprintf("A service that was added after %d changes learned %d of them from events, in %s, and %d from an owner that calls.",
		ev.Outcome.Accepted, known(ev), figure.Took(ev.Took), known(req))
	v.Advice = append(v.Advice, compare.Advice{Link: "change -> a service added later", Style: "event",
		Reason: "What is kept can be read from the beginning (from: earliest); an owner that calls would have to keep, and offer, what it told others.", Figure: e.Figure})
}

// with returns the cell with as many services as another one, if there is one.
func with(found []*compare.Cell, other *compare.Cell) *compare.Cell {
	for _, c := range found {
		if count(c) == count(other) {
			return c
		}
	}
	return nil
}

// advise says which style tells so many services better. Link may be nil.
func advise(seq, par, link, ev *compare.Cell) compare.Advice {
	n := count(ev)
	a := compare.Advice{Link: fmt.Sprintf("change -> %d services", n), Style: "event", Reason: "The owner waits less than for any calls, and needs none of the services to be up."}
	if n == 1 {
		a.Link = "change -> 1 service"
	}
	quickest := min(seq.Answered.P50, par.Answered.P50)
	if quickest < ev.Answered.P50 {
		a.Style, a.Reason = "either", "Calls are answered sooner than an event is stored, as long as every service is up."
	}
	a.Figure = fmt.Sprintf("Answered at p50 after %s by calls one after another, %s at the same time, ", p50(seq), p50(par))
	if link != nil {
		a.Figure += p50(link) + " by request links, "
	}
	a.Figure += p50(ev) + " by an event"
	if ev.Done != nil {
		a.Figure += fmt.Sprintf(", with which the last service had it after %s", figure.Took(ev.Done.P50))
	}
	a.Figure += "."
	return a
}

// times is how many times as long as few the p50 of many is.
func times(few, many *compare.Cell) float64 {
	return float64(many.Answered.P50) / float64(max(few.Answered.P50, 1))
}

func p50(c *compare.Cell) string { return figure.Took(c.Answered.P50) }
