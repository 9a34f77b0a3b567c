package views

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
	"github.com/tandem-hybrid/tandem/internal/compare/origin"
	"github.com/tandem-hybrid/tandem/internal/process"
)

const (
	page     = "page"
	rate     = 200 // views a second
	duration = 8 * time.Second
	// pageBytes is the size of the page.
	pageBytes = 8 << 10
)

// consumers want to know of each view.
var consumers = []string{"statistics", "recommendations", "abuse"}

// style is a way to tell them. Its params tell it from others of the same style.
type style struct {
	name   string
	params []compare.Param
	tell   string
	query  string
}

var (
	nobody   = style{"nobody is told", nil, origin.Nobody, ""}
	sequence = style{compare.Request, []compare.Param{{Name: "calls", Value: "one after another"}}, origin.Sequence, ""}
	parallel = style{compare.Request, []compare.Param{{Name: "calls", Value: "at the same time"}}, origin.Parallel, ""}
	durable  = style{compare.Event, []compare.Param{{Name: "ack", Value: "durable"}}, origin.Publish, ""}
	accepted = style{compare.Event, []compare.Param{{Name: "ack", Value: "accepted"}}, origin.Publish, "?ack=accepted"}
)

// planted are the scenario's own faults, with the styles in which they mean something.
var planted = []struct {
	fault  compare.FaultPlan
	styles []style
}{
	{compare.FaultPlan{Process: "recommendations", Slow: 200 * time.Millisecond}, []style{sequence, parallel, durable}},
	{compare.FaultPlan{Process: "recommendations", Down: true}, []style{sequence, parallel, durable}},
	{compare.FaultPlan{Process: compare.Tandem, Down: true}, []style{durable, accepted}},
}

// Scenario is page views.
type Scenario struct{}

// Name is what --scenario calls it.
const Name = "views"

// About says what is asked.
func (Scenario) About() compare.About {
	return compare.About{Name: Name, Title: "Page views",
		Question: "Three services want to know of each page view. How much longer does the reader wait for the page?",
		Expected: expected()}
}

// Services are the page and its consumers.
func (Scenario) Services() map[string]process.Opener {
	services := map[string]process.Opener{page: origin.Opener}
	for _, c := range consumers {
		services[c] = consumer.Opener(consumer.Plain)
	}
	return services
}

// Trials are, in the whole run or when they are asked for by name, one for each style, and unless the run is quick one for each fault in the
// styles in which it means something. Faults that the user asks for replace those.
func (Scenario) Trials(o compare.Options) (trials []compare.Trial) {
	if o.Extent != compare.Full && len(o.Scenarios) == 0 {
		return nil
	}
	for _, s := range []style{nobody, sequence, parallel, durable, accepted} {
		trials = append(trials, trial(s, nil, o))
	}
	if len(o.Faults) > 0 {
		_, lasts := o.LoadOr(rate, duration)
		for _, f := range o.FaultsFor(lasts, append([]string{page}, consumers...)...) {
			for _, s := range []style{sequence, parallel, durable, accepted} {
				if f.Process != compare.Tandem || s.tell == origin.Publish {
					trials = append(trials, trial(s, []compare.FaultPlan{f}, o))
				}
			}
		}
		return trials
	}
	if o.Extent == compare.Quick {
		return trials
	}
	for _, p := range planted {
		for _, s := range p.styles {
			trials = append(trials, trial(s, []compare.FaultPlan{p.fault}, o))
		}
	}
	return trials
}

func trial(s style, faults []compare.FaultPlan, o compare.Options) compare.Trial {
	rate, duration := o.LoadOr(rate, duration)
	warmup := min(duration/4, 2*time.Second)
	params := append(slices.Clone(s.params), compare.Param{Name: "rate", Value: fmt.Sprintf("%g/s", rate)})
	return compare.Trial{Style: s.name, Params: params, Takes: duration + warmup,
		Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
			return run(ctx, env, s, faults, compare.Offer{Rate: rate, Warmup: warmup, Duration: duration, Seed: env.Seed})
		}}
}

// run measures one cell. A view is accepted when the page is shown, whatever became of those who want to know: what they missed is lost or
// half-done.
func run(ctx context.Context, env *compare.Env, s style, faults []compare.FaultPlan, offer compare.Offer) (*compare.Cell, error) {
	views, err := load(env.Options.Inputs, env.Seed)
	if err != nil {
		return nil, err
	}
	sys, err := origin.Start(ctx, env, origin.Plan{Name: page, Query: s.query, Consumers: consumers,
		Options: origin.Options{Type: "page.viewed", Tell: s.tell, Indifferent: true, PageBytes: pageBytes}})
	if err != nil {
		return nil, err
	}
	seen := &seen{}
	job := compare.Job{Offer: offer, Faults: faults, MustBeUp: []string{page}, Attempt: func(ctx context.Context, u compare.Unit) compare.Told {
		told, all := show(ctx, env.Client, sys.Origin, u.ID, views[u.Seq%len(views)])
		return seen.note(u, told, all)
	}}
	if s.tell == origin.Nobody {
		return env.Run(ctx, job)
	}
	job.Settle = func(ctx context.Context) error { return sys.Settle(ctx, seen.shown) }
	var ledger map[string]compare.Work
	job.Ledger = func(ctx context.Context) (_ map[string]compare.Work, err error) {
		ledger, err = sys.Ledger(ctx)
		return ledger, err
	}
	c, err := env.Run(ctx, job)
	if err != nil {
		return nil, err
	}
	if s.tell == origin.Publish && !c.BrokenOff {
		c.Also = []compare.Param{
			compare.Count(taken, undone(ledger, seen.told)),
			compare.Count(untold, undone(ledger, seen.untold)),
		}
	}
	return c, nil
}

// The views that did not reach all: those that Tandem said that it had taken, and those that the page could not tell it of.
const (
	taken  = "taken and missed"
	untold = "not told"
)

// seen is what readers saw.
type seen struct {
	mu    sync.Mutex // guards what follows, while attempts are made
	shown int
	// The units that were shown, without the warm-up: those of which the page said that all who had to be told were, and others.
	told, untold []string
}

func (s *seen) note(u compare.Unit, told compare.Told, all bool) compare.Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	if told == compare.Accepted {
		s.shown++
	}
	switch {
	case u.Warmup || told != compare.Accepted:
	case all:
		s.told = append(s.told, u.ID)
	default:
		s.untold = append(s.untold, u.ID)
	}
	return told
}

// undone counts the units that did not reach all.
func undone(ledger map[string]compare.Work, units []string) (n int) {
	for _, unit := range units {
		if ledger[unit].State != compare.Done {
			n++
		}
	}
	return n
}

// show asks for a page. All reports whether the page said that its view was told to all who had to be.
func show(ctx context.Context, client *http.Client, base, unit string, v view) (told compare.Told, all bool) {
	body, err := json.Marshal(struct {
		Unit string `json:"unit"`
		view
	}{unit, v})
	if err != nil {
		return compare.Unknown, false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/happened/"+url.PathEscape(v.Visitor), bytes.NewReader(body))
	if err != nil {
		return compare.Unknown, false
	}
	res, err := client.Do(req) //nolint:bodyclose // ToldBy closes it
	told = compare.ToldBy(res, err)
	return told, told == compare.Accepted && res.Header.Get(origin.Failed) == ""
}
