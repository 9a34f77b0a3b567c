package main

import (
	"context"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type deadLettersCmd struct {
	List    deadListCmd    `cmd:"" help:"List what could not be delivered, and why."`
	Show    deadShowCmd    `cmd:"" help:"Show one with its event and its attempts."`
	Redrive deadRedriveCmd `cmd:"" help:"Deliver again: the ids given, those that match, or --all."`
	Discard deadDiscardCmd `cmd:"" help:"Give up: the ids given, those that match, or --all."`
}

func (*deadLettersCmd) Help() string {
	return `Examples:
  tandem dead-letters list payments
  tandem dead-letters list payments --json | jq -r .id
  tandem dead-letters show payments orders/3/42
  tandem dead-letters redrive payments --all --rate 50
  tandem dead-letters redrive payments --reason exhausted --since 2h --dry-run
  tandem dead-letters discard payments --filter type=order.tested --yes`
}

type deadListCmd struct {
	Subscription string `arg:"" help:"Name of the subscription."`
	Count        int    `short:"n" placeholder:"N" help:"End after N."`
	output
	remote
}

func (c *deadListCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		n := 0
		for after := ""; ; {
			letters, next, err := cl.DeadLetters(ctx, c.Subscription, after, 0)
			if err != nil {
				return err
			}
			if c.Count > 0 && len(letters) > c.Count-n {
				letters, next = letters[:c.Count-n], ""
			}
			if err := c.print(a, letters, n == 0); err != nil {
				return err
			}
			n += len(letters)
			if after = next; after == "" || n == c.Count {
				return a.stdout.err
			}
		}
	})
}

func (c *deadListCmd) print(a *app, letters []tandem.DeadLetter, first bool) error {
	if c.JSON {
		for i := range letters {
			if err := a.printJSON(&letters[i]); err != nil {
				return err
			}
		}
		return nil
	}
	var head []string
	if first {
		head = []string{"ID", "AT", "REASON", "ATTEMPTS", "TYPE", "SUBJECT", "DETAIL"}
	}
	var rows [][]string
	for i := range letters {
		l := &letters[i]
		rows = append(rows, []string{l.ID, clock(l.At), l.Reason, strconv.Itoa(l.Attempts), printable(l.Event.Type), orDash(printable(l.Event.Subject)), printable(l.Detail)})
	}
	a.table(head, rows)
	return nil
}

type deadShowCmd struct {
	Subscription string `arg:"" help:"Name of the subscription."`
	ID           string `arg:"" name:"id" help:"Id of the dead letter."`
	output
	remote
}

func (c *deadShowCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		l, err := cl.DeadLetter(ctx, c.Subscription, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(&l)
		}
		a.printf("%s  %s at %s after %s\n", a.style(bold, l.ID), l.Reason, clock(l.At), count(l.Attempts, "attempt"))
		a.printf("detail    %s\n", printable(l.Detail))
		a.printf("event     %s %s %s from %s\n", printable(l.Event.ID), printable(l.Event.Type), orDash(printable(l.Event.Subject)), printable(l.Event.Source))
		a.printf("data      %s\n", excerpt(&l.Event.Event, 0))
		a.attempts(l.History)
		return nil
	})
}

// attempts prints the attempts of a delivery.
func (a *app) attempts(history []tandem.Attempt) {
	for i := range history {
		at := &history[i]
		number := "probe"
		if at.Number > 0 {
			number = "attempt " + strconv.Itoa(at.Number)
		}
		became := printable(at.Detail) // which says the status
		switch {
		case became != "":
		case at.Status == 0:
			became = "acknowledged"
		default:
			became = "status " + strconv.Itoa(at.Status)
		}
		a.printf("  %-10s  %s  waited %s, took %s: %s\n", number, clock(at.At.UTC().Format(time.RFC3339Nano)), short(at.Wait), short(at.Took), became)
	}
}

// short shows a duration in a few digits.
func short(d tandem.Duration) string {
	switch t := time.Duration(d); {
	case t >= time.Minute:
		return t.Round(time.Second).String()
	case t >= time.Second:
		return t.Round(10 * time.Millisecond).String()
	default:
		return t.Round(10 * time.Microsecond).String()
	}
}

// chosen is which dead letters a command is for.
type chosen struct {
	Subscription string        `arg:"" help:"Name of the subscription."`
	IDs          []string      `arg:"" optional:"" name:"id" help:"Ids of dead letters."`
	All          bool          `help:"All of them."`
	Reason       string        `enum:",exhausted,refused,loop" default:"" placeholder:"REASON" help:"Those that died for this reason: exhausted, refused or loop."`
	Filter       []string      `sep:"none" placeholder:"ATTR=VALUE" help:"Those whose event has this attribute, or matches a CloudEvents filter in JSON, or sql=TEXT or cel=TEXT; repeat for all of several."`
	Since        time.Duration `placeholder:"2h" help:"Those that died since this long ago."`
	Until        time.Duration `placeholder:"1h" help:"Those that died before this long ago."`
	DryRun       bool          `help:"Count them, and do nothing."`
}

func (c *chosen) selection() (tandem.DeadLetterSelection, error) {
	sel := tandem.DeadLetterSelection{IDs: c.IDs, Reason: c.Reason, DryRun: c.DryRun}
	var err error
	if sel.Filter, err = (&selection{Filter: c.Filter}).filter(); err != nil {
		return sel, err
	}
	if c.Since > 0 {
		sel.Since = time.Now().Add(-c.Since)
	}
	if c.Until > 0 {
		sel.Until = time.Now().Add(-c.Until)
	}
	matched := len(c.Filter) > 0 || c.Reason != "" || c.Since > 0 || c.Until > 0
	choices := 0
	for _, made := range []bool{c.All, len(c.IDs) > 0, matched} {
		if made {
			choices++
		}
	}
	if choices != 1 {
		return sel, tandem.Errorf(tandem.CodeInvalid, "which dead letters?").WithHint("name their ids, choose them with --reason, --filter, --since and --until, or say --all")
	}
	return sel, nil
}

type deadRedriveCmd struct {
	chosen
	Rate float64 `placeholder:"N" help:"Events a second at most."`
	output
	remote
}

func (c *deadRedriveCmd) Run(a *app) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	sel.Rate = c.Rate
	return c.settle(a, c.Subscription, sel, &c.output, "redriven", (*client.Client).Redrive)
}

type deadDiscardCmd struct {
	chosen
	Yes bool `short:"y" help:"Do not ask."`
	output
	remote
}

func (c *deadDiscardCmd) Run(a *app) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	what := count(len(sel.IDs), "dead letter")
	switch {
	case c.All:
		what = "all dead letters"
	case len(sel.IDs) == 0:
		what = "all dead letters that match"
	}
	if !sel.DryRun {
		if err := a.confirm(c.Yes, "discard "+what+" of "+c.Subscription); err != nil {
			return err
		}
	}
	return c.settle(a, c.Subscription, sel, &c.output, "discarded", (*client.Client).Discard)
}

func (r *remote) settle(a *app, name string, sel tandem.DeadLetterSelection, out *output, done string, do func(*client.Client, context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error)) error {
	return r.do(a, func(ctx context.Context, cl *client.Client) error {
		n, err := do(cl, ctx, name, sel)
		if err != nil {
			return err
		}
		if out.JSON {
			return a.printJSON(n)
		}
		if n.DryRun {
			done = "would be " + done
		}
		a.printf("%s %s\n", count(n.Count, "dead letter"), done)
		return nil
	})
}
