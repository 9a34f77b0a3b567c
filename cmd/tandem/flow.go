package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type flowCmd struct {
	ID        string        `arg:"" optional:"" help:"Id of the flow, as Tandem-Flow names it."`
	Event     string        `placeholder:"ID" help:"The flows of the event with this id and --source."`
	Source    string        `placeholder:"URI" help:"Source of that event."`
	Operation string        `placeholder:"ID" help:"The flow of an operation."`
	Trace     string        `placeholder:"ID" help:"The flows of a W3C trace."`
	Key       string        `placeholder:"KEY" help:"List flows with an event of this key."`
	Type      string        `placeholder:"TYPE" help:"List flows with an event of this type."`
	State     string        `placeholder:"STATE" help:"List flows in this state: running, done or failed."`
	Since     time.Duration `placeholder:"2h" help:"List flows that began since this long ago."`
	Until     time.Duration `placeholder:"1h" help:"List flows that began until this long ago."`
	Count     int           `short:"n" placeholder:"N" default:"20" help:"End a list after N flows; 0 shows all (default: ${default})."`
	output
	remote
}

func (*flowCmd) Help() string {
	return `What one cause set off: the request, its events, every delivery and attempt, replies, and the operation's end. Without an id it lists flows, the
newest first; one that is found by an event, an operation or a trace is drawn.

Examples:
  tandem flow 0192f0c1-7b1e-7c3a-9e57-2f0d7c1b8a44
  tandem flow --event 42 --source /orders
  tandem flow --operation 0192f0c1-7b1e-7c3a-9e57-2f0d7c1b8a44 --json
  tandem flow --key 42 --state failed --since 2h`
}

func (c *flowCmd) Run(a *app) error {
	q := tandem.FlowQuery{Event: c.Event, Source: c.Source, Operation: c.Operation, Trace: c.Trace, Key: c.Key, Type: c.Type, State: c.State}
	if c.Since > 0 {
		q.Since = time.Now().Add(-c.Since)
	}
	if c.Until > 0 {
		q.Until = time.Now().Add(-c.Until)
	}
	if c.ID != "" && q != (tandem.FlowQuery{}) {
		return tandem.Errorf(tandem.CodeInvalid, "a flow is shown by its id, or by what leads to it")
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		switch {
		case c.ID != "":
			return c.show(ctx, a, cl, c.ID)
		case c.Event != "" || c.Operation != "" || c.Trace != "":
			page, err := cl.Flows(ctx, q)
			if err != nil {
				return err
			}
			for i := range page.Flows {
				if err := c.show(ctx, a, cl, page.Flows[i].ID); err != nil {
					return err
				}
			}
			return nil
		}
		return c.list(ctx, a, cl, q)
	})
}

func (c *flowCmd) show(ctx context.Context, a *app, cl *client.Client, id string) error {
	f, err := cl.Flow(ctx, id)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(&f)
	}
	a.flow(&f)
	return a.stdout.err
}

func (c *flowCmd) list(ctx context.Context, a *app, cl *client.Client, q tandem.FlowQuery) error {
	for n := 0; ; {
		if c.Count > 0 {
			q.Limit = min(c.Count-n, 1000)
		}
		page, err := cl.Flows(ctx, q)
		if err != nil {
			return err
		}
		var rows [][]string
		for i := range page.Flows {
			s := &page.Flows[i]
			if c.JSON {
				if err := a.printJSON(s); err != nil {
					return err
				}
				continue
			}
			first := s.First
			if first == nil {
				first = &tandem.FlowEvent{}
			}
			rows = append(rows, []string{s.ID, s.State, clockOf(s.Started), lasted(s.Started, s.Ended), strconv.Itoa(s.Events), orDash(printable(first.Type)), orDash(printable(first.Key))})
		}
		if len(rows) > 0 {
			var head []string
			if n == 0 {
				head = []string{"FLOW", "STATE", "STARTED", "TOOK", "EVENTS", "TYPE", "KEY"}
			}
			a.table(head, rows)
		}
		n += len(page.Flows)
		if q.After = page.Next; q.After == "" || c.Count > 0 && n >= c.Count || a.stdout.err != nil {
			return a.stdout.err
		}
	}
}

func clockOf(t time.Time) string { return clock(t.UTC().Format(time.RFC3339Nano)) }

func lasted(from, to time.Time) string {
	if to.IsZero() {
		return "-"
	}
	return short(tandem.Duration(to.Sub(from)))
}

// flow draws a flow as a tree. A node with several causes stands under the first, and says so.
func (a *app) flow(f *tandem.Flow) {
	a.printf("%s  %s  %s", a.style(bold, "flow "+printable(f.ID)), a.flowState(f.State), clockOf(f.Started))
	if !f.Ended.IsZero() {
		a.printf(", %s", lasted(f.Started, f.Ended))
	}
	a.printf("\n")
	under, known := map[string][]int{}, map[string]bool{}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		cause := ""
		if len(n.Causes) > 0 && known[n.Causes[0]] { // else it is a root, so that none is left out
			cause = n.Causes[0]
		}
		known[n.ID] = true
		under[cause] = append(under[cause], i)
	}
	var draw func(cause, indent string)
	draw = func(cause, indent string) {
		for i, at := range under[cause] {
			n := &f.Nodes[at]
			branch, more := "├─ ", "│  "
			if i == len(under[cause])-1 {
				branch, more = "└─ ", "   "
			}
			a.printf("%s%s%s\n", a.style(faint, indent+branch), a.flowNode(n), a.style(faint, "  "+after(f.Started, n)))
			if n.Kind != tandem.NodeAttempt && n.Reason != "" {
				rest := more
				if len(under[n.ID]) > 0 {
					rest += "│  "
				}
				a.printf("%s%s\n", a.style(faint, indent+rest), printable(n.Reason))
			}
			draw(n.ID, indent+more)
		}
	}
	draw("", "")
	for i := range f.Links {
		l := &f.Links[i]
		what := "was caused by"
		if l.Kind == tandem.FlowEffect {
			what = "caused"
		}
		other := "an event that is not known here: " + l.Ref
		if l.Position.Topic != "" {
			other = l.Position.String() + " of flow " + orDash(printable(l.Flow))
		}
		a.printf("%s %s %s\n", l.Node, what, other)
	}
	for _, m := range f.Missing {
		a.printf("%s %s\n", a.style(yellow, "missing:"), printable(m))
	}
}

// after tells when something was, from the beginning of the flow, and how long it took.
func after(start time.Time, n *tandem.FlowNode) string {
	var parts []string
	if !n.At.IsZero() {
		parts = append(parts, "+"+short(tandem.Duration(max(0, n.At.Sub(start)))))
	}
	if n.Took > 0 {
		parts = append(parts, "took "+short(n.Took))
	}
	if t := n.Time; t != nil {
		parts = append(parts, fmt.Sprintf("(waited %s, service %s, backoff %s)", short(t.Waiting), short(t.Service), short(t.Backoff)))
	}
	return strings.Join(parts, " ")
}

// flowNode says what a node is.
func (a *app) flowNode(n *tandem.FlowNode) string {
	var about []string
	switch {
	case n.Request != nil:
		r := n.Request
		if r.Method == "" {
			about = append(about, r.Route)
		} else {
			about = append(about, r.Method, r.Path)
		}
		if r.Status > 0 {
			about = append(about, strconv.Itoa(r.Status))
		}
	case n.Event != nil:
		about = append(about, orDash(n.Event.Type), n.Event.Position.String())
		if n.Event.Key != "" {
			about = append(about, "key "+n.Event.Key)
		}
	case n.Delivery != nil:
		about = append(about, "to "+n.Delivery.Subscription)
		if n.Delivery.NextAttempt != "" {
			about = append(about, "next attempt "+clock(n.Delivery.NextAttempt))
		}
		if n.Delivery.Behind != nil {
			about = append(about, "behind "+n.Delivery.Behind.String())
		}
		if n.Delivery.DeadLetter != "" {
			about = append(about, "dead letter "+n.Delivery.DeadLetter)
		}
	case n.Attempt != nil:
		if n.Attempt.Number > 0 {
			about = append(about, strconv.Itoa(n.Attempt.Number))
		}
		switch {
		case n.Reason != "":
			about = append(about, n.Reason) // which says the status
		case n.Attempt.Status > 0:
			about = append(about, "status "+strconv.Itoa(n.Attempt.Status))
		}
	case n.Operation != nil:
		about = append(about, n.Operation.ID)
	}
	return a.style(bold, n.Kind) + " " + printable(strings.Join(about, " ")) + "  " + a.flowState(n.State)
}

// flowState colours a state by how it bodes.
func (a *app) flowState(state string) string {
	switch state {
	case tandem.FlowDone, "stored", "answered", "succeeded", tandem.DeliveryDelivered:
		return a.style(green, state)
	case tandem.FlowFailed, tandem.DeliveryDead, tandem.DeliveryExpired, tandem.DeliveryDiscarded, "removed":
		return a.style(red, state)
	case tandem.DeliverySkipped, tandem.DeliveryPassed:
		return a.style(faint, state)
	}
	return a.style(yellow, state)
}
