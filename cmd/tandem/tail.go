package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type tailCmd struct {
	Topics []string `arg:"" name:"topic" help:"Topics or patterns: '*' is one part between dots, a last '**' the rest."`
	selection
	Count  *int   `short:"n" placeholder:"N" help:"End after N events."`
	Follow bool   `default:"true" negatable:"" help:"Wait for new events. --no-follow shows what is stored and ends."`
	Slow   string `enum:",catchup,conflate,disconnect" default:"" placeholder:"HOW" help:"When this cannot keep up: catchup (everything, in order; the default), conflate (of what it fell behind, the latest event of each key) or disconnect (connect again, and go on)."`
	Full   bool   `help:"Show data as a whole, not the part that fits the line."`
	output
	remote
}

// selection is the flags that choose events and a place to begin at.
type selection struct {
	From   string        `xor:"start" placeholder:"PLACE" help:"earliest, latest or a time (2026-01-31T08:00:00Z)."`
	Since  time.Duration `xor:"start" placeholder:"10m" help:"Begin this long ago."`
	Cursor string        `xor:"start" placeholder:"CURSOR" help:"Resume after this place."`
	Last   *int          `xor:"start" placeholder:"N" help:"Begin before the last N events that are shown, at most 1000."`
	Type   []string      `placeholder:"TYPE" help:"Show events of this type only; repeat for several."`
	Filter []string      `sep:"none" placeholder:"ATTR=VALUE" help:"Show events with this attribute only, or a CloudEvents filter in JSON, or sql=TEXT or cel=TEXT; repeat for all of several."`
}

func (c *tailCmd) Help() string {
	return `Follows topics and prints one line for each event: time, type, subject, data. When the connection breaks it resumes where it was; Ctrl-C ends it.

Examples:
  tandem tail orders
  tandem tail 'orders.*' payments --since 10m --type order.placed
  tandem tail orders --from earliest --no-follow --json | jq .data
  tandem tail orders --last 20
  tandem tail orders --last 1 --no-follow --filter subject=42
  tandem tail positions --slow conflate
  tandem tail orders --filter subject=42 -n 1
  tandem tail orders --filter '{"any":[{"prefix":{"type":"order."}},{"type":"refund"}]}'`
}

func (c *tailCmd) Run(a *app) error {
	if c.Count != nil && *c.Count < 0 {
		return tandem.Errorf(tandem.CodeInvalid, "-n %d: a number of events is not negative", *c.Count)
	}
	if c.Last != nil && *c.Last < 1 {
		return tandem.Errorf(tandem.CodeInvalid, "--last %d: a number of events is at least 1", *c.Last)
	}
	if c.Slow != "" && !c.Follow {
		return tandem.Errorf(tandem.CodeInvalid, "--slow and --no-follow cannot be given together")
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	q := client.Query{Topics: c.Topics, Slow: c.Slow}
	if c.Last != nil {
		q.Last = *c.Last
	} else if q.Start, err = c.start(!c.Follow); err != nil {
		return err
	}
	if q.Filter, err = c.filter(); err != nil {
		return err
	}
	if c.enough(0) {
		return nil
	}
	if c.Follow {
		return c.follow(a, cl, q)
	}
	return c.pages(a, cl, q)
}

// enough reports whether n events are as many as were asked for.
func (c *tailCmd) enough(n int) bool { return c.Count != nil && n >= *c.Count }

func (c *tailCmd) follow(a *app, cl *client.Client, q client.Query) error {
	var last tandem.Cursor
	opts := client.StreamOptions{
		Progress: func(at tandem.Cursor) { last = at },
		Interrupted: func(err error, again time.Duration) {
			fmt.Fprintf(a.stderr, "tandem: %s; connecting again in %s\n", explain(err), again.Round(10*time.Millisecond))
		},
	}
	n := 0
	for m, err := range cl.Stream(a.ctx, q, opts) {
		switch {
		case errors.Is(err, context.Canceled):
			if last != "" && a.width > 0 {
				fmt.Fprintf(a.stderr, "\nto go on from here: --cursor %s\n", last)
			}
			return nil
		case err != nil:
			return err
		}
		last = m.Cursor
		if m.Gap != nil {
			c.gap(a, m.Gap)
			continue
		}
		c.event(a, &m.Event)
		if n++; c.enough(n) || a.stdout.err != nil {
			return a.stdout.err
		}
	}
	return nil
}

func (c *tailCmd) pages(a *app, cl *client.Client, q client.Query) error {
	for n := 0; ; {
		page, err := cl.Read(a.ctx, q)
		if err != nil {
			return err
		}
		if page.Gap != nil {
			c.gap(a, page.Gap)
		}
		for i := range page.Events {
			c.event(a, &page.Events[i].Event)
			if n++; c.enough(n) || a.stdout.err != nil {
				return a.stdout.err
			}
		}
		if len(page.Events) == 0 && page.Cursor == q.Start.Cursor {
			return nil
		}
		q.Start, q.Last = tandem.Start{Cursor: page.Cursor}, 0
	}
}

// start returns the place that the flags name; without one it is the end, or for whoever does not wait the beginning.
func (s *selection) start(beginning bool) (tandem.Start, error) {
	switch {
	case s.Cursor != "":
		return tandem.Start{Cursor: tandem.Cursor(s.Cursor)}, nil
	case s.Since > 0:
		return tandem.Start{Time: time.Now().Add(-s.Since).UTC().Format(time.RFC3339Nano)}, nil
	case s.From == "" && beginning:
		return tandem.Start{Earliest: true}, nil
	}
	return tandem.ParseStart(s.From)
}

// filter combines --type, of which any matches, and --filter, of which all must. The server compiles sql and cel.
func (s *selection) filter() (tandem.Filter, error) {
	var all []tandem.Filter
	if len(s.Type) > 0 {
		var types []any
		for _, t := range s.Type {
			types = append(types, map[string]any{"type": t})
		}
		f, err := tandem.FilterOf(map[string]any{"any": types})
		if err != nil {
			return f, tandem.Wrap("--type", err)
		}
		all = append(all, f)
	}
	for _, text := range s.Filter {
		f, err := parseFilter(text)
		if err != nil {
			return f, err
		}
		all = append(all, f)
	}
	f, err := tandem.AllOf(all...)
	return f, tandem.Wrap("--filter", err)
}

func parseFilter(text string) (f tandem.Filter, err error) {
	name, value, ok := strings.Cut(text, "=")
	switch {
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		f, err = tandem.ParseFilter([]byte(text))
	case !ok:
		return f, tandem.Errorf(tandem.CodeInvalid, "--filter %q is neither attribute=value nor JSON", text)
	case name == "sql", name == "cel":
		f, err = tandem.FilterOf(map[string]any{name: value})
	default:
		f, err = tandem.FilterOf(map[string]any{"exact": map[string]any{name: value}})
	}
	return f, tandem.Wrap("--filter", err)
}

func (c *tailCmd) event(a *app, e *tandem.Event) {
	if c.JSON {
		_, _ = a.stdout.Write(append(tandem.AppendEventJSON(nil, e), '\n')) // a.stdout keeps the error
		return
	}
	line := clock(e.Time) + " " + printable(e.Type) + " " + orDash(printable(e.Subject))
	room := 0
	if !c.Full && a.width > 0 {
		room = max(a.width-utf8.RuneCountInString(line)-2, 10)
	}
	a.printf("%s %s %s %s\n", a.style(faint, clock(e.Time)), a.style(cyan, printable(e.Type)), orDash(printable(e.Subject)), excerpt(e, room))
}

func (c *tailCmd) gap(a *app, g *tandem.Gap) {
	if c.JSON {
		_ = a.printJSON(map[string]*tandem.Gap{"gap": g})
		return
	}
	why := map[string]string{tandem.GapRetention: "retention has removed events here", tandem.GapRecreated: "the topic was deleted and created again",
		tandem.GapForeign: "the cursor belongs to another log", tandem.GapMigrated: "the cursor is of before a migration, and what is between was not copied"}[g.Reason]
	a.printf("%s\n", a.style(yellow, "── gap: "+why+" ──"))
}

// clock shows the time of an event: the time of day, for other days with the date.
func clock(s string) string {
	t, ok := tandem.ParseTime(s)
	if !ok {
		return "-"
	}
	t = t.Local()
	if y, m, d := time.Now().Date(); t.Year() != y || t.Month() != m || t.Day() != d {
		return t.Format("2006-01-02T15:04:05")
	}
	return t.Format("15:04:05.000")
}

// excerpt shows data in a line of at most room characters; zero means any number.
func excerpt(e *tandem.Event, room int) string {
	if len(e.Data) == 0 {
		return ""
	}
	var s string
	var compact bytes.Buffer
	switch {
	case json.Valid(e.Data) && json.Compact(&compact, e.Data) == nil:
		s = printable(compact.String())
	case utf8.Valid(e.Data):
		s = printable(string(e.Data))
	default:
		s = fmt.Sprintf("<%d bytes %s>", len(e.Data), printable(e.DataContentType))
	}
	if room > 0 && utf8.RuneCountInString(s) > room {
		s = string([]rune(s)[:room-1]) + "…"
	}
	return s
}

// printable replaces what could steer a terminal: events are written by others.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}
