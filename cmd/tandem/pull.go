package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type pullCmd struct {
	Subscription string        `arg:"" help:"Name of a subscription that is pulled."`
	Max          int           `placeholder:"N" default:"1" help:"Lease at most N events at a time (default: ${default})."`
	Wait         time.Duration `placeholder:"10s" help:"Wait this long for an event, at most 1m (default: not; 30s with --follow)."`
	Visibility   time.Duration `placeholder:"1m" help:"How long the leases hold (default: as the subscription says)."`
	Ack          bool          `xor:"what" help:"Acknowledge what was printed. Without it the events are handed out again when their leases end."`
	Exec         string        `xor:"what" placeholder:"COMMAND" help:"Run a shell command for each event, which is its input in JSON: 0 acknowledges, any other status gives it back (and is that of pull, unless it follows). The lease is held while it runs."`
	Follow       bool          `short:"f" help:"Go on until Ctrl-C."`
	output
	remote
}

func (*pullCmd) Help() string {
	return `Leases events of a subscription that is pulled and prints them. --exec sets TANDEM_ATTEMPT, TANDEM_MAX_ATTEMPTS, TANDEM_DELIVERY_ID and TANDEM_POSITION.

Examples:
  tandem pull analytics
  tandem pull analytics --max 100 --wait 10s --ack --json | jq .event.data
  tandem pull analytics --follow --exec ./count.sh`
}

// followWait is how long a pull waits with --follow, and holdEvery the part of a lease's time after which it is extended.
const (
	followWait = 30 * time.Second
	holdEvery  = 3
)

func (c *pullCmd) Run(a *app) error {
	if c.Max < 1 {
		return tandem.Errorf(tandem.CodeInvalid, "--max %d: at least one event", c.Max)
	}
	ask := tandem.PullRequest{Max: c.Max, Wait: tandem.Duration(c.Wait), Visibility: tandem.Duration(c.Visibility)}
	if c.Follow && c.Wait == 0 {
		ask.Wait = tandem.Duration(followWait)
	}
	if c.Exec != "" {
		ask.Max = 1 // the others' leases would end while the first is worked on
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		for {
			leases, err := cl.Pull(ctx, c.Subscription, ask)
			if ctx.Err() != nil { // Ctrl-C is how it ends
				return nil //nolint:nilerr // the error says the same
			}
			if err != nil {
				return err
			}
			if err := c.work(ctx, a, cl, leases); err != nil && !(c.Follow && errors.Is(err, errQuiet)) || !c.Follow || ctx.Err() != nil {
				return err
			}
		}
	})
}

func (c *pullCmd) work(ctx context.Context, a *app, cl *client.Client, leases []tandem.Lease) error {
	var tokens []string
	for i := range leases {
		if c.Exec != "" {
			if err := c.exec(ctx, a, cl, &leases[i]); err != nil {
				return err
			}
			continue
		}
		if err := c.print(a, &leases[i]); err != nil {
			return err
		}
		tokens = append(tokens, leases[i].Token)
	}
	if !c.Ack || len(tokens) == 0 {
		return nil
	}
	results, err := cl.Ack(ctx, c.Subscription, tokens...)
	return c.lost(results, err)
}

// lost is the error of leases that were not there any more.
func (c *pullCmd) lost(results []tandem.LeaseResult, err error) error {
	n := 0
	for _, r := range results {
		if r.Outcome == tandem.LeaseLost || r.Outcome == tandem.LeaseInvalid {
			n++
		}
	}
	if err == nil && n > 0 {
		return tandem.Errorf(tandem.CodeConflict, "%s ended before it was answered: the event is handed out again", count(n, "lease")).WithHint("say --visibility for more time")
	}
	return err
}

func (c *pullCmd) print(a *app, l *tandem.Lease) error {
	if c.JSON {
		return a.printJSON(struct {
			*tandem.Lease
			Position tandem.Position `json:"position"`
		}{l, l.Event.Position})
	}
	e := &l.Event.Event
	a.printf("%s %s %s %s %s %s\n", a.style(faint, l.Event.Position.String()), strconv.Itoa(l.Attempt)+"/"+strconv.Itoa(l.MaxAttempts), a.style(faint, clock(e.Time)),
		a.style(cyan, printable(e.Type)), orDash(printable(e.Subject)), excerpt(e, 0))
	return a.stdout.err
}

// exec runs the command for one event and answers its lease.
func (c *pullCmd) exec(ctx context.Context, a *app, cl *client.Client, l *tandem.Lease) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", c.Exec)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(tandem.AppendEventJSON(nil, &l.Event.Event)), a.stdout, a.stderr
	cmd.Env = append(os.Environ(), "TANDEM_ATTEMPT="+strconv.Itoa(l.Attempt), "TANDEM_MAX_ATTEMPTS="+strconv.Itoa(l.MaxAttempts),
		"TANDEM_DELIVERY_ID="+l.ID, "TANDEM_POSITION="+l.Event.Position.String())
	cmd.WaitDelay = time.Second // what the command started may hold its output open
	release := c.hold(ctx, cl, l)
	failed := cmd.Run()
	release()
	if errors.Is(failed, exec.ErrWaitDelay) { // it did well, and left something behind
		failed = nil
	}
	delay := time.Duration(-1)
	if ctx.Err() != nil { // Ctrl-C ended the command: the event is free for others at once
		delay = 0
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if failed == nil {
		results, err := cl.Ack(ctx, c.Subscription, l.Token)
		return c.lost(results, err)
	}
	fmt.Fprintf(a.stderr, "tandem: %s: %v; given back\n", l.Event.Position, failed)
	results, err := cl.Nack(ctx, c.Subscription, delay, l.Token)
	if err = c.lost(results, err); err == nil {
		err = errQuiet
	}
	return err
}

// hold extends a lease until release is called. A lease that could not be held shows when it is answered.
func (c *pullCmd) hold(ctx context.Context, cl *client.Client, l *tandem.Lease) (release func()) {
	until, ok := tandem.ParseTime(l.Until)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(max(time.Until(until)/holdEvery, 100*time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = cl.Extend(ctx, c.Subscription, c.Visibility, l.Token)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}
