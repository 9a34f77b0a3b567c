package waiting

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

// The expectations, in their order.
const (
	half = iota
	conditional
	transit
	framing
	monitoring
	state
)

func expected() []compare.Expectation {
	return []compare.Expectation{
		half: {Claim: "Who polls knows half an interval late on average, and pays for every request in which nothing had happened.",
			Source: "Loreto et al., RFC 6202, section 1, 2011"},
		conditional: {Claim: "A conditional request saves the bytes of an answer that is known, and not the request.",
			Source: "Fielding, Nottingham and Reschke, RFC 9110, sections 13.1.2 and 15.4.5, 2022"},
		transit: {Claim: "A long poll knows after about one network transit on average, as soon as who is told over a stream.",
			Source: "Loreto et al., RFC 6202, section 2.2, 2011"},
		framing: {Claim: "Asking over HTTP costs more bytes than a WebSocket, since every message has a header of its own.",
			Source: "Fette and Melnikov, RFC 6455, section 1.1, 2011"},
		monitoring: {Claim: "Where most of the time nothing happens, being told is more efficient than asking.",
			Source: "Fielding, Architectural Styles and the Design of Network-based Software Architectures, section 3.6.1, 2000"},
		state: {Claim: "Being told costs the server state: it must keep track of everybody who waits.",
			Source: "van Steen and Tanenbaum, Distributed Systems, 3rd ed., chapter 7, pull versus push protocols, 2017"},
	}
}

// found finds cells.
type found []compare.Cell

// of returns the cell of a way with so many who wait, or nil when it did not run.
func (f found) of(way string, n int) *compare.Cell {
	i := slices.IndexFunc(f, func(c compare.Cell) bool {
		return wayOf(&c) == way && slices.Contains(c.Params, compare.Param{Name: "waiting", Value: strconv.Itoa(n)})
	})
	if i < 0 {
		return nil
	}
	return &f[i]
}

// reached returns the cells of ways with so many who wait, or nil unless all have latencies.
func (f found) reached(n int, ways ...string) (out []*compare.Cell) {
	for _, way := range ways {
		c := f.of(way, n)
		if c == nil || c.Answered == nil || c.PerUnit.Requests == nil || c.PerUnit.WireBytes == nil {
			return nil
		}
		out = append(out, c)
	}
	return out
}

// Judge says what the cells mean. What is compared is with 100 that wait, which every extent has, and memory with 10,000.
func (Scenario) Judge(cells []compare.Cell) compare.Verdict {
	f, e := found(cells), compare.Unjudged(expected())
	f.judgePolls(&e[half])
	if c := f.reached(usual, poll1s, pollETag); c != nil {
		a, b := bytesEach(c[0]), bytesEach(c[1])
		e[conditional].Agreed = compare.Agree(less(b, a), false)
		e[conditional].Figure = fmt.Sprintf("A request and its answer take %s with the ETag and %s without. %s; %s", figure.Bytes(b), figure.Bytes(a), describe(c[1]), describe(c[0]))
	}
	if c := f.reached(usual, longPoll, sse); c != nil {
		e[transit].Agreed = compare.Agree(c[0].Answered.P50 <= 2*c[1].Answered.P50+time.Millisecond, false)
		e[transit].Figure = describe(c[0]) + "; " + describe(c[1])
	}
	if c := f.reached(usual, webSocket, poll1s, longPoll); c != nil {
		cheaper := less(*c[0].PerUnit.WireBytes, *c[1].PerUnit.WireBytes)
		e[framing].Agreed = compare.Agree(cheaper && less(*c[0].PerUnit.WireBytes, *c[2].PerUnit.WireBytes), cheaper)
		e[framing].Figure = describe(c[0]) + "; " + describe(c[1]) + "; " + describe(c[2]) + ". Each WebSocket carried one notice: its handshake is the cost"
	}
	if c := f.reached(usual, sse, poll1s, poll10s); c != nil {
		told, second, ten := serverCPU(c[0]), serverCPU(c[1]), serverCPU(c[2])
		e[monitoring].Agreed = compare.Agree(less(told, second) && less(told, ten), less(told, second))
		e[monitoring].Figure = fmt.Sprintf("CPU of the server per notice: %s told by SSE, %s polling every second, %s every ten%s",
			figure.Took(told), figure.Took(second), figure.Took(ten), f.controlled())
	}
	if c := f.reached(many, sse, poll10s); c != nil {
		told, asked := memory(c[0]), memory(c[1])
		e[state].Agreed = compare.Agree(less(asked, told), false)
		e[state].Figure = fmt.Sprintf("With %d waiting the server had up to %s told by SSE, and %s polled every ten seconds over connections that stay open",
			many, figure.Bytes(float64(told)), figure.Bytes(float64(asked)))
	}
	for i := range e {
		e[i].Figure = sentence(e[i].Figure)
	}
	return compare.Verdict{Expected: e, Advice: f.advice(), NotMeasured: []string{
		"Waiting: everything is on one machine. A network adds a transit to every notice, and one more to every poll; TLS is left out.",
		"Waiting: all who wait share one process, and its cores with the server. With 10,000, delays have in them how long that process took to look.",
		"Waiting: each waits for one thing on a connection of its own. A stream or WebSocket that carries many notices divides its handshake by them.",
	}}
}

const usual, many = 100, 10_000

// judgePolls compares the median with half of the interval.
func (f found) judgePolls(e *compare.Expectation) {
	var figures []string
	agreed, polls := 0, 0
	for _, way := range []string{poll100ms, poll1s, poll10s} {
		for _, c := range f.reached(usual, way) {
			polls++
			// Of 100 notices the median is off by less than a fifth of the interval; and the way that all notices go is added.
			if want := interval(way) / 2; c.Answered.P50 > want*3/5 && c.Answered.P50 < want*7/5+20*time.Millisecond {
				agreed++
			}
			figures = append(figures, describe(c))
		}
	}
	if polls > 0 {
		e.Agreed, e.Figure = compare.Agree(agreed > 0 && agreed == polls, agreed > 0), strings.Join(figures, "; ")
	}
}

// sentence begins and ends a figure as one.
func sentence(s string) string {
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// less says that a is less than b by more than runs differ.
func less[T float64 | int64 | time.Duration](a, b T) bool { return float64(a) < 0.9*float64(b) }

// describe is a cell in a phrase.
func describe(c *compare.Cell) string {
	return fmt.Sprintf("%s: known %s after (p99 %s), %.1f requests and %s per notice", wayOf(c),
		figure.Took(c.Answered.P50), figure.Took(c.Answered.P99), *c.PerUnit.Requests, figure.Bytes(*c.PerUnit.WireBytes))
}

func bytesEach(c *compare.Cell) float64 { return *c.PerUnit.WireBytes / *c.PerUnit.Requests }

func server(c *compare.Cell) (p compare.Process) {
	if i := slices.IndexFunc(c.Processes, func(p compare.Process) bool { return p.Name == compare.Tandem }); i >= 0 {
		p = c.Processes[i]
	}
	return p
}

// serverCPU is the server's part of the CPU of a unit.
func serverCPU(c *compare.Cell) time.Duration {
	var all time.Duration
	for _, p := range c.Processes {
		all += p.CPU
	}
	if all == 0 || c.PerUnit.CPU == nil {
		return 0
	}
	return time.Duration(float64(*c.PerUnit.CPU) * float64(server(c).CPU) / float64(all))
}

func memory(c *compare.Cell) int64 { return server(c).MemoryBytes }

// controlled says what nobody's waiting costs.
func (f found) controlled() string {
	if c := f.of(nobody, usual); c != nil && len(c.Processes) > 0 {
		return fmt.Sprintf("; %s of each are the order itself, with nobody waiting", figure.Took(serverCPU(c)))
	}
	return ""
}

// advice recommends for each kind of who waits.
func (f found) advice() (out []compare.Advice) {
	say := func(link, style, reason string, cells []*compare.Cell) {
		figures := make([]string, len(cells))
		for i, c := range cells {
			figures[i] = describe(c)
		}
		out = append(out, compare.Advice{Link: link, Style: style, Reason: reason, Figure: fmt.Sprintf("With %d waiting: %s.", usual, strings.Join(figures, "; "))})
	}
	if c := f.reached(usual, sse, poll1s); c != nil {
		if c[0].Answered.P50 < c[1].Answered.P50 {
			say("kitchen -> a page that is open", "event", "Server-sent events tell it at once and cost one request each. A WebSocket is for a page that has something to say, too.", c)
		} else {
			say("kitchen -> a page that is open", "either", "On this machine polling knew as soon as a stream did.", c)
		}
	}
	if c := f.reached(usual, webhook, poll1s); c != nil && c[0].Answered.P50 < c[1].Answered.P50 {
		say("kitchen -> another system", "event", "A webhook tells it at once, needs no open connection for each order, and is tried again when the system was away.", c)
	}
	if c := f.reached(usual, longPoll, poll1s); c != nil && c[0].Answered.P50 < c[1].Answered.P50 {
		say("kitchen -> a program that can only ask", "request", "A long poll (Prefer: wait) is a plain GET that knows about as soon as who is told.", c)
	}
	if c := f.reached(usual, poll10s, pollETag); c != nil {
		say("kitchen -> whoever is content to know later", "request",
			"Polling needs nothing but GET, from any client and through any proxy. The interval is the price: choose the longest that will do, with the ETag.", c)
	}
	return out
}
