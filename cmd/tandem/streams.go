package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type streamsCmd struct {
	Topic     string `placeholder:"TOPIC" help:"Streams that read this topic, by its name or by a pattern."`
	Principal string `placeholder:"NAME" help:"Streams of this token, or of whom a route authorized."`
	Count     int    `short:"n" placeholder:"N" default:"100" help:"Show N streams at most, the newest first, 0 to 1000 (default: ${default})."`
	output
	remote
}

func (*streamsCmd) Help() string {
	return `Who is connected to what: streams of the API and of routes, by server-sent events and WebSocket. Long polls are counted, not listed. With --json, one value that holds all.

Examples:
  tandem streams
  tandem streams --topic orders -n 0
  tandem streams --principal alice --json | jq '.streams[].cursor'`
}

func (c *streamsCmd) Run(a *app) error {
	return c.do(a, func(ctx context.Context, cl *client.Client) error {
		p, err := cl.Streams(ctx, tandem.StreamQuery{Topic: c.Topic, Principal: c.Principal, Limit: c.Count})
		if err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(&p)
		}
		c.print(a, &p)
		return nil
	})
}

func (c *streamsCmd) print(a *app, p *tandem.StreamPresence) {
	a.printf("%d open", p.Open)
	for _, pattern := range slices.Sorted(maps.Keys(p.Topics)) {
		a.printf(", %d on %s", p.Topics[pattern], printable(pattern))
	}
	a.printf("\n")
	if c.Topic != "" || c.Principal != "" {
		a.printf("%d of them match\n", p.Matching)
	}
	if len(p.Streams) == 0 {
		return
	}
	var rows [][]string
	for i := range p.Streams {
		s := &p.Streams[i]
		filter := ""
		if s.Filter != nil {
			filter = s.Filter.String()
		}
		rows = append(rows, []string{orDash(printable(s.Principal)), s.Address, s.Kind, s.State, strconv.FormatUint(s.Events, 10), clock(s.Since),
			strings.Join(s.Topics, ","), orDash(printable(filter))})
	}
	a.table([]string{"PRINCIPAL", "ADDRESS", "KIND", "STATE", "EVENTS", "SINCE", "TOPICS", "FILTER"}, rows)
	if more := p.Matching - len(p.Streams); more > 0 {
		a.printf("and %d more\n", more)
	}
}
