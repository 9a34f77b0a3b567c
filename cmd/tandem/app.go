package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/tandem-hybrid/tandem"
)

// Exit statuses. They are stable; help lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 3
	exitNotFound    = 4
	exitForbidden   = 5
	exitConflict    = 6
)

const description = `Requests for answers, events for everything that follows from them: a REST gateway and a durable event log in one program.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 server not reachable or too busy (try again later), 4 not found, 5 not allowed, 6 conflict with what is there.`

// cli is every subcommand.
type cli struct {
	Serve         serveCmd          `cmd:"" help:"Run a server."`
	Check         checkCmd          `cmd:"" help:"Check a configuration and show what it wires together."`
	Publish       publishCmd        `cmd:"" help:"Publish events to a topic."`
	Tail          tailCmd           `cmd:"" help:"Show events of topics as they are stored."`
	Streams       streamsCmd        `cmd:"" help:"Show who is connected to what."`
	Topics        topicsCmd         `cmd:"" help:"List, show, create and delete topics."`
	Subscriptions subscriptionsCmd  `cmd:"" aliases:"subs" help:"List, show, create, test, pause, resume, seek, replay and delete subscriptions."`
	Pull          pullCmd           `cmd:"" help:"Lease events of a subscription that is pulled."`
	Deliveries    deliveriesCmd     `cmd:"" help:"Show what became of events, on which attempt, and why not."`
	Flow          flowCmd           `cmd:"" help:"Show what one cause set off, as a tree with times."`
	Explain       explainCmd        `cmd:"" help:"Say why an event arrived or did not."`
	DeadLetters   deadLettersCmd    `cmd:"" name:"dead-letters" help:"List, show, redrive and discard what could not be delivered."`
	Migrate       migrateCmd        `cmd:"" help:"Copy everything to another engine, with the places of all who read."`
	Relay         relayCmd          `cmd:"" help:"Publish what services write to an outbox in PostgreSQL."`
	Demo          demoCmd           `cmd:"" help:"Start an example: a shop of five services, or a fleet of vehicles."`
	Compare       compareCmd        `cmd:"" help:"Run the same work as requests and as events, and report what each costs."`
	CompareChild  compareServiceCmd `cmd:"" hidden:"" name:"compare-service"`
	DemoService   demoServiceCmd    `cmd:"" hidden:"" name:"demo-service"`
	Version       versionCmd        `cmd:"" help:"Print the version."`
}

// app is what a subcommand runs with.
type app struct {
	ctx    context.Context
	stdin  io.Reader
	stdout *writer
	stderr io.Writer
	colour bool // of stdout
	width  int  // of the terminal behind stdout; zero when there is none
}

// run runs a command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{ctx: ctx, stdin: stdin, stdout: &writer{w: stdout}, stderr: stderr}
	if f, ok := terminal(stdout); ok {
		a.width = 80
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			a.width = w
		}
		a.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	left := false // kong has printed help and wants to exit
	parser, err := kong.New(&cli{}, kong.Name("tandem"), kong.Description(description), kong.Writers(a.stdout, stderr),
		kong.Exit(func(int) { left = true }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}), variables())
	if err != nil {
		return a.fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	switch {
	case left:
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "tandem: %v (%s shows how)\n", err, strings.Join(append(append([]string{"tandem"}, commandWords(parser, args)...), "--help"), " "))
		return exitUsage
	}
	if err := parsed.Run(a); err != nil {
		return a.fail(err)
	}
	return a.fail(a.stdout.err)
}

// commandWords returns the leading arguments that name a command.
func commandWords(k *kong.Kong, args []string) (words []string) {
	node := k.Model.Node
next:
	for _, arg := range args {
		for _, child := range node.Children {
			if child.Name == arg && child.Type == kong.CommandNode {
				words, node = append(words, arg), child
				continue next
			}
		}
		break
	}
	return words
}

// terminal returns the file behind a stream if that is a terminal.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// Failures that have been reported already.
var (
	errQuiet      = errors.New("failed")
	errQuietInput = errors.New("the input is wrong")
)

// fail reports an error and returns the exit status that goes with it.
func (a *app) fail(err error) int {
	switch {
	case err == nil, errors.Is(a.stdout.err, syscall.EPIPE): // nobody reads on: that is how a pipe ends. Other connections break loudly
		return exitOK
	case errors.Is(err, errQuiet):
		return exitFailed
	case errors.Is(err, errQuietInput):
		return exitUsage
	}
	fmt.Fprintln(a.stderr, "tandem: "+explain(err))
	switch tandem.CodeOf(err) {
	case tandem.CodeInvalid, tandem.CodeTooLarge, tandem.CodeMediaType:
		return exitUsage
	case tandem.CodeUnavailable, tandem.CodeOverloaded, tandem.CodeTimeout:
		return exitUnavailable
	case tandem.CodeNotFound, tandem.CodeGone:
		return exitNotFound
	case tandem.CodeUnauthorized, tandem.CodeForbidden:
		return exitForbidden
	case tandem.CodeConflict, tandem.CodePrecondition:
		return exitConflict
	}
	return exitFailed
}

// explain writes an error as "what: why (hint)", and each wrong field on a line of its own when there are several.
func explain(err error) string {
	var e *tandem.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	var ops, fields []string
	hint := ""
	for {
		if e.Op != "" && (len(ops) == 0 || !strings.Contains(e.Op, " /v1/")) { // people know what they asked for, not by which request
			ops = append(ops, e.Op)
		}
		for _, f := range e.Fields {
			fields = append(fields, f.Pointer+": "+f.Detail)
		}
		if hint == "" {
			hint = e.Hint
		}
		next, ok := e.Err.(*tandem.Error) //nolint:errorlint // the next of the chain, and none of several that were joined
		if !ok {
			break
		}
		e = next
	}
	text := strings.Join(append(ops, why(e)), ": ")
	if len(fields) == 1 {
		text += ": " + fields[0]
	}
	if hint != "" {
		text += " (" + hint + ")"
	}
	if len(fields) > 1 {
		text += "\n  " + strings.Join(fields, "\n  ")
	}
	return text
}

// why is the cause at the end of a chain, each on a line when there are several.
func why(e *tandem.Error) string {
	if e.Err == nil {
		return string(e.Code)
	}
	var several interface{ Unwrap() []error }
	if !errors.As(e.Err, &several) {
		return e.Err.Error()
	}
	var lines []string
	for _, err := range several.Unwrap() {
		lines = append(lines, explain(err))
	}
	return strings.Join(lines, "\n  ")
}

// writer remembers the first error, so that output needs no check at each line.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}

// style wraps text in a colour where colours are wanted.
func (a *app) style(code, text string) string {
	if !a.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)
