package positions

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

const (
	batching = iota // the expectations, in their order
	framing
	joining
)

func expected() []compare.Expectation {
	return []compare.Expectation{
		batching: {Claim: "Batches raise what a log takes in by a factor of several: 50,000 messages a second singly, 400,000 in batches of 50.",
			Source: "Kreps, Narkhede and Rao, Kafka: a Distributed Messaging System for Log Processing, NetDB 2011, section 5"},
		framing: {Claim: "Over a WebSocket, small messages cost far fewer bytes than over HTTP calls, whose headers are sent each time, and more of them can be sent.",
			Source: "Gupta, REST vs WebSocket Comparison and Benchmarks, 2014"},
		joining: {Claim: "A service that calls those who want to know is slowed by each of them; one that publishes is not.",
			Source: "Hohpe and Woolf, Enterprise Integration Patterns, 2003, \"Publish-Subscribe Channel\""},
	}
}

// find returns the cell of a style with so many consumers, if it was measured.
func find(cells []compare.Cell, s style, consumers int) *compare.Cell {
	for i := range cells {
		c := &cells[i]
		if c.Style == s.name && compare.Value(c.Params, "sent") == s.sent && compare.Value(c.Params, "consumers") == strconv.Itoa(consumers) && len(c.Also) > 0 {
			return c
		}
	}
	return nil
}

// held is the number of vehicles of a cell; 0 when even the smallest that was tried was too large.
func held(c *compare.Cell) int {
	n, _ := strconv.Atoi(compare.Value(c.Also, vehicles(0).Name)) // what the search wrote
	return n
}

// known reports whether more vehicles than held were tried, and were too many.
func known(c *compare.Cell) bool { return !strings.HasPrefix(compare.Value(c.Also, more), notTried) }

// found says how many vehicles held, or that there may be more.
func found(c *compare.Cell) string {
	if known(c) {
		return figure.Count(int64(held(c)))
	}
	return "at least " + figure.Count(int64(held(c)))
}

// share compares the numbers of vehicles of two cells: whether a is at least so many times b, and whether that can be told.
func share(a, b *compare.Cell, factor float64) (is, told bool) {
	is = float64(held(a)) >= factor*float64(held(b))
	switch {
	case known(a) && known(b):
		return is, true
	case known(b):
		return is, is // a may be larger still
	case known(a):
		return is, !is
	}
	return false, false
}

// Judge says what the cells mean.
func (Scenario) Judge(cells []compare.Cell) compare.Verdict {
	v := compare.Verdict{Expected: compare.Unjudged(expected()), NotMeasured: []string{
		"Vehicle positions: vehicles, services and Tandem share this machine, so that its numbers of vehicles compare styles and size no machine of your own.",
		"Vehicle positions: calls carry four header fields each. Those of browsers, and credentials, add to the bytes of each call and not to those of a WebSocket.",
		"Vehicle positions: what vehicles send to a gateway that gathers batches goes over no wire here; bytes and requests are those between the gateways and the log."}}
	all := len(consumers)
	call, one, batch, socket := find(cells, calls, all), find(cells, single, all), find(cells, batched, all), find(cells, sockets, all)
	if one != nil && batch != nil {
		e := &v.Expected[batching]
		four, told := share(batch, one, 4)
		larger, alsoTold := share(batch, one, 1.05)
		e.Agreed = agreed(four, larger, told && (four || alsoTold))
		e.Figure = fmt.Sprintf("With %d consumers, %s vehicles can report in batches and %s singly.", all, found(batch), found(one))
	}
	if one != nil && socket != nil && one.PerUnit.WireBytes != nil && socket.PerUnit.WireBytes != nil {
		e := &v.Expected[framing]
		b, f := *one.PerUnit.WireBytes, *socket.PerUnit.WireBytes
		larger, told := share(socket, one, 1.05)
		e.Agreed = agreed(f < b/2 && larger, f < b || larger, told)
		e.Figure = fmt.Sprintf("A report and its answer take %.0f bytes over a WebSocket and %.0f by a call; %s vehicles can report over WebSockets and %s by calls.",
			f, b, found(socket), found(one))
	}
	callAlone, oneAlone := find(cells, calls, 0), find(cells, single, 0)
	if call != nil && one != nil && callAlone != nil && oneAlone != nil {
		e := &v.Expected[joining]
		callsKeep, told := share(call, callAlone, 0.95)
		eventsKeep, alsoTold := share(one, oneAlone, 0.95)
		e.Agreed = agreed(!callsKeep && eventsKeep, !callsKeep, told && (callsKeep || alsoTold))
		e.Figure = fmt.Sprintf("As %d consumers join, the largest number of vehicles goes from %s to %s with calls and from %s to %s with single events.",
			all, found(callAlone), found(call), found(oneAlone), found(one))
	}
	if call != nil && one != nil {
		v.Advice = append(v.Advice, advise(call, []*compare.Cell{one, batch, socket}, []style{single, batched, sockets}))
	}
	return v
}

// advise says how vehicles should report when others want every position. The first of the events was measured; others may be nil.
func advise(call *compare.Cell, events []*compare.Cell, styles []style) compare.Advice {
	best := 0 // the first one is there
	figure := fmt.Sprintf("Vehicles at a p99 under %s with %d consumers: %s by calls of a service", figure.Span(bound), len(consumers), found(call))
	for i, c := range events {
		if c == nil {
			continue
		}
		figure += fmt.Sprintf(", %s by events %s", found(c), styles[i].sent)
		if held(c) > held(events[best]) {
			best = i
		}
	}
	most := true // as far as it can be told
	for i, c := range events {
		if c != nil && i != best {
			more, told := share(events[best], c, 1)
			most = most && more && told
		}
	}
	a := compare.Advice{Link: "vehicle -> live map, surge, history", Style: "event", Figure: figure + ".",
		Reason: "One intake serves all who want positions."}
	if most {
		a.Reason += " Of the ways to send them, events " + styles[best].sent + " serve the most vehicles here."
	}
	switch asMany, told := share(call, events[best], 1); {
	case !told:
		a.Style, a.Reason = "either", "Which of them serves more vehicles is not known, since not every limit was reached here."
	case asMany:
		a.Style, a.Reason = "either", "A service that stores positions and calls those who want them serves as many vehicles here as events do, with one part fewer; it refuses reports when one of them is down."
	}
	return a
}

// agreed is the agreement with a claim, if it can be told.
func agreed(all, some, told bool) compare.Agreement {
	if !told {
		return compare.Unmeasured
	}
	return compare.Agree(all, some)
}
