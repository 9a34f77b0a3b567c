// Package orders is the scenario of order processing: the shop of examples/shop, and chains of plain services, once as requests
// and once as events.
package orders

import (
	"time"

	shop "github.com/tandem-hybrid/tandem/examples/shop"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Scenario is order processing.
type Scenario struct{}

// Name is what --scenario calls it.
const Name = "orders"

// About says what is asked.
func (Scenario) About() compare.About {
	return compare.About{Name: Name, Title: "Order processing",
		Question: "A customer orders; stock is reserved, the payment taken, the order confirmed and the customer told. Does the shop answer when all of that is done, or when the order is stored?",
		Expected: expected()}
}

// Services are those of chains; those of the shop are examples.
func (Scenario) Services() map[string]process.Opener {
	return map[string]process.Opener{stepKind: openStep}
}

var styles = []string{compare.Request, compare.Event}

// Trials are, by the extent: one rate with payments down; the same for longer; or rising rates, each kind of fault, and chains
// of 1 to 8 services. A rate or faults that the user asks for replace those of the extent.
func (Scenario) Trials(o compare.Options) (trials []compare.Trial) {
	both := func(trial func(style string) compare.Trial) {
		for _, style := range styles {
			trials = append(trials, trial(style))
		}
	}
	offer := func(perSecond float64, warmup, duration time.Duration) compare.Offer {
		perSecond, duration = o.LoadOr(perSecond, duration)
		return compare.Offer{Rate: perSecond, Warmup: warmup, Duration: duration}
	}
	down := compare.FaultPlan{Process: "payments", Down: true}
	if len(o.Faults) > 0 || o.Rate > 0 || o.Extent != compare.Full {
		of := offer(usualRate, 3*time.Second, 36*time.Second)
		if o.Extent == compare.Quick {
			of = offer(usualRate, time.Second, 5*time.Second)
		}
		faults := []compare.FaultPlan{down}
		if len(o.Faults) > 0 {
			faults = o.FaultsFor(of.Duration, shop.Services()...)
		}
		both(func(style string) compare.Trial { return shopTrial(style, of, faults) })
		return trials
	}
	for _, perSecond := range rising {
		both(func(style string) compare.Trial {
			return shopTrial(style, offer(perSecond, 3*time.Second, 15*time.Second), nil)
		})
	}
	for _, f := range []compare.FaultPlan{down, {Process: "payments", Slow: 500 * time.Millisecond}, {Process: "payments", Error: 0.3},
		{Process: compare.Tandem, Down: true}} {
		both(func(style string) compare.Trial {
			return shopTrial(style, offer(usualRate, 3*time.Second, 30*time.Second), []compare.FaultPlan{f})
		})
	}
	for _, length := range []int{1, 2, 3, 5, 8} {
		both(func(style string) compare.Trial {
			return chain(style, length, offer(usualRate, 2*time.Second, 10*time.Second))
		})
	}
	return trials
}

// usualRate is orders a second that two cores do in both styles, with room to spare.
const usualRate = 20

// rising are the rates at which the shop is driven until it saturates.
var rising = []float64{10, 20, 40, 80, 160, 320}
