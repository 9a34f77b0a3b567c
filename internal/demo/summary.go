package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	shop "github.com/tandem-hybrid/tandem/examples/shop"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
	"github.com/tandem-hybrid/tandem/examples/shop/payments"
)

// Summary is what came of a run. Its JSON form is part of the command line: names do not change.
type Summary struct {
	OK     bool           `json:"ok"` // every order ended, and all books agree
	Orders int            `json:"orders"`
	Ended  int            `json:"ended"`
	States map[string]int `json:"states"` // ended orders, by final state

	Events     int   `json:"events"`     // stored in the topic
	Deliveries int64 `json:"deliveries"` // taken by services; with Data given, of earlier runs too
	Repeats    int64 `json:"repeats"`    // of these, how many a service had taken before
	// Retries are attempts that failed and were made again, and DeadLetters deliveries that were given up, since the
	// server was last started.
	Retries     uint64 `json:"retries"`
	DeadLetters int    `json:"deadLetters"`
	Resent      int    `json:"resent"` // requests that customers sent again, because the shop could not be reached

	Seconds    float64 `json:"seconds"` // from the first order to the last one's end
	Request    Spread  `json:"request"` // from sending an order to its answer
	OrderFinal Spread  `json:"orderToFinal"`

	Seed          uint64   `json:"seed"`
	StockRule     string   `json:"stockRule"`
	PaymentRule   string   `json:"paymentRule"`
	Disagreements []string `json:"disagreements,omitempty"`
}

// Spread is the middle and the end of a distribution, in milliseconds.
type Spread struct {
	P50 float64 `json:"p50ms"`
	P99 float64 `json:"p99ms"`
}

func spreadOf(l *latencies) Spread {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Spread{P50: ms(l.percentile(50)), P99: ms(l.percentile(99))}
}

func (r *run) summary() Summary {
	p := r.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Summary{Orders: p.placed, Ended: p.ended(), States: p.states, Events: p.events, Resent: p.resent, Seconds: r.took.Seconds(),
		Request: spreadOf(&p.requests), OrderFinal: spreadOf(&p.toFinal), Seed: r.o.Seed,
		StockRule: inventory.Rule{Seed: r.o.Seed}.String(), PaymentRule: payments.Rule{Seed: r.o.Seed}.String(), Disagreements: r.wrong}
	s.Deliveries, s.Repeats = r.books.deliveries()
	for _, sub := range r.subs {
		s.Retries += sub.Failed
		s.DeadLetters += sub.Dead
	}
	s.OK = s.Orders > 0 && s.Ended == s.Orders && s.Orders == len(r.list)*r.o.Repeat && len(r.wrong) == 0 && r.o.Once
	return s
}

// String is the summary for people.
func (s Summary) String() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("orders        %d placed, %d ended", s.Orders, s.Ended)
	states := make([]string, 0, len(s.States))
	for state, n := range s.States {
		states = append(states, fmt.Sprintf("%d %s", n, state))
	}
	slices.Sort(states)
	p("states        %s", strings.Join(states, ", "))
	p("events        %d stored; %d deliveries taken, %d of them repeats; %d retries; %d dead letters",
		s.Events, s.Deliveries, s.Repeats, s.Retries, s.DeadLetters)
	p("request       p50 %.1f ms, p99 %.1f ms (%d sent again)", s.Request.P50, s.Request.P99, s.Resent)
	p("order to end  p50 %.1f ms, p99 %.1f ms", s.OrderFinal.P50, s.OrderFinal.P99)
	p("time          %.2f s", s.Seconds)
	p("stock         %s", s.StockRule)
	p("payments      %s", s.PaymentRule)
	if s.OK {
		p("books         stock and payments agree with the orders")
	}
	for i, d := range s.Disagreements {
		if i == 20 {
			p("              and %d more", len(s.Disagreements)-i)
			break
		}
		p("DISAGREEMENT  %s", d)
	}
	return b.String()
}

// subscriptions reads the status of the shop's subscriptions.
func (s *Shop) subscriptions(ctx context.Context) (map[string]tandem.SubscriptionStatus, error) {
	all := map[string]tandem.SubscriptionStatus{}
	for _, name := range shop.Services() {
		if name == "accounts" { // takes no events
			continue
		}
		var v struct {
			Status tandem.SubscriptionStatus `json:"status"`
		}
		if err := getJSON(ctx, s.API+"/v1/subscriptions/"+name, &v); err != nil {
			return nil, tandem.Wrap("read subscription "+name, err)
		}
		all[name] = v.Status
	}
	return all, nil
}

// unquiet names the subscriptions that have something left to deliver.
func unquiet(subs map[string]tandem.SubscriptionStatus) (wrong []string) {
	for name, s := range subs {
		if s.Lag > 0 || s.InFlight > 0 || s.Retrying > 0 {
			wrong = append(wrong, fmt.Sprintf("subscription %s: %d events behind, %d in flight, %d retrying", name, s.Lag, s.InFlight, s.Retrying))
		}
	}
	slices.Sort(wrong)
	return wrong
}
