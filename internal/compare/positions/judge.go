package positions

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/tandem-hybrid/tandem/internal/compare"
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
		if c.Style == s.name && slices.Contains(c.Params, s.param) && slices.Contains(c.Params, join(consumers)) && !c.BrokenOff && value(c, "vehicles") != "" {
			return c
		}
	}
	return nil
}

func value(c *compare.Cell, name string) string {
	for _, p := range c.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// held is the number of vehicles of a cell; 0 when even the smallest that was tried was too large.
func held(c *compare.Cell) int {
	n, _ := strconv.Atoi(value(c, vehicles(0).Name)) // what the search wrote
	return n
}

func (scenario) Judge(cells []compare.Cell) compare.Verdict {
	v := compare.Verdict{Expected: expected(), NotMeasured: []string{
		"Vehicle positions: vehicles, services and Tandem share this machine, so that its numbers of vehicles compare styles and size no machine of your own.",
		"Vehicle positions: what vehicles send to a gateway that gathers batches goes over no wire here; bytes and requests are those between the gateways and the log."}}
	for i := range v.Expected {
		v.Expected[i].Agreed = "not measured"
	}
	all := len(consumers)
	call, one, batch, socket := find(cells, calls, all), find(cells, single, all), find(cells, batched, all), find(cells, sockets, all)
	if one != nil && batch != nil {
		e := &v.Expected[batching]
		e.Agreed = agreed(held(batch) >= 4*held(one), held(batch) > held(one))
		e.Figure = fmt.Sprintf("With %d consumers, %d vehicles can report in batches and %d singly.", all, held(batch), held(one))
	}
	if one != nil && socket != nil && one.PerUnit.WireBytes != nil && socket.PerUnit.WireBytes != nil {
		e := &v.Expected[framing]
		b, f := *one.PerUnit.WireBytes, *socket.PerUnit.WireBytes
		e.Agreed = agreed(f < b/2 && held(socket) > held(one), f < b/2 || held(socket) > held(one))
		e.Figure = fmt.Sprintf("A report takes %.0f bytes on a vehicle's wire over a WebSocket and %.0f by a call, answers and the opening of connections included; %d vehicles can report over WebSockets and %d by calls.",
			f, b, held(socket), held(one))
	}
	callAlone, oneAlone := find(cells, calls, 0), find(cells, single, 0)
	if call != nil && one != nil && callAlone != nil && oneAlone != nil {
		e := &v.Expected[joining]
		lost := func(alone, joined *compare.Cell) float64 {
			return 100 * (1 - float64(held(joined))/float64(max(held(alone), 1)))
		}
		c, o := lost(callAlone, call), lost(oneAlone, one)
		e.Agreed = agreed(c > 5 && o <= 5, c > o)
		e.Figure = fmt.Sprintf("As %d consumers join, the largest number of vehicles goes from %d to %d with calls and from %d to %d with single events.",
			all, held(callAlone), held(call), held(oneAlone), held(one))
	}
	if call != nil && one != nil {
		v.Advice = append(v.Advice, advise(call, []*compare.Cell{one, batch, socket}, []style{single, batched, sockets}))
	}
	return v
}

// advise says how vehicles should report when others want every position.
func advise(call *compare.Cell, events []*compare.Cell, styles []style) compare.Advice {
	best, how := -1, ""
	figure := fmt.Sprintf("Vehicles at a p99 under %s with %d consumers: %d by calls of a service", bound, len(consumers), held(call))
	for i, c := range events {
		if c == nil {
			continue
		}
		figure += fmt.Sprintf(", %d by events %s", held(c), styles[i].param.Value)
		if held(c) > best {
			best, how = held(c), styles[i].param.Value
		}
	}
	a := compare.Advice{Link: "vehicle -> live map, surge, history", Style: "event", Figure: figure + ".",
		Reason: "One intake serves all who want positions. Of its ways to send them, " + how + " serves the most vehicles here."}
	if held(call) >= best {
		a.Style, a.Reason = "request", "A service that stores positions and calls those who want them serves as many vehicles here as events do, with one part fewer; it fails when one of them is down."
	}
	return a
}

// agreed puts whether all, or some, of a claim held into the word of a report.
func agreed(all, some bool) string {
	switch {
	case all:
		return "yes"
	case some:
		return "partly"
	}
	return "no"
}
