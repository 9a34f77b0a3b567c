package main

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type explainCmd struct {
	Event        string `arg:"" optional:"" help:"Id of the event; --source goes with it."`
	Source       string `placeholder:"URI" help:"Source of the event."`
	Position     string `placeholder:"TOPIC/PARTITION/OFFSET" help:"The event at this position, in place of its id."`
	Subscription string `placeholder:"NAME" help:"The subscription that is asked about (default: all that select the topic of the event, or once did)."`
	output
	remote
}

func (*explainCmd) Help() string {
	return `Why an event arrived or did not, for each subscription: in one sentence, and the facts behind it.

Examples:
  tandem explain 42 --source /orders --subscription payments
  tandem explain 42 --source /orders
  tandem explain --position orders/3/42
  tandem explain --position orders/3/42 --json`
}

func (c *explainCmd) Run(a *app) error {
	q := tandem.ExplainQuery{Event: c.Event, Source: c.Source, Subscription: c.Subscription}
	if c.Position != "" {
		p, err := tandem.ParsePosition(c.Position)
		if err != nil {
			return err
		}
		q.Position = &p
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		e, err := cl.Explain(ctx, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(&e)
		}
		a.explanation(&e)
		return a.stdout.err
	})
}

// explanation prints the sentences, and under each the facts that it does not hold.
func (a *app) explanation(e *tandem.Explanation) {
	for i := range e.Events {
		ev := &e.Events[i]
		a.printf("%s  %s %s key %s from %s\n", a.style(bold, ev.Position.String()), printable(ev.ID), printable(ev.Type), orDash(printable(ev.Key)), printable(ev.Source))
	}
	for i := range e.Reasons {
		r := &e.Reasons[i]
		if r.Subscription != "" {
			a.printf("%s  ", a.style(bold, r.Subscription))
		}
		a.printf("%s  %s\n", a.why(r.Code), printable(r.Sentence))
		if d := r.Delivery; d != nil {
			if d.DeadLetter != "" {
				a.printf("  letter    %s\n", d.DeadLetter)
			}
			a.attempts(d.History)
		}
		for j := range r.Earlier {
			d := &r.Earlier[j]
			a.printf("  %s\n", a.style(faint, "before a seek: "+d.State+" "+clock(d.Ended)))
		}
	}
	if s := e.Searched; s != nil {
		a.printf("  searched  %s, back to %s; %s not indexed yet\n", count(s.Topics, "topic"), s.Since.UTC().Format(time.RFC3339), count(int(s.Behind), "event"))
	}
}

// why colours a code by how it bodes.
func (a *app) why(code string) string {
	switch code {
	case tandem.WhyDelivered:
		return a.style(green, code)
	case tandem.WhyDead, tandem.WhyExpired, tandem.WhyDiscarded, tandem.WhyCallFailed, tandem.WhyNoEvent, tandem.WhyNoTopic, tandem.WhyNoSubscription:
		return a.style(red, code)
	}
	return a.style(yellow, code)
}
