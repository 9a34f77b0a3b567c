package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type subsPauseCmd struct {
	Name string `arg:"" help:"Name of the subscription."`
	output
	remote
}

func (c *subsPauseCmd) Run(a *app) error {
	return c.status(a, &c.output, c.Name, (*client.Client).Pause)
}

type subsResumeCmd struct {
	Name string `arg:"" help:"Name of the subscription."`
	output
	remote
}

func (c *subsResumeCmd) Run(a *app) error {
	return c.status(a, &c.output, c.Name, (*client.Client).Resume)
}

type subsSeekCmd struct {
	Name   string        `arg:"" help:"Name of the subscription."`
	From   string        `xor:"start" placeholder:"PLACE" help:"earliest, latest or a time (2026-01-31T08:00:00Z)."`
	Since  time.Duration `xor:"start" placeholder:"2h" help:"This long ago."`
	Cursor string        `xor:"start" placeholder:"CURSOR" help:"After this place."`
	DryRun bool          `help:"Say what it would do, and do nothing."`
	output
	remote
}

func (c *subsSeekCmd) Run(a *app) error {
	if c.From == "" && c.Since == 0 && c.Cursor == "" {
		return tandem.Errorf(tandem.CodeInvalid, "no place to seek to").WithHint("say --from, --since or --cursor")
	}
	to, err := (&selection{From: c.From, Since: c.Since, Cursor: c.Cursor}).start(false)
	if err != nil {
		return err
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		plan, err := cl.Seek(ctx, c.Name, to, c.DryRun)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(plan)
		}
		will := ""
		if plan.DryRun {
			will = "would be "
		}
		a.printf("%s %sread again, %s %sgone over (%d of them parked), before filtering\n", count(int(plan.Again), "event"), will, count(int(plan.Over), "event"), will, plan.Parked)
		return nil
	})
}

// status runs a command on a subscription and prints what it does now.
func (r *remote) status(a *app, out *output, name string, do func(*client.Client, context.Context, string) (tandem.SubscriptionStatus, error)) error {
	return r.do(a, func(ctx context.Context, cl *client.Client) error {
		st, err := do(cl, ctx, name)
		if err != nil {
			return err
		}
		if out.JSON {
			return a.printJSON(st)
		}
		printStatus(a, &st)
		return nil
	})
}

type subsDeleteCmd struct {
	Name string `arg:"" help:"Name of the subscription."`
	Yes  bool   `short:"y" help:"Do not ask."`
	remote
}

func (c *subsDeleteCmd) Run(a *app) error {
	if err := a.confirm(c.Yes, fmt.Sprintf("delete subscription %s with its place and dead letters", c.Name)); err != nil {
		return err
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error { return cl.DeleteSubscription(ctx, c.Name) })
}

type subsTestCmd struct {
	Name string `arg:"" help:"Name of the subscription."`
	output
	remote
}

// Run fails unless a delivery that is answered like this would be delivered.
func (c *subsTestCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		x, err := cl.Test(ctx, c.Name)
		if err != nil {
			return err
		}
		if c.JSON {
			err = a.printJSON(x)
		} else {
			printExchange(a, &x)
		}
		if err == nil && x.Outcome != tandem.AnswerDelivered {
			return errQuiet
		}
		return err
	})
}

func printExchange(a *app, x *tandem.TestExchange) {
	a.printf("%s %s\n", cmp.Or(x.Sent.Method, "nothing sent to"), x.Sent.URL)
	printMessage(a, "> ", &x.Sent)
	if x.Received != nil {
		a.printf("%d\n", x.Received.Status)
		printMessage(a, "< ", x.Received)
	}
	outcome := a.style(green, x.Outcome)
	if x.Outcome != tandem.AnswerDelivered {
		outcome = a.style(yellow, x.Outcome)
	}
	if x.Detail != "" {
		outcome += ": " + printable(x.Detail)
	}
	a.printf("outcome   %s, after %s\n", outcome, short(x.Took))
}

func printMessage(a *app, mark string, m *tandem.TestMessage) {
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		a.printf("%s%s: %s\n", mark, printable(name), printable(m.Headers[name]))
	}
	if m.Body != "" {
		a.printf("%s\n%s%s\n", mark, mark, printable(m.Body))
	}
}

type subsReplayCmd struct {
	Name       string        `arg:"" help:"Name of the subscription."`
	From       string        `xor:"start" placeholder:"PLACE" help:"earliest or a time (2026-01-31T08:00:00Z)."`
	Since      time.Duration `xor:"start" placeholder:"2h" help:"From this long ago."`
	Cursor     string        `xor:"start" placeholder:"CURSOR" help:"After this place."`
	To         string        `placeholder:"TIME" help:"Up to this time (default: now)."`
	Filter     []string      `sep:"none" placeholder:"ATTR=VALUE" help:"Events with this attribute only, or a CloudEvents filter in JSON, or sql=TEXT or cel=TEXT; repeat for all of several."`
	Rate       float64       `placeholder:"N" help:"Events a second at most."`
	EvenIfSeen bool          `help:"With ids that the receiver has not seen, so that it takes again what it has taken."`
	output
	remote
}

func (c *subsReplayCmd) Run(a *app) error {
	if c.From == "" && c.Since == 0 && c.Cursor == "" {
		return tandem.Errorf(tandem.CodeInvalid, "no place to replay from").WithHint("say --from, --since or --cursor")
	}
	sel := selection{From: c.From, Since: c.Since, Cursor: c.Cursor, Filter: c.Filter}
	ask := tandem.ReplayRequest{To: c.To, EvenIfSeen: c.EvenIfSeen, Rate: c.Rate}
	var err error
	if ask.From, err = sel.start(false); err != nil {
		return err
	}
	if ask.Filter, err = sel.filter(); err != nil {
		return err
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		made, err := cl.Replay(ctx, c.Name, ask)
		if err != nil {
			return err
		}
		return (&subsShowCmd{output: c.output}).print(a, &made)
	})
}
