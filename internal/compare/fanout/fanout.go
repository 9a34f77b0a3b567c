package fanout

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
	"github.com/tandem-hybrid/tandem/internal/compare/origin"
	"github.com/tandem-hybrid/tandem/internal/process"
)

const (
	owner    = "owner"
	late     = "late"
	rate     = 20 // changes a second
	duration = 5 * time.Second
	history  = 1000 // changes before a service is added
	most     = 50   // services
)

// interested returns the names of the first n services.
func interested(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("interested-%02d", i+1)
	}
	return names
}

// style is a way to tell them.
type style struct {
	name  string
	calls string // tells it from others of the same style
	tell  string
	links bool // Tandem calls the services before it stores the change (mode: request)
}

var (
	sequence = style{compare.Request, "one after another", origin.Sequence, false}
	parallel = style{compare.Request, "at the same time", origin.Parallel, false}
	links    = style{compare.Request, "by Tandem, at the same time", origin.Publish, true}
	event    = style{compare.Event, "", origin.Publish, false}
)

var styles = []style{sequence, parallel, links, event}

// Scenario is fan-out.
type Scenario struct{}

// Name is what --scenario calls it.
const Name = "fanout"

// About says what is asked.
func (Scenario) About() compare.About {
	return compare.About{Name: Name, Title: "Fan-out",
		Question: "One change, 1 to 50 services that want to know of it. How long does its owner take, what if one of them is down, and what does a service learn that is added later?",
		Expected: expected()}
}

// Services are the owner and those who are interested.
func (Scenario) Services() map[string]process.Opener {
	services := map[string]process.Opener{owner: origin.Opener, late: consumer.Opener(consumer.Plain)}
	for _, name := range interested(most) {
		services[name] = consumer.Opener(consumer.Plain)
	}
	return services
}

// Trials are, in the whole run or when they are asked for by name, one for each style and number of services, one with a service down for each style,
// and two of a service that is added later. Faults that the user asks for replace that of the scenario.
func (Scenario) Trials(o compare.Options) (trials []compare.Trial) {
	if o.Extent != compare.Full && len(o.Scenarios) == 0 {
		return nil
	}
	counts, changes, faults := []int{1, 2, 5, 10, 20, most}, history, []compare.FaultPlan{{Process: interested(most)[most/2], Down: true}}
	if o.Extent == compare.Quick {
		counts, changes, faults = []int{1, 5}, history/10, []compare.FaultPlan{{Process: interested(5)[2], Down: true}}
	}
	if len(o.Faults) > 0 {
		_, lasts := o.LoadOr(rate, duration)
		faults = o.FaultsFor(lasts, append(interested(most), owner)...)
	}
	for _, n := range counts {
		for _, s := range styles {
			trials = append(trials, trial(s, n, nil, o))
		}
	}
	for _, f := range faults {
		for _, s := range styles {
			if f.Process != compare.Tandem || s.tell == origin.Publish {
				trials = append(trials, trial(s, counts[len(counts)-1], []compare.FaultPlan{f}, o))
			}
		}
	}
	return append(trials, later(parallel, changes), later(event, changes))
}

// The names of params.
const (
	services = "services"
	before   = "changes before"
	calls    = "calls"
)

// params tell the cells of a style, a number of services and of changes before they were there from others.
func (s style) params(n, changes int) []compare.Param {
	params := []compare.Param{{Name: services, Value: strconv.Itoa(n)}, {Name: before, Value: strconv.Itoa(changes)}}
	if s.calls != "" {
		params = append(params, compare.Param{Name: calls, Value: s.calls})
	}
	return params
}

func trial(s style, n int, faults []compare.FaultPlan, o compare.Options) compare.Trial {
	rate, duration := o.LoadOr(rate, duration)
	warmup := min(duration/4, 2*time.Second)
	return compare.Trial{Style: s.name, Params: s.params(n, 0), Takes: duration + warmup,
		Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
			sys, err := start(ctx, env, s, n, "")
			if err != nil {
				return nil, err
			}
			var accepted atomic.Int64
			return env.Run(ctx, compare.Job{
				Offer:  compare.Offer{Rate: rate, Warmup: warmup, Duration: duration, Seed: env.Seed},
				Faults: faults, MustBeUp: sys.Up, Ledger: sys.Ledger,
				Settle: func(ctx context.Context) error { return sys.Settle(ctx, int(accepted.Load())) },
				Attempt: func(ctx context.Context, u compare.Unit) compare.Told {
					told := change(ctx, env.Client, sys.Origin, u.ID, u.Seq)
					if told == compare.Accepted {
						accepted.Add(1)
					}
					return told
				},
			})
		}}
}

// start starts an owner, which stores each change in every style, and the first n services.
func start(ctx context.Context, env *compare.Env, s style, n int, config string) (*origin.System, error) {
	return origin.Start(ctx, env, origin.Plan{Name: owner, Store: true, Consumers: interested(n), Config: config, Links: s.links,
		Options: origin.Options{Type: "thing.changed", Tell: s.tell}})
}

// things is how many things there are whose changes are in order.
const things = 100

// change changes one of the things.
func change(ctx context.Context, client *http.Client, base, unit string, n int) compare.Told {
	body := fmt.Sprintf(`{"unit":%q,"version":%d}`, unit, n/things)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/happened/thing-%02d", base, n%things), strings.NewReader(body))
	if err != nil {
		return compare.Unknown
	}
	return compare.ToldBy(client.Do(req)) //nolint:bodyclose // ToldBy closes it
}
