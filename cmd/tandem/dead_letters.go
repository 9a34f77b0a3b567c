package main

import (
	"context"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type deadLettersCmd struct {
	List    deadListCmd    `cmd:"" help:"List what could not be delivered, and why."`
	Redrive deadRedriveCmd `cmd:"" help:"Deliver again: the ids given, or --all."`
	Discard deadDiscardCmd `cmd:"" help:"Give up: the ids given, or --all."`
}

func (*deadLettersCmd) Help() string {
	return `Examples:
  tandem dead-letters list payments
  tandem dead-letters list payments --json | jq -r .id
  tandem dead-letters redrive payments --all
  tandem dead-letters discard payments 0192f0c1`
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

// chosen is which dead letters a command is for.
type chosen struct {
	Subscription string   `arg:"" help:"Name of the subscription."`
	IDs          []string `arg:"" optional:"" name:"id" help:"Ids of dead letters."`
	All          bool     `help:"All of them."`
}

// ids returns nil for all.
func (c *chosen) ids() ([]string, error) {
	if c.All == (len(c.IDs) > 0) {
		return nil, tandem.Errorf(tandem.CodeInvalid, "which dead letters?").WithHint("name their ids, or say --all")
	}
	if c.All {
		return nil, nil
	}
	return c.IDs, nil
}

type deadRedriveCmd struct {
	chosen
	output
	remote
}

func (c *deadRedriveCmd) Run(a *app) error {
	return c.settle(a, &c.chosen, &c.output, "redriven", (*client.Client).Redrive)
}

type deadDiscardCmd struct {
	chosen
	Yes bool `short:"y" help:"Do not ask."`
	output
	remote
}

func (c *deadDiscardCmd) Run(a *app) error {
	ids, err := c.ids()
	if err != nil {
		return err
	}
	what := count(len(ids), "dead letter")
	if c.All {
		what = "all dead letters"
	}
	if err := a.confirm(c.Yes, "discard "+what+" of "+c.Subscription); err != nil {
		return err
	}
	return c.settle(a, &c.chosen, &c.output, "discarded", (*client.Client).Discard)
}

func (r *remote) settle(a *app, which *chosen, out *output, done string, do func(*client.Client, context.Context, string, []string) (int, error)) error {
	ids, err := which.ids()
	if err != nil {
		return err
	}
	return r.do(a, func(ctx context.Context, cl *client.Client) error {
		n, err := do(cl, ctx, which.Subscription, ids)
		if err != nil {
			return err
		}
		if out.JSON {
			return a.printJSON(map[string]int{done: n})
		}
		a.printf("%s %s\n", count(n, "dead letter"), done)
		return nil
	})
}
