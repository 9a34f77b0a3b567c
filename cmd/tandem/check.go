package main

import (
	"errors"
	"os"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/config"
)

type checkCmd struct {
	File   string `arg:"" optional:"" help:"Configuration (default: $TANDEM_CONFIG, else tandem.yaml)."`
	Schema bool   `help:"Print the JSON Schema of tandem.yaml, for editors."`
	output
}

func (c *checkCmd) Help() string {
	return `Prints every fault with file, line and column, or what the configuration wires together: the engine and what it declares, routes to services and topics, topics to subscriptions to services, with the mode of each link (request: the caller waits for the answer; event: stored first, delivered until taken).

Examples:
  tandem check
  tandem check shop/tandem.yaml --json
  tandem check --schema > tandem.schema.json`
}

// checked is what check prints with --json.
type checked struct {
	File     string              `json:"file"`
	Valid    bool                `json:"valid"`
	Errors   []tandem.FieldError `json:"errors,omitempty"`
	Warnings []config.Warning    `json:"warnings,omitempty"`
	Topology *topology           `json:"topology,omitempty"`
}

func (c *checkCmd) Run(a *app) error {
	if c.Schema {
		a.printf("%s", config.Schema())
		return nil
	}
	f, err := config.Read(c.File, os.LookupEnv)
	if err == nil && f.Path == "" {
		return tandem.Errorf(tandem.CodeNotFound, "there is no %s here", config.DefaultFile).WithHint("name a file: tandem check FILE")
	}
	var e *tandem.Error
	faulty := errors.As(err, &e) && errors.As(e.Err, &e) && len(e.Fields) > 0
	if err != nil && !faulty {
		return err
	}
	out := checked{File: f.Path, Valid: err == nil, Warnings: f.Warnings}
	if faulty {
		out.Errors = e.Fields
	} else {
		out.Topology = topologyOf(&f.Options)
	}
	if c.JSON {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		c.print(a, &out, faulty, e)
	}
	if faulty {
		return errQuietInput
	}
	return nil
}

func (c *checkCmd) print(a *app, out *checked, faulty bool, e *tandem.Error) {
	for _, fault := range out.Errors {
		a.printf("%s: %s\n", a.style(bold, fault.Pointer), a.style(red, fault.Detail))
	}
	for _, w := range out.Warnings {
		a.printf("%s: %s %s\n", a.style(bold, w.Place), a.style(yellow, "warning:"), w.Text)
	}
	if faulty {
		a.printf("%s: %s%s\n", out.File, count(len(out.Errors), "error"), moreErrors(e))
		return
	}
	if len(out.Warnings) > 0 {
		a.printf("\n")
	}
	out.Topology.print(a)
	a.printf("%s is valid: %s\n", out.File, out.Topology.counts())
}

func moreErrors(e *tandem.Error) string {
	if e.Hint == "" {
		return ""
	}
	return " " + e.Hint
}
