package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/outbox"
)

type relayCmd struct {
	Database    string        `env:"TANDEM_DATABASE" placeholder:"URL" help:"PostgreSQL database of the service: postgres://USER:PASSWORD@HOST/NAME, or where that is found: env:NAME or file:PATH. Prefer those, or the variable: arguments are visible to other users of the machine."`
	Init        bool          `help:"First create the tables of outbox and inbox where they are missing."`
	PrintSchema bool          `help:"Print the statements that create them, and exit."`
	Parallel    int           `placeholder:"N" default:"4" help:"Batches sent at a time, each with a connection to the database, 1 to 64 (default: ${default})."`
	Poll        time.Duration `default:"500ms" help:"Longest wait between two looks for rows while there are none (default: ${default})."`
	Status      time.Duration `default:"1m" help:"Log this often what was sent and what waits; 0s is never (default: ${default})."`
	Metrics     string        `placeholder:"ADDR" help:"Serve /metrics and /livez at this address."`
	LogFormat   string        `enum:"text,json" default:"text" help:"text or json."`
	LogLevel    slog.Level    `default:"info" help:"debug, info, warn or error."`
	Drain       time.Duration `default:"25s" help:"How long batches under way may take to finish when the relay is told to stop."`
	remote
}

func (*relayCmd) Help() string {
	return `Publishes what services write to the table tandem_outbox of their PostgreSQL database, in order per key, and deletes it after the receipt. A service in any language only inserts a row in its own transaction; docs/outbox.md has the contract. Any number of relays may run beside each other.

Rows that can never be published stay in the table with the reason, and hold nobody back. While Tandem or the database is away the relay tries again, and loses nothing. The role needs SELECT, UPDATE and DELETE on tandem_outbox and SELECT and UPDATE on tandem_outbox_bucket. --token, like --database, takes env:NAME or file:PATH.

SIGTERM and Ctrl-C let what is under way finish and exit with 0; a second one ends the process at once.

Examples:
  tandem relay --print-schema | psql "$DATABASE_URL"
  tandem relay --database env:DATABASE_URL --init
  tandem relay --database file:/run/secrets/database --api http://tandem:8090 --token file:/run/secrets/token --log-format json
  psql "$DATABASE_URL" -c "INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', '42', json_build_object(
    'specversion', '1.0', 'id', gen_random_uuid(), 'source', '/shop', 'type', 'order.placed', 'subject', '42', 'data', json_build_object('total', 12)))"`
}

func (c *relayCmd) Run(a *app) error {
	if c.PrintSchema {
		a.printf("%s", outbox.PostgreSQLSchema())
		return nil
	}
	if c.Parallel < 1 || c.Parallel > 64 {
		return tandem.Errorf(tandem.CodeInvalid, "--parallel %d: it is 1 to 64", c.Parallel)
	}
	if c.Poll < time.Millisecond {
		return tandem.Errorf(tandem.CodeInvalid, "--poll %s: at least 1ms", c.Poll)
	}
	var err error
	if c.Token, err = reference(c.Token); err != nil {
		return tandem.Wrap("read the token", err)
	}
	cl, err := c.relayClient()
	if err != nil {
		return err
	}
	db, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	logger := (&serveCmd{LogFormat: c.LogFormat, LogLevel: c.LogLevel}).logger(a)
	counted := &counting{pub: cl}
	box, err := outbox.Open(a.ctx, db, counted, outbox.Options{Poll: c.Poll, Parallel: c.Parallel, Logger: logger})
	if err != nil {
		return databaseError(err)
	}
	if c.Metrics != "" {
		stop, err := serveRelayMetrics(a.ctx, c.Metrics, box, counted, logger)
		if err != nil {
			return err
		}
		defer stop()
	}
	relay := outbox.NewRelay(box)
	if err := relay.Start(a.ctx); err != nil {
		return err
	}
	logger.Info("relaying", "database", where, "api", shown(c.API), "parallel", c.Parallel, "version", version())
	c.report(a.ctx, logger, box, counted)

	logger.Info("stopping: waiting for what is under way", "at most", c.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), c.Drain)
	defer cancel()
	if err := relay.Stop(ctx); err != nil {
		logger.Warn("what had not finished in time was cut off: it is sent again", "error", err)
		return nil
	}
	logger.Info("stopped", "sent", counted.sent.Load())
	return nil
}

// relayClient is a client that does not repeat: the relay decides when to try again.
func (c *relayCmd) relayClient() (*client.Client, error) {
	return client.New(c.API, client.Options{Token: c.Token, Retries: -1, UserAgent: "tandem/" + version()})
}

// report logs what the relay does, until ctx is done.
func (c *relayCmd) report(ctx context.Context, logger *slog.Logger, box *outbox.Outbox, n *counting) {
	if c.Status <= 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(c.Status)
	defer tick.Stop()
	var last int64
	var before outbox.Stats
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		stats, err := box.Stats(ctx)
		if err != nil {
			if ctx.Err() == nil {
				logger.Warn("cannot count the outbox", "error", err)
			}
			continue
		}
		sent := n.sent.Load()
		if sent == last && stats.Waiting == 0 && stats.SetAside == before.SetAside {
			continue // nothing to tell
		}
		attrs := []any{"sent", sent - last, "per second", fmt.Sprintf("%.1f", float64(sent-last)/c.Status.Seconds()), "waiting", stats.Waiting, "set aside", stats.SetAside}
		if !stats.Oldest.IsZero() {
			attrs = append(attrs, "oldest", time.Since(stats.Oldest).Round(time.Second))
		}
		logger.Info("relayed", attrs...)
		last, before = sent, stats
	}
}

// counting counts what goes through a Publisher.
type counting struct {
	pub outbox.Publisher

	sent, repeated, failed atomic.Int64 // events with a receipt, those of them that were stored before, and requests that failed
}

func (c *counting) Publish(ctx context.Context, topic string, events ...tandem.Event) ([]tandem.Receipt, error) {
	receipts, err := c.pub.Publish(ctx, topic, events...)
	if err != nil {
		c.failed.Add(1)
		return nil, err
	}
	for i := range receipts {
		if receipts[i].Duplicate == tandem.DuplicateYes {
			c.repeated.Add(1)
		}
	}
	c.sent.Add(int64(len(receipts)))
	return receipts, nil
}
