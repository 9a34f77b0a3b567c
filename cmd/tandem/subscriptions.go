package main

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

type subscriptionsCmd struct {
	List   subsListCmd   `cmd:"" default:"withargs" help:"List subscriptions and what they are doing (the default)."`
	Show   subsShowCmd   `cmd:"" help:"Show one subscription."`
	Create subsCreateCmd `cmd:"" help:"Create a subscription, from flags or a file."`
	Pause  subsPauseCmd  `cmd:"" help:"Stop deliveries; the place is kept."`
	Resume subsResumeCmd `cmd:"" help:"Go on with deliveries."`
	Seek   subsSeekCmd   `cmd:"" help:"Move to another place, back or forth."`
	Replay subsReplayCmd `cmd:"" help:"Deliver stored events again, beside the live ones."`
	Test   subsTestCmd   `cmd:"" help:"Send a test event to the target and show the answer."`
	Delete subsDeleteCmd `cmd:"" help:"Delete a subscription with all that it remembers."`
}

func (*subscriptionsCmd) Help() string {
	return `Examples:
  tandem subscriptions
  tandem subscriptions show payments --json
  tandem subscriptions create audit --topic '**' --service audit --path /events --from earliest
  tandem subscriptions create audit --file audit.json
  tandem subscriptions pause payments
  tandem subscriptions create analytics --topic orders --pull
  tandem subscriptions test payments
  tandem subscriptions seek payments --since 2h --dry-run
  tandem subscriptions replay payments --since 24h --filter type=order.placed --rate 50`
}

type subsListCmd struct {
	output
	remote
}

func (c *subsListCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		subs, err := cl.Subscriptions(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for i := range subs {
			s := &subs[i]
			if c.JSON {
				if err := a.printJSON(s); err != nil {
					return err
				}
				continue
			}
			row := []string{s.Name, strings.Join(s.Topics, ","), target(&s.Subscription), "-", "-", "-", "-", orDash(s.Owner)}
			if st := s.Status; st != nil {
				row[3], row[4] = a.state(st.State), strconv.FormatUint(st.Lag, 10)
				row[5], row[6] = strconv.Itoa(st.Retrying+st.Waiting), strconv.Itoa(st.Dead)
			}
			rows = append(rows, row)
		}
		if !c.JSON {
			a.table([]string{"SUBSCRIPTION", "TOPICS", "TO", "STATE", "LAG", "HELD", "DEAD", "OWNER"}, rows)
		}
		return nil
	})
}

// target shows where deliveries go.
func target(s *tandem.Subscription) string {
	switch {
	case s.Pull != nil:
		return "(pulled)"
	case s.Service != "":
		return s.Service + s.Path
	case s.AMQP != nil && s.AMQP.Queue != "":
		return "RabbitMQ queue " + s.AMQP.Queue
	case s.AMQP != nil:
		return "RabbitMQ exchange " + s.AMQP.Exchange
	}
	return s.URL
}

// state is not coloured in tables, whose columns are as wide as their bytes.
func (a *app) state(state string) string { return orDash(state) }

type subsShowCmd struct {
	Name string `arg:"" help:"Name of the subscription."`
	output
	remote
}

func (c *subsShowCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		s, err := cl.Subscription(ctx, c.Name)
		if err != nil {
			return err
		}
		return c.print(a, &s)
	})
}

func (c *subsShowCmd) print(a *app, s *client.Subscription) error {
	if c.JSON {
		return a.printJSON(s)
	}
	a.printf("%s  %s → %s, owner %s\n", a.style(bold, s.Name), strings.Join(s.Topics, ", "), target(&s.Subscription), orDash(s.Owner))
	if !s.Filter.IsZero() {
		a.printf("filter    %s\n", s.Filter)
	}
	if s.Replay != nil {
		a.printf("replay    of %s\n", s.Replay.Of)
	}
	if s.Replies != "" {
		a.printf("replies   to %s\n", s.Replies)
	}
	if s.Status != nil {
		printStatus(a, s.Status)
	}
	return nil
}

func printStatus(a *app, st *tandem.SubscriptionStatus) {
	state := a.style(green, st.State)
	if st.State != "running" {
		state = a.style(yellow, st.State)
	}
	if st.Reason != "" {
		state += ": " + printable(st.Reason)
	}
	a.printf("state     %s\n", state)
	a.printf("lag       %s, %s\n", count(int(st.Lag), "event"), time.Duration(st.LagSeconds*float64(time.Second)).Round(time.Millisecond))
	a.printf("under way %d in flight, %d retrying, %d waiting behind %s\n", st.InFlight, st.Retrying, st.Waiting, count(st.ParkedKeys, "parked key"))
	a.printf("dead      %d", st.Dead)
	if st.Redriving > 0 {
		a.printf(", %d of them redriven", st.Redriving)
	}
	a.printf("\n")
	if st.Expired > 0 {
		a.printf("expired   %d\n", st.Expired)
	}
	a.printf("since start  %d delivered, %s\n", st.Delivered, count(int(st.Failed), "failed attempt"))
}

type subsCreateCmd struct {
	Name        string        `arg:"" help:"Name of the subscription."`
	File        string        `short:"f" placeholder:"FILE" help:"Declaration in JSON, as show --json prints it ('-' is stdin). Flags win over it."`
	Topic       []string      `placeholder:"TOPIC" help:"Topic or pattern to read; repeat for several."`
	Filter      []string      `sep:"none" placeholder:"ATTR=VALUE" help:"Deliver events with this attribute only, or a CloudEvents filter in JSON, or sql=TEXT or cel=TEXT; repeat for all of several."`
	Service     string        `placeholder:"NAME" help:"Service of the configuration to deliver to."`
	Path        string        `placeholder:"PATH" help:"Path on that service."`
	URL         string        `name:"url" placeholder:"URL" help:"URL to deliver to, in place of --service and --path."`
	Pull        bool          `help:"Let clients lease the events, in place of --service and --url."`
	Visibility  time.Duration `placeholder:"30s" help:"How long a lease holds, with --pull (default: 30s)."`
	Secret      string        `placeholder:"REF" help:"Secret that signs deliveries: env:NAME, a variable of the server."`
	From        string        `placeholder:"PLACE" help:"Where to start: latest (the default), earliest or a time."`
	Replies     string        `placeholder:"TOPIC" help:"Topic of reply events (default: that of the cause)."`
	Attempts    int           `placeholder:"N" help:"Attempts before a delivery is dead (default: 12)."`
	Timeout     time.Duration `placeholder:"10s" help:"Time of one attempt (default: the service's, else 10s)."`
	Concurrency int           `placeholder:"N" help:"Deliveries at the same time (default: 32; leases with --pull: 1000)."`
	Rate        float64       `placeholder:"N" help:"Events a second at most."`
	Ordering    string        `placeholder:"key" help:"key (the default), or none to deliver events of one key at the same time."`
	Content     string        `placeholder:"FORM" help:"Form of the requests: structured (the default), binary or batch."`
	output
	remote
}

func (c *subsCreateCmd) Run(a *app) error {
	sub, err := c.declaration(a)
	if err != nil {
		return err
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		made, err := cl.CreateSubscription(ctx, sub)
		if tandem.CodeOf(err) == tandem.CodePrecondition {
			return tandem.Errorf(tandem.CodePrecondition, "create subscription %s: there is one already", c.Name).WithHint("tandem subscriptions show %s", c.Name)
		}
		if err != nil {
			return err
		}
		return (&subsShowCmd{output: c.output}).print(a, &made)
	})
}

func (c *subsCreateCmd) declaration(a *app) (tandem.Subscription, error) {
	var s tandem.Subscription
	if c.File != "" {
		b, err := readAll(a, c.File)
		if err != nil {
			return s, err
		}
		var shown client.Subscription // what show adds is left out
		if err := httpx.Strict(b, &shown); err != nil {
			return s, tandem.Wrap("read "+c.File, err)
		}
		s = shown.Subscription
	}
	s.Name = c.Name
	if len(c.Topic) > 0 {
		s.Topics = c.Topic
	}
	if len(c.Filter) > 0 {
		var err error
		if s.Filter, err = (&selection{Filter: c.Filter}).filter(); err != nil {
			return s, err
		}
	}
	for _, f := range []struct {
		into  *string
		value string
	}{{&s.Service, c.Service}, {&s.Path, c.Path}, {&s.URL, c.URL}, {&s.Secret, c.Secret}, {&s.From, c.From}, {&s.Replies, c.Replies}, {&s.Ordering, c.Ordering}, {&s.Content, c.Content}} {
		if f.value != "" {
			*f.into = f.value
		}
	}
	if c.Attempts != 0 {
		s.Attempts = c.Attempts
	}
	if c.Timeout != 0 {
		s.Timeout = tandem.Duration(c.Timeout)
	}
	if c.Concurrency != 0 {
		s.Concurrency = c.Concurrency
	}
	if c.Rate != 0 {
		s.Rate = c.Rate
	}
	if (c.Pull || c.Visibility != 0) && s.Pull == nil {
		s.Pull = &tandem.Pull{}
	}
	if c.Visibility != 0 {
		s.Pull.Visibility = tandem.Duration(c.Visibility)
	}
	return s, nil
}

// readAll reads a small file; "-" is stdin.
func readAll(a *app, path string) ([]byte, error) {
	in := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, &tandem.Error{Code: tandem.CodeNotFound, Err: err}
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 1<<20))
	return b, tandem.Wrap("read "+path, err)
}
