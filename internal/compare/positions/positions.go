package positions

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
	"github.com/tandem-hybrid/tandem/internal/compare/fleet"
	"github.com/tandem-hybrid/tandem/internal/compare/origin"
	"github.com/tandem-hybrid/tandem/internal/process"
)

const (
	store = "position-store"
	// bound is what p99 has to stay under.
	bound = time.Second
	// most is the largest number of vehicles that is asked for, and of connections: those from one address to another are fewer than its ports.
	most, mostConnections = 400_000, 25_000
	gateways              = 8
)

// consumers want every report, and what each of them is.
var consumers = []struct{ name, kind string }{{"live-map", consumer.Map}, {"surge", consumer.Surge}, {"history", consumer.History}}

// style is a way to report.
type style struct {
	name string
	sent string // tells it from others of the same style
	tell string
	open func(sys *origin.System, vehicles int) fleet.Reporter
	each bool // each vehicle has a connection
}

var (
	calls = style{compare.Request, "", origin.Parallel, func(sys *origin.System, n int) fleet.Reporter {
		return fleet.Calls(host(sys.Origin), "/happened/", n)
	}, true}
	single = style{compare.Event, "singly", origin.Publish, func(sys *origin.System, n int) fleet.Reporter {
		return fleet.Calls(host(sys.Public), "/happened/", n)
	}, true}
	batched = style{compare.Event, "in batches", origin.Publish, func(sys *origin.System, _ int) fleet.Reporter {
		return fleet.Batches(host(sys.API), "/v1/topics/"+origin.Topic+"/events", gateways)
	}, false}
	sockets = style{compare.Event, "over a WebSocket each", origin.Publish, func(sys *origin.System, n int) fleet.Reporter {
		return fleet.Sockets(host(sys.Public), "/socket/", n)
	}, true}
)

func host(base string) string { return strings.TrimPrefix(base, "http://") }

// config has the routes over which vehicles report. A vehicle is sent nothing of what it reports itself.
const config = `
streams: {max: 1000000}
routes:
  - {match: "POST /happened/{id}", topic: happened, type: vehicle.position, key: "{id}", subject: "{id}"}
  - match: "GET /socket/{id}"
    stream:
      topics: [happened]
      filter: {subject: "{id}", type: vehicle.command}
      publish: {topic: happened, type: vehicle.position, key: "{id}", subject: "{id}"}
`

// plan is how much is tried.
type plan struct {
	every    time.Duration // between two reports of a vehicle
	duration time.Duration // of the load of one number of vehicles, after every vehicle has reported once
	start    int           // vehicles at first
	limit    int
	// precision is how close the largest number that held and the smallest that did not shall be, as a share of the former.
	precision float64
	budget    time.Duration // of the search: no number is tried that would take longer
}

// planOf is that of the extent, unless somebody asks for another duration.
func planOf(o compare.Options) plan {
	p := plan{every: 4 * time.Second, duration: 4 * time.Second, start: 2000, limit: most, precision: 0.06, budget: 80 * time.Second}
	if o.Extent == compare.Quick {
		p.budget = 20 * time.Second
	}
	_, p.duration = o.LoadOr(0, p.duration)
	return p
}

// Scenario is vehicle positions.
type Scenario struct{}

// Name is what --scenario calls it.
const Name = "positions"

// About says what is asked.
func (Scenario) About() compare.About {
	return compare.About{Name: Name, Title: "Vehicle positions",
		Question: "Vehicles report where they are every 4 s. How many can there be until the p99 of a report, or of its arrival at those who want it, reaches 1 s?",
		Expected: expected(), NoRate: true}
}

// Services are the store and the consumers.
func (Scenario) Services() map[string]process.Opener {
	services := map[string]process.Opener{store: origin.Opener}
	for _, c := range consumers {
		services[c.name] = consumer.Opener(c.kind)
	}
	return services
}

// Trials are, in the whole run or when they are asked for by name, a search for each style with consumers, and for calls and single events
// without, too.
func (sc Scenario) Trials(o compare.Options) (trials []compare.Trial) {
	if o.Extent != compare.Full && len(o.Scenarios) == 0 {
		return nil
	}
	p := planOf(o)
	faults := o.FaultsFor(p.duration, slices.Collect(maps.Keys(sc.Services()))...)
	for _, s := range []style{calls, single, batched, sockets} {
		trials = append(trials, trial(s, len(consumers), p, s.faults(faults)))
	}
	for _, s := range []style{calls, single} {
		trials = append(trials, trial(s, 0, p, s.faults(faults)))
	}
	return trials
}

// params tell the cells of a style with so many consumers from others.
func (s style) params(consumers int, every time.Duration) []compare.Param {
	params := []compare.Param{{Name: "consumers", Value: strconv.Itoa(consumers)}, {Name: "every", Value: figure.Span(every)}}
	if s.sent != "" {
		params = append(params, compare.Param{Name: "sent", Value: s.sent})
	}
	return params
}

// faults are those of processes that a style has.
func (s style) faults(all []compare.FaultPlan) []compare.FaultPlan {
	without := store
	if s.tell != origin.Publish {
		without = compare.Tandem
	}
	return slices.DeleteFunc(slices.Clone(all), func(f compare.FaultPlan) bool { return f.Process == without })
}

func trial(s style, joined int, p plan, faults []compare.FaultPlan) compare.Trial {
	return compare.Trial{Style: s.name, Params: s.params(joined, p.every), Takes: p.budget,
		Run: (&search{style: s, consumers: joined, plan: p, faults: faults}).run}
}

// connections is how many this process and a server can have of each other, and why not more.
func connections() (n int, why string) {
	if files := benchstream.Files(mostConnections+1000) - 1000; files < mostConnections {
		return files, fmt.Sprintf("a process may have %d open files here", files+1000)
	}
	return mostConnections, "one address has no more ports for another"
}
