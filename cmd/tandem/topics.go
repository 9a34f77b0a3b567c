package main

import (
	"context"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type topicsCmd struct {
	List   topicsListCmd   `cmd:"" default:"withargs" help:"List topics (the default)."`
	Show   topicsShowCmd   `cmd:"" help:"Show one topic and what its partitions hold."`
	Create topicsCreateCmd `cmd:"" help:"Create a topic."`
	Delete topicsDeleteCmd `cmd:"" help:"Delete a topic and all its events."`
}

func (*topicsCmd) Help() string {
	return `Examples:
  tandem topics
  tandem topics show orders
  tandem topics create orders --partitions 16 --retention 720h
  tandem topics delete orders`
}

type topicsListCmd struct {
	output
	remote
}

func (c *topicsListCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		topics, err := cl.Topics(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for i := range topics {
			t := &topics[i]
			if c.JSON {
				if err := a.printJSON(t); err != nil {
					return err
				}
			}
			rows = append(rows, []string{t.Name, strconv.Itoa(t.Partitions), retention(t.Retention), orDash(t.Key), orDash(t.Owner)})
		}
		if !c.JSON {
			a.table([]string{"TOPIC", "PARTITIONS", "RETENTION", "KEY", "OWNER"}, rows)
		}
		return nil
	})
}

type topicsShowCmd struct {
	Topic string `arg:"" help:"Name of the topic."`
	output
	remote
}

func (c *topicsShowCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		t, err := cl.Topic(ctx, c.Topic)
		if err != nil {
			return err
		}
		return c.print(a, &t)
	})
}

func (c *topicsShowCmd) print(a *app, t *client.Topic) error {
	if c.JSON {
		return a.printJSON(t)
	}
	a.printf("%s  %s, kept %s, key %s, owner %s\n", a.style(bold, t.Name), count(t.Partitions, "partition"), retention(t.Retention), orDefault(t.Key, "subject"), orDash(t.Owner))
	if t.Status == nil {
		return nil
	}
	a.printf("%d events, %s\n", t.Status.Events, bytesText(t.Status.Bytes))
	var rows [][]string
	for i, p := range t.Status.Partitions {
		rows = append(rows, []string{strconv.Itoa(i), strconv.FormatUint(p.Events, 10), bytesText(p.Bytes), strconv.FormatUint(p.Start, 10), strconv.FormatUint(p.End, 10)})
	}
	a.table([]string{"PARTITION", "EVENTS", "SIZE", "START", "END"}, rows)
	return nil
}

type topicsCreateCmd struct {
	Topic          string `arg:"" help:"Name of the topic."`
	Partitions     int    `placeholder:"N" help:"Number of partitions, fixed from then on (default: 8)."`
	Retention      string `placeholder:"168h" help:"Age at which events are removed, or forever (default: 168h)."`
	RetentionBytes int64  `placeholder:"BYTES" help:"Size beyond which the oldest events are removed (default: no limit)."`
	Key            string `placeholder:"KEY" help:"What orders events: an attribute, or data.PATH (default: subject)."`
	Source         string `placeholder:"URI" help:"Source of plain JSON."`
	Type           string `placeholder:"TYPE" help:"Type of plain JSON."`
	output
	remote
}

func (c *topicsCreateCmd) Run(a *app) error {
	t := tandem.Topic{Name: c.Topic, Partitions: c.Partitions, RetentionBytes: c.RetentionBytes, Key: c.Key, Source: c.Source, Type: c.Type}
	if c.Retention != "" {
		if err := t.Retention.UnmarshalText([]byte(c.Retention)); err != nil {
			return tandem.Errorf(tandem.CodeInvalid, "--retention: %w", err)
		}
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		made, err := cl.CreateTopic(ctx, t)
		if tandem.CodeOf(err) == tandem.CodePrecondition {
			return tandem.Errorf(tandem.CodePrecondition, "create topic %s: there is one already", c.Topic).WithHint("tandem topics show %s", c.Topic)
		}
		if err != nil {
			return err
		}
		return (&topicsShowCmd{output: c.output}).print(a, &made)
	})
}

type topicsDeleteCmd struct {
	Topic string `arg:"" help:"Name of the topic."`
	Yes   bool   `short:"y" help:"Do not ask."`
	remote
}

func (c *topicsDeleteCmd) Run(a *app) error {
	if err := a.confirm(c.Yes, "delete topic "+c.Topic+" and all its events"); err != nil {
		return err
	}
	return c.do(a, func(ctx context.Context, cl *client.Client) error { return cl.DeleteTopic(ctx, c.Topic) })
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// bytesText shows a size in a unit that keeps it short.
func bytesText(n int64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" {
		return strconv.FormatInt(n, 10) + "B"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + unit
}
