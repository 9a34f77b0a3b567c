package views

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

const (
	waits = iota // the expectations, in their order
	cheapest
	failing
)

func expected() []compare.Expectation {
	return []compare.Expectation{
		waits: {Claim: "Who calls waits for whom it called; who sends a message and forgets it waits for the messaging system alone.",
			Source: "Hohpe and Woolf, Enterprise Integration Patterns, 2003, Introduction: \"Why Use Messaging?\""},
		cheapest: {Claim: "Not to wait until a message is stored is the fastest, and loses messages when the server fails.",
			Source: "Apache Kafka documentation, Producer Configs, acks=0"},
		failing: {Claim: "Where services call each other, the failure or slowness of one is that of all who call it.",
			Source: "de la Torre, Wagner and Rousos, .NET Microservices: Architecture for Containerized .NET Applications, Microsoft, \"Communication in a microservice architecture\""},
	}
}

// find returns the cell of a style under a planted fault, or under none, if it was measured.
func find(cells []compare.Cell, s style, fault *compare.FaultPlan) *compare.Cell {
	for i := range cells {
		c := &cells[i]
		if c.Style != s.name || slices.ContainsFunc(s.params, func(p compare.Param) bool { return !slices.Contains(c.Params, p) }) || c.Answered == nil {
			continue
		}
		if fault == nil && len(c.Faults) == 0 || fault != nil && len(c.Faults) == 1 && c.Faults[0].Process == fault.Process && c.Faults[0].Kind == fault.Kind() {
			return c
		}
	}
	return nil
}

// missed is how many views were taken and missed, and notTold how many nobody was told of.
func missed(c *compare.Cell) int  { return also(c, taken) }
func notTold(c *compare.Cell) int { return also(c, untold) }

func also(c *compare.Cell, name string) int {
	n, _ := strconv.Atoi(compare.Value(c.Also, name)) // what the trial wrote
	return n
}

// Judge says what the cells mean.
func (Scenario) Judge(cells []compare.Cell) compare.Verdict {
	v := compare.Verdict{Expected: compare.Unjudged(expected()), NotMeasured: []string{
		"Page views: reader, page and consumers are on one machine, so that a call crosses no network. Over one, each call takes longer."}}
	none, seq, par := find(cells, nobody, nil), find(cells, sequence, nil), find(cells, parallel, nil)
	dur, acc := find(cells, durable, nil), find(cells, accepted, nil)
	if none == nil {
		return v
	}
	added := func(c *compare.Cell) time.Duration { return c.Answered.P50 - none.Answered.P50 }
	if seq != nil && par != nil && dur != nil {
		e := &v.Expected[waits]
		e.Agreed = compare.Agree(added(dur) < added(par), added(dur) < added(seq))
		e.Figure = fmt.Sprintf("At p50, three calls one after another add %s to the page, at the same time %s, a durable event %s.",
			figure.Took(added(seq)), figure.Took(added(par)), figure.Took(added(dur)))
		v.Advice = append(v.Advice, advise(added(seq), added(par), added(dur), acc, none))
	}
	if dur != nil && acc != nil {
		e := &v.Expected[cheapest]
		e.Figure = fmt.Sprintf("At p50, an accepted event adds %s to the page, a durable one %s.", figure.Took(added(acc)), figure.Took(added(dur)))
		down := planted[2].fault
		d, a := find(cells, durable, &down), find(cells, accepted, &down)
		e.Agreed = compare.Agree(false, added(acc) < added(dur))
		if d != nil && a != nil {
			e.Agreed = compare.Agree(added(acc) < added(dur) && missed(a) > 0 && missed(d) == 0, added(acc) < added(dur))
			e.Figure += fmt.Sprintf(" When Tandem was killed, %d views that it had accepted were lost, and %d that were durable. While it was down, pages were shown whose views nobody was told of: %d, and %d.",
				missed(a), missed(d), notTold(a), notTold(d))
		}
	}
	judgeFailing(cells, &v.Expected[failing])
	return v
}

// judgeFailing compares what a slow consumer, and one that is down, do to the page and to the others.
func judgeFailing(cells []compare.Cell, e *compare.Expectation) {
	slow, down := planted[0].fault, planted[1].fault
	seq, ev := find(cells, sequence, &slow), find(cells, durable, &slow)
	seqDown, evDown := find(cells, sequence, &down), find(cells, durable, &down)
	if seq == nil || ev == nil || seqDown == nil || evDown == nil {
		return
	}
	short := func(c *compare.Cell) int64 {
		return compare.Counted(c.Outcome.Lost) + compare.Counted(c.Outcome.HalfDone)
	}
	slower, lossy := seq.Answered.P99 > 2*ev.Answered.P99, short(seqDown) > short(evDown)
	e.Agreed = compare.Agree(slower && lossy, slower || lossy)
	e.Figure = fmt.Sprintf("With one of three consumers slow by %s the p99 of the page is %s with calls and %s with events; with it down, %d of %d views did not reach all three with calls, and %d of %d with events.",
		figure.Took(slow.Slow), figure.Took(seq.Answered.P99), figure.Took(ev.Answered.P99), short(seqDown), seqDown.Outcome.Accepted, short(evDown), evDown.Outcome.Accepted)
}

func advise(seq, par, dur time.Duration, acc, none *compare.Cell) compare.Advice {
	a := compare.Advice{Link: "page -> statistics, recommendations, abuse", Style: "event",
		Reason: "The reader waits for one answer in place of three, and no consumer can make the page slow."}
	if min(seq, par) < dur {
		a.Style, a.Reason = "either", "While all consumers are well, calls add less to the page than a durable event; an event keeps a slow consumer from making the page slow."
	}
	a.Figure = fmt.Sprintf("Added to the page at p50: %s by calls one after another, %s at the same time, %s by a durable event", figure.Took(seq), figure.Took(par), figure.Took(dur))
	if acc != nil {
		a.Figure += fmt.Sprintf(", %s by an accepted one, for views whose loss matters to nobody", figure.Took(acc.Answered.P50-none.Answered.P50))
	}
	a.Figure += "."
	return a
}
