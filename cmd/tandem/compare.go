package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/authentication"
	"github.com/tandem-hybrid/tandem/internal/compare/fanout"
	"github.com/tandem-hybrid/tandem/internal/compare/html"
	"github.com/tandem-hybrid/tandem/internal/compare/orders"
	"github.com/tandem-hybrid/tandem/internal/compare/own"
	"github.com/tandem-hybrid/tandem/internal/compare/positions"
	"github.com/tandem-hybrid/tandem/internal/compare/table"
	"github.com/tandem-hybrid/tandem/internal/compare/views"
	"github.com/tandem-hybrid/tandem/internal/compare/waiting"
)

// scenarios are those that tandem compare runs, in this order.
func scenarios() []compare.Scenario {
	return []compare.Scenario{orders.Scenario{}, waiting.Scenario{}, positions.Scenario{}, views.Scenario{}, authentication.Scenario{}, fanout.Scenario{}}
}

func scenarioNames() string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.About().Name)
	}
	return strings.Join(names, ", ")
}

type compareCmd struct {
	Config string `arg:"" optional:"" placeholder:"CONFIG" help:"A tandem.yaml to compare on, with its services running (default: the scenarios)."`

	Quick    bool     `xor:"extent" help:"About 30 seconds instead of three minutes."`
	Full     bool     `xor:"extent" help:"Everything: about 40 minutes."`
	Scenario []string `placeholder:"NAME" help:"Run these only: ${scenarios}."`

	Rate     float64       `placeholder:"N" help:"Units of work a second (default: the scenario's)."`
	Duration time.Duration `placeholder:"TIME" help:"How long each cell offers load (default: the scenario's)."`
	Fault    []string      `placeholder:"FAULT" help:"Inject PROCESS:KIND[@AT+FOR] instead of the scenario's faults: kind down, slow=500ms or error=30%; without times, in the middle third."`
	Seed     uint64        `default:"25" help:"Decides arrivals, inputs, and whom a fault of a share hits."`
	Repeat   int           `default:"1" placeholder:"N" help:"Run each cell N times; from 3 on there are confidence intervals."`
	Requests string        `type:"existingfile" placeholder:"FILE" help:"With CONFIG, the requests to send, one JSON object a line."`
	Inputs   string        `type:"existingdir" placeholder:"DIR" help:"Real inputs where there are some, such as orders.csv (default: samples and generated ones)."`

	JSON string `name:"json" placeholder:"FILE" help:"Write the report as JSON; - for standard output, in place of the table."`
	HTML string `name:"html" placeholder:"FILE" help:"Write the report as one HTML page with plots; - for standard output."`
}

func (c *compareCmd) Help() string {
	return `Runs the same work as requests and as events, on the same services under the same load on this machine, and reports what each costs and what each does under faults. Without arguments it takes about three minutes. Attempts are due by the clock, whatever became of earlier ones, and are timed from when they were due; a load that this machine cannot offer is reported as not reachable, never as a latency.

Ctrl-C ends it with a report on what ran until then, which says that it is partial; the exit status is 1 then. It is 0 for a complete report, whatever is in it.

Examples:
  tandem compare --quick
  tandem compare --html report.html
  tandem compare --scenario orders --fault payments:down@10s+10s
  tandem compare --scenario orders --rate 50 --duration 1m --repeat 5 --json -
  tandem compare my/tandem.yaml --requests recorded.ndjson --rate 20`
}

func (c *compareCmd) options(a *app) (o compare.Options, err error) {
	o = compare.Options{Scenarios: c.Scenario, Rate: c.Rate, Duration: c.Duration, Seed: c.Seed, Repeat: c.Repeat, Inputs: c.Inputs,
		Invocation: c.invocation()}
	switch {
	case c.Quick:
		o.Extent = compare.Quick
	case c.Full:
		o.Extent = compare.Full
	}
	for _, s := range c.Fault {
		f, err := compare.ParseFault(s)
		if err != nil {
			return o, err
		}
		o.Faults = append(o.Faults, f)
	}
	switch {
	case c.Rate < 0:
		return o, tandem.Errorf(tandem.CodeInvalid, "--rate %g: it is units of work a second, above 0", c.Rate)
	case c.Duration < 0:
		return o, tandem.Errorf(tandem.CodeInvalid, "--duration %s: it is above 0", c.Duration)
	case c.Repeat < 1 || c.Repeat > 100:
		return o, tandem.Errorf(tandem.CodeInvalid, "--repeat %d: it is 1 to 100", c.Repeat)
	case c.Requests != "" && c.Config == "":
		return o, tandem.Errorf(tandem.CodeInvalid, "--requests goes with CONFIG: the scenarios bring their own")
	}
	return o, nil
}

func (c *compareCmd) Run(a *app) error {
	o, err := c.options(a)
	if err != nil {
		return err
	}
	list, err := c.scenarios()
	if err != nil {
		return err
	}
	plan, err := compare.Plan(list, o)
	if err != nil {
		return err
	}
	// A terminal that is closed ends the run as Ctrl-C does, and leaves no temporary directory.
	ctx, stop := signal.NotifyContext(a.ctx, syscall.SIGHUP)
	defer stop()
	for _, about := range plan.Scenarios {
		fmt.Fprintf(a.stderr, "%s (%s): %s\n", about.Title, about.Name, about.Question)
		for _, e := range about.Expected {
			fmt.Fprintf(a.stderr, "  expected: %s (%s)\n", e.Claim, e.Source)
		}
	}
	fmt.Fprintf(a.stderr, "%d cells, about %s. Ctrl-C ends it with a report on what ran until then.\n", plan.Cells, plan.Takes.Round(time.Second))
	show := &compareProgress{out: a.stderr}
	_, show.terminal = terminal(a.stderr)
	o.Progress = show.next
	r, err := compare.Run(ctx, list, o)
	show.end()
	if len(r.Findings) > 0 {
		if werr := c.write(a, &r); werr != nil {
			return werr
		}
	}
	if err == nil && r.Partial != "" {
		err = fmt.Errorf("the report is partial: %s", r.Partial)
	}
	return err
}

// scenarios are the built-in ones, or the user's services.
func (c *compareCmd) scenarios() ([]compare.Scenario, error) {
	if c.Config == "" {
		return scenarios(), nil
	}
	s, err := own.New(c.Config, c.Requests)
	return []compare.Scenario{s}, err
}

// write puts the report where it was asked for.
func (c *compareCmd) write(a *app, r *compare.Report) error {
	if c.HTML != "" {
		if err := a.writeFile(c.HTML, func(w io.Writer) error { return html.Write(w, r) }); err != nil {
			return err
		}
	}
	if c.JSON != "" {
		if err := a.writeFile(c.JSON, func(w io.Writer) error { return compare.WriteJSON(w, r) }); err != nil {
			return err
		}
	}
	if c.JSON == "-" || c.HTML == "-" {
		return nil
	}
	return table.Write(a.stdout, r, table.Options{Width: a.width, Colour: a.colour})
}

// writeFile writes a file, or standard output for "-".
func (a *app) writeFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(a.stdout)
	}
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(write(f), f.Close())
	}
	if err != nil {
		return &tandem.Error{Code: tandem.CodeInvalid, Op: "write the report", Err: err}
	}
	return nil
}

// invocation is the command line that repeats the run.
func (c *compareCmd) invocation() string {
	words := []string{"tandem", "compare"}
	add := func(flag, value string) { words = append(words, flag, value) }
	if c.Config != "" {
		words = append(words, c.Config)
	}
	if c.Quick {
		words = append(words, "--quick")
	}
	if c.Full {
		words = append(words, "--full")
	}
	for _, s := range c.Scenario {
		add("--scenario", s)
	}
	if c.Rate > 0 {
		add("--rate", fmt.Sprintf("%g", c.Rate))
	}
	if c.Duration > 0 {
		add("--duration", c.Duration.String())
	}
	for _, f := range c.Fault {
		add("--fault", f)
	}
	add("--seed", fmt.Sprint(c.Seed))
	if c.Repeat > 1 {
		add("--repeat", fmt.Sprint(c.Repeat))
	}
	if c.Requests != "" {
		add("--requests", c.Requests)
	}
	if c.Inputs != "" {
		add("--inputs", c.Inputs)
	}
	return strings.Join(words, " ")
}

// compareProgress shows which cell runs: on a terminal in one line, and otherwise a line for each cell.
type compareProgress struct {
	out      io.Writer
	terminal bool
}

func (p *compareProgress) next(now compare.Progress) {
	if now.Cell > now.Cells {
		return
	}
	line := fmt.Sprintf("%d of %d  %s: %s", now.Cell, now.Cells, now.Scenario, now.Style)
	for _, param := range now.Params {
		line += fmt.Sprintf(", %s %s", param.Name, param.Value)
	}
	line += fmt.Sprintf("  (about %s left)", now.Left.Round(time.Second))
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.out, line)
}

func (p *compareProgress) end() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

type compareServiceCmd struct {
	Kind string `arg:"" help:"Child to be."`
}

func (c *compareServiceCmd) Run(a *app) error {
	return compare.Child(context.WithoutCancel(a.ctx), c.Kind, scenarios())
}
