// Package reporttest makes reports for the tests of those who write them. Their figures are made up; nothing of them was measured.
package reporttest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// Report is a small run with all that a report can hold: two scenarios, a fault, repeats, and a cell that was not reachable.
func Report() *compare.Report {
	down := []compare.Fault{{Process: "payments", Kind: "down", At: 10 * time.Second, For: 10 * time.Second}}
	orders := compare.Finding{
		Scenario: "orders", Title: "Order processing",
		Question: "An order needs stock, a payment and a confirmation. What does the customer wait for, and what becomes of orders while payments is down?",
		Expected: []compare.Expectation{
			{Claim: "A synchronous chain is available only while every service in it is.", Source: "Nygard, Release It!, 2nd ed., 2018", Agreed: "yes", Figure: "With payments down for 10 s, 33.4 % of the requests were refused; of the events, none."},
			{Claim: "Asynchronous messaging adds latency to a single unit of work.", Source: "Hohpe and Woolf, Enterprise Integration Patterns, 2003", Agreed: "partly", Figure: "All work was done 3.1 ms later at p50, but the caller had its answer 21 ms earlier."},
			{Claim: "Queues absorb a burst that would overload a synchronous chain.", Source: "Kleppmann, Designing Data-Intensive Applications, 2017", Agreed: "no", Figure: "At 800/s both styles were limited by the same two cores."},
			{Claim: "Recovery after an outage takes longer the longer it lasted.", Source: "Brooker, Queue backlogs, 2021", Agreed: "not measured", Figure: "One length of outage was run."},
		},
	}
	for _, rate := range []float64{50, 200} {
		for _, faults := range [][]compare.Fault{nil, down} {
			for _, style := range []string{"request", "event"} {
				orders.Cells = append(orders.Cells, Cell(style, rate, 30*time.Second, time.Second, faults))
			}
		}
	}
	far := Cell("request", 3200, 30*time.Second, time.Second, nil)
	far = compare.Cell{Style: "request", Params: far.Params, Load: compare.Load{Rate: 3200, Reached: 1912.4, Units: 57_372}, Took: far.Took,
		NotReachable: "the generator began 1,912 of 3,200 units a second in time"}
	orders.Cells = append(orders.Cells, far, Cell("event", 3200, 30*time.Second, time.Second, nil))

	waiting := compare.Finding{
		Scenario: "waiting", Title: "Waiting for something",
		Question: "A hundred customers wait until their order is ready. When do they know, and what does the waiting cost?",
		Expected: []compare.Expectation{
			{Claim: "Polling costs requests in proportion to the clients that wait, pushing in proportion to the news.", Source: "Fette and Melnikov, RFC 6455, 2011", Agreed: "yes", Figure: "61.2 requests for one notice at 100 ms, 1 with server-sent events."},
		},
	}
	for i, style := range []string{"poll", "poll", "poll", "long poll", "sse", "websocket", "webhook"} {
		c := Cell(style, 20, 30*time.Second, time.Second, nil)
		c.Params = []compare.Param{{Name: "waiting", Value: "100"}}
		if style == "poll" {
			c.Params = append(c.Params, compare.Param{Name: "every", Value: []string{"100 ms", "1 s", "10 s"}[i]})
			scale(c.Answered, math.Pow(10, float64(i)))
		}
		c.Done, c.Samples, c.PerUnit.DiskBytes = nil, nil, nil
		c.Outcome = compare.Outcome{Accepted: 600}
		if style == "webhook" {
			c.Also = []compare.Param{{Name: "told twice", Value: "3"}}
		}
		waiting.Cells = append(waiting.Cells, c)
	}
	return &compare.Report{
		Version: compare.ReportVersion, Command: "tandem compare --scenario orders,waiting --fault payments:down@10s+10s --repeat 3 --seed 7",
		Began: time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC), Took: 182 * time.Second, Seed: 7, Repeats: 3,
		Machine:  compare.Machine{OS: "linux", Arch: "amd64", CPU: "AMD EPYC 7B13", Cores: 2, MemoryBytes: 8 << 30, Version: "0.1.0", Commit: "3888c73"},
		Findings: []compare.Finding{orders, waiting},
		Advice: []compare.Advice{
			{Link: "gateway → accounts", Style: "request", Reason: "The caller cannot go on without the answer.", Figure: "A log-in took 4.20 ms as a request and 9.80 ms as an event with a reply, at p50."},
			{Link: "orders → payments", Style: "event", Reason: "Nobody has to be up for an order to be taken.", Figure: "With payments down for 10 s, 100 % of the orders were accepted as events and 66.6 % as requests (rate 200/s)."},
			{Link: "orders → mail", Style: "either", Reason: "The styles differ by less than the runs do.", Figure: "p99 was 31.0 ms ± 2.1 ms and 29.8 ms ± 2.4 ms (rate 200/s)."},
		},
		NotMeasured: []string{"Networks: all processes ran on one machine, over loopback.", "Chains of other lengths than 3; --full runs 1 to 8."},
	}
}

// Full is a run as large as `tandem compare --full` makes them: 160 cells with 600 samples each.
func Full() *compare.Report {
	r := Report()
	r.Findings = nil
	styles := []string{"request", "event", "poll", "etag", "long poll", "sse", "websocket", "webhook"}
	for n, title := range []string{"Order processing", "Waiting for something", "Vehicle positions", "Page views", "Authentication", "Fan-out"} {
		f := Report().Findings[0]
		f.Scenario, f.Title, f.Cells = fmt.Sprint("s", n+1), title, nil
		for i := range 27 {
			c := Cell(styles[i%len(styles)], 10*float64(1+i/len(styles)), time.Minute, 100*time.Millisecond, nil)
			f.Cells = append(f.Cells, c)
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}

func ptr[T any](v T) *T { return &v }

// Whole is the outcome of n units that were all accepted, and done once.
func Whole(n int64) compare.Outcome {
	return compare.Outcome{Accepted: n, Lost: new(int64), Twice: new(int64), HalfDone: new(int64)}
}

// Cell makes a cell up. Requests fail while a fault lasts; events wait.
func Cell(style string, rate float64, took, interval time.Duration, faults []compare.Fault) compare.Cell {
	r := rand.New(rand.NewPCG(uint64(rate), uint64(len(style)+100*len(faults))))
	units := int64(rate * took.Seconds())
	c := compare.Cell{
		Style: style, Params: []compare.Param{{Name: "rate", Value: fmt.Sprintf("%g/s", rate)}}, Warmup: 2 * time.Second, Took: took,
		Load: compare.Load{Rate: rate, Reached: rate * 0.9991, Units: units}, Faults: append([]compare.Fault(nil), faults...),
		PerUnit:  compare.PerUnit{Requests: ptr(4.0), WireBytes: ptr(3412.0), DiskBytes: ptr(1270.0), CPU: ptr(1840 * time.Microsecond)},
		MustBeUp: []string{"tandem", "orders", "stock", "payments"},
	}
	median, spread := 24e6, 0.35
	if style != "request" {
		median, spread = 3.1e6, 0.5
		c.MustBeUp = []string{"tandem"}
	}
	if len(style) > 7 {
		median *= 1.7
	}
	c.Answered = latency(median*(1+rate/900), spread, units)
	c.Done = latency((median+24e6)*(1+rate/700), spread*0.8, units)
	for i, name := range []string{"tandem", "orders", "stock", "payments"} {
		c.Processes = append(c.Processes, compare.Process{Name: name, CPU: time.Duration(9-2*i) * 137 * time.Millisecond, MemoryBytes: int64(61-9*i) << 20})
	}
	c.Outcome.Lost, c.Outcome.Twice, c.Outcome.HalfDone = new(int64), new(int64), new(int64)
	backlog := int64(0)
	for at := time.Duration(0); at < took; at += interval {
		due := int64(rate*interval.Seconds()*(0.9+0.2*r.Float64()) + 0.5)
		done := due
		s := compare.Sample{At: at, Due: due, Accepted: due, P99: c.Answered.P99 * time.Duration(80+r.IntN(40)) / 100}
		during := false
		for _, f := range faults {
			during = during || at >= f.At && at < f.At+f.For
		}
		switch {
		case during && style == "request":
			s.Accepted, s.Refused, done, s.P99 = 0, due, 0, 2*time.Second
		case during:
			done = 0
			backlog += due
		case backlog > 0:
			more := min(backlog, due)
			done += more
			backlog -= more
		}
		s.Done, s.Backlog = &done, new(backlog+r.Int64N(2))
		c.Outcome.Accepted += s.Accepted
		c.Outcome.Refused += s.Refused
		c.Samples = append(c.Samples, s)
	}
	if len(faults) > 0 {
		c.Faults[0].Recovered = ptr(412 * time.Millisecond)
		c.Faults[0].Drained = ptr(412 * time.Millisecond)
		if style == "request" {
			*c.Outcome.HalfDone, c.Outcome.Unknown = 11, 4
			c.Outcome.Refused -= 4
		} else {
			c.Faults[0].Drained = ptr(9_730 * time.Millisecond)
		}
	}
	return c
}

// latency makes a lognormal distribution up, in nanoseconds.
func latency(median, spread float64, units int64) *compare.Latency {
	at := func(q float64) time.Duration {
		return time.Duration(median * math.Exp(spread*math.Sqrt2*math.Erfinv(2*q-1)))
	}
	l := &compare.Latency{Count: units, P50: at(.5), P90: at(.9), P99: at(.99), P999: at(.999), Max: at(.9999),
		P50Interval: at(.5) / 40, P99Interval: at(.99) / 15}
	for x := 0.005; x < 4; x += 0.05 {
		q := 1 - math.Pow(10, -x)
		l.Curve = append(l.Curve, compare.Quantile{At: q, Took: at(q)})
	}
	return l
}

func scale(l *compare.Latency, by float64) {
	for _, d := range []*time.Duration{&l.P50, &l.P90, &l.P99, &l.P999, &l.Max, &l.P50Interval, &l.P99Interval} {
		*d = time.Duration(float64(*d) * by)
	}
	for i := range l.Curve {
		l.Curve[i].Took = time.Duration(float64(l.Curve[i].Took) * by)
	}
}
