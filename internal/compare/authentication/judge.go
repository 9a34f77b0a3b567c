package authentication

import (
	"fmt"
	"math"
	"slices"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// The expectations, in their order.
const (
	sooner = iota
	buffer
	wasted
	secret
)

func expected() []compare.Expectation {
	return []compare.Expectation{
		sooner: {Claim: "A caller that waits for the answer has it sooner from a call than from two messages and their storage.",
			Source: "Hohpe and Woolf, Enterprise Integration Patterns, Remote Procedure Invocation and Request-Reply, 2003"},
		buffer: {Claim: "A broker is a buffer when the recipient is unavailable: callers that can wait succeed where a call fails.",
			Source: "Kleppmann, Designing Data-Intensive Applications, chapter 4, message-passing dataflow, 2017"},
		wasted: {Claim: "Under overload a queue does work for callers that have given up; refusing early leaves the time to those who still wait.",
			Source: "Ulrich, Addressing Cascading Failures, in Site Reliability Engineering, chapter 22, 2016"},
		secret: {Claim: "A password is to be kept only in a form that resists offline attacks; what is sent as an event is kept as it is.",
			Source: "Grassi et al., NIST SP 800-63B, section 5.1.1.2, 2017"},
	}
}

// Judge says what the cells mean: answers at the lowest rate without faults, the buffer with accounts down, waste at the highest rate.
func (Scenario) Judge(cells []compare.Cell) compare.Verdict {
	e := compare.Unjudged(expected())
	v := compare.Verdict{Expected: e, NotMeasured: []string{
		"Authentication: checking a token on each request (authorize) is a call like the log-in, and as much cheaper as the check is; it has no cell of its own.",
		"Authentication: callers give up when they are answered. People who press the button again would make overload worse in both styles.",
	}}
	pairs := pair(cells)
	quiet := first(pairs, func(p both) bool { return p.fault == "" && p.request.Answered != nil && p.event.Answered != nil })
	if quiet != nil {
		r, ev := quiet.request.Answered, quiet.event.Answered
		e[sooner].Agreed = compare.Agree(r.P50 < ev.P50, false)
		if near := 0.05 * float64(r.P50); math.Abs(float64(ev.P50-r.P50)) < near {
			e[sooner].Agreed = compare.Partly // hashing takes most of the time, and varies by as much
		}
		e[sooner].Figure = quiet.describe()
		advice := compare.Advice{Link: "page -> accounts", Style: compare.Request, Figure: quiet.describe(),
			Reason: "Nothing follows from a log-in but its answer. A call gives it sooner, refuses at once what cannot be done, and leaves no password in a log."}
		if ev.P50 <= r.P50 {
			advice.Style, advice.Reason = "either", "On this machine the answer came as soon over an event. It leaves the password in the log."
		}
		v.Advice = append(v.Advice, advice)
		asked, told := compare.Value(quiet.request.Also, secretIs) == found, compare.Value(quiet.event.Also, secretIs) == found
		e[secret].Agreed = compare.Agree(told && !asked, false)
		e[secret].Figure = fmt.Sprintf("The password was found in clear in the files of the log: as a request %s, as an event %s.", compare.Agree(asked, false), compare.Agree(told, false))
	}
	if down := first(pairs, func(p both) bool { return p.down }); down != nil {
		e[buffer].Agreed = compare.Agree(down.event.Outcome.Accepted > down.request.Outcome.Accepted, false)
		e[buffer].Figure = down.describe()
		if down.event.Outcome.Accepted > down.request.Outcome.Accepted {
			v.Advice = append(v.Advice, compare.Advice{Link: "page -> accounts, when accounts is often away", Style: "either", Figure: down.describe(),
				Reason: "An event waits out a short outage for the caller. A request refuses at once, and the page can say so or ask again: the same wait, and nothing stored."})
		}
	}
	busiest := last(pairs, func(p both) bool { return p.fault == "" })
	if busiest != nil && busiest != quiet {
		asked, told := nobody(busiest.request), nobody(busiest.event)
		e[wasted].Agreed = compare.Agree(told > asked && busiest.request.Outcome.Accepted >= busiest.event.Outcome.Accepted, false)
		e[wasted].Figure = busiest.describe() + fmt.Sprintf(" Sessions opened for nobody: %d as a request, %d as an event.", asked, told)
	}
	return v
}

// nobody is how many sessions were opened for nobody.
func nobody(c *compare.Cell) (n int) {
	_, _ = fmt.Sscan(compare.Value(c.Also, forNobody), &n) // absent: none
	return n
}

// both is a load in both styles.
type both struct {
	rate, fault    string
	down           bool
	request, event *compare.Cell
}

// pair finds the loads that ran in both styles, in the order of the trials.
func pair(cells []compare.Cell) (out []*both) {
	for i := range cells {
		c := &cells[i]
		if c.Style != compare.Request {
			continue
		}
		rate, fault := compare.Value(c.Params, "rate"), compare.Value(c.Params, "fault")
		j := slices.IndexFunc(cells, func(d compare.Cell) bool {
			return d.Style == compare.Event && compare.Value(d.Params, "rate") == rate && compare.Value(d.Params, "fault") == fault
		})
		if j >= 0 {
			down := len(c.Faults) == 1 && c.Faults[0].Kind == "down" && c.Faults[0].Process == accountsName
			out = append(out, &both{rate, fault, down, c, &cells[j]})
		}
	}
	return out
}

func first(pairs []*both, ok func(both) bool) *both {
	if i := slices.IndexFunc(pairs, func(p *both) bool { return ok(*p) }); i >= 0 {
		return pairs[i]
	}
	return nil
}

func last(pairs []*both, ok func(both) bool) *both {
	pairs = slices.Clone(pairs)
	slices.Reverse(pairs)
	return first(pairs, ok)
}

// describe is both cells in a sentence.
func (b *both) describe() string {
	load := b.rate
	if b.fault != "" {
		load += ", " + b.fault
	}
	return fmt.Sprintf("At %s: %s; %s.", load, describe(b.request), describe(b.event))
}

func describe(c *compare.Cell) string {
	s := fmt.Sprintf("as %s %d had a session, %d were refused, %d were told neither", style(c), c.Outcome.Accepted, c.Outcome.Refused, c.Outcome.Unknown)
	if c.Answered != nil {
		s += fmt.Sprintf(", p50 %s, p99 %s", figure.Duration(c.Answered.P50), figure.Duration(c.Answered.P99))
	}
	return s
}

func style(c *compare.Cell) string {
	if c.Style == compare.Event {
		return "an event"
	}
	return "a request"
}
