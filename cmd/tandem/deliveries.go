package main

import (
	"context"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type deliveriesCmd struct {
	Subscription string        `arg:"" help:"Name of the subscription."`
	Event        string        `placeholder:"ID" help:"What became of the event with this id."`
	Source       string        `placeholder:"URI" help:"Source of that event."`
	Key          string        `placeholder:"KEY" help:"Events of this key."`
	Flow         string        `placeholder:"ID" help:"Events of this flow, and requests whose chain failed."`
	Position     string        `placeholder:"TOPIC/PARTITION/OFFSET" help:"The event at this position, whatever became of it."`
	State        string        `placeholder:"STATE" help:"Deliveries in this state: delivered, failed (a request whose chain was not stored), dead, expired, discarded, unread, queued, sending, retrying, waiting, skipped, passed or unknown."`
	Since        time.Duration `placeholder:"2h" help:"Since this long ago."`
	Until        time.Duration `placeholder:"1h" help:"Until this long ago."`
	Count        int           `short:"n" placeholder:"N" default:"100" help:"End after N rows; 0 shows all (default: ${default})."`
	Attempts     bool          `help:"Show each attempt."`
	output
	remote
}

func (*deliveriesCmd) Help() string {
	return `The ledger of a subscription: what became of its events, on which attempt, and why not.

Examples:
  tandem deliveries payments
  tandem deliveries payments --event 0192f0c1-7b1e-7c3a-9e57-2f0d7c1b8a44 --attempts
  tandem deliveries payments --position orders/3/42
  tandem deliveries payments --state dead --since 2h --json
  tandem deliveries payments --key 42 -n 0`
}

func (c *deliveriesCmd) Run(a *app) error {
	q := tandem.DeliveryQuery{ID: c.Event, Source: c.Source, Key: c.Key, Flow: c.Flow, State: c.State}
	if c.Position != "" {
		p, err := tandem.ParsePosition(c.Position)
		if err != nil {
			return err
		}
		q.Position = &p
	}
	if c.Since > 0 {
		q.Since = time.Now().Add(-c.Since)
	}
	if c.Until > 0 {
		q.Until = time.Now().Add(-c.Until)
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		for n := 0; ; {
			if c.Count > 0 {
				q.Limit = min(c.Count-n, 1000)
			}
			page, err := cl.Deliveries(ctx, c.Subscription, q)
			if err != nil {
				return err
			}
			if err := c.print(a, page.Deliveries, n == 0); err != nil {
				return err
			}
			n += len(page.Deliveries)
			if n == 0 && page.Next == "" && c.Event != "" && c.Key == "" && c.State == "" && c.Since == 0 && c.Until == 0 {
				return tandem.Errorf(tandem.CodeNotFound, "the topics of %s hold no event %q, and its ledger has no row of it", c.Subscription, c.Event).
					WithHint("--state expired shows what retention removed before it was delivered")
			}
			if q.After = page.Next; q.After == "" || c.Count > 0 && n >= c.Count || a.stdout.err != nil {
				return a.stdout.err
			}
		}
	})
}

func (c *deliveriesCmd) print(a *app, page []tandem.Delivery, first bool) error {
	var rows [][]string
	for i := range page {
		d := &page[i]
		switch {
		case c.JSON:
			if err := a.printJSON(d); err != nil {
				return err
			}
		case c.Attempts:
			a.delivery(d)
		default:
			rows = append(rows, []string{place(d), d.State, strconv.Itoa(d.Attempts), clock(d.Accepted), clock(d.Ended), orDash(printable(d.Type)), orDash(printable(d.Key)), orDash(printable(reasonOf(d)))})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	var head []string
	if first {
		head = []string{"POSITION", "STATE", "ATTEMPTS", "ACCEPTED", "ENDED", "TYPE", "KEY", "REASON"}
	}
	a.table(head, rows)
	return nil
}

// reasonOf says why a delivery is not delivered: for one under way, what it waits behind, or what became of its last attempt.
func reasonOf(d *tandem.Delivery) string {
	switch n := len(d.History); {
	case d.Reason != "":
		return d.Reason
	case d.Behind != nil:
		return "behind " + d.Behind.String()
	case n > 0:
		return d.History[n-1].Detail
	}
	return ""
}

// place shows the position of a delivery, or from where to where a range of them goes.
func place(d *tandem.Delivery) string {
	if d.Topic != "" {
		return d.Topic + " (not stored)"
	}
	if d.To == 0 {
		return d.Position.String()
	}
	return d.Position.String() + " to " + strconv.FormatUint(d.To, 10)
}

// delivery prints a delivery with its attempts.
func (a *app) delivery(d *tandem.Delivery) {
	state := a.style(yellow, d.State)
	if d.State == tandem.DeliveryDelivered {
		state = a.style(green, d.State)
	}
	if d.Reason != "" {
		state += ": " + printable(d.Reason)
	}
	a.printf("%s  %s\n", a.style(bold, place(d)), state)
	if d.ID != "" {
		a.printf("  event     %s %s %s from %s\n", printable(d.ID), printable(d.Type), orDash(printable(d.Key)), printable(d.Source))
	}
	if d.Count > 0 {
		a.printf("  events    %d, before filtering\n", d.Count)
	}
	a.printf("  accepted  %s, ended %s, %s", clock(d.Accepted), clock(d.Ended), count(d.Attempts, "attempt"))
	if d.Probes > 0 {
		a.printf(" and %s", count(d.Probes, "probe"))
	}
	a.printf("\n")
	if d.NextAttempt != "" {
		a.printf("  next      %s\n", clock(d.NextAttempt))
	}
	if d.Behind != nil {
		a.printf("  behind    %s\n", d.Behind)
	}
	if d.DeadLetter != "" {
		a.printf("  letter    %s\n", d.DeadLetter)
	}
	a.attempts(d.History)
}
