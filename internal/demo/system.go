package demo

import (
	"context"
	"fmt"
	"io"

	"github.com/tandem-hybrid/tandem/internal/process"
)

// system is a running example: the server and the services.
type system struct{ *process.System }

// startSystem starts everything in a directory and returns when all answer. argv is as in Options.Command.
func startSystem(ctx context.Context, dir string, argv []string, plan process.Plan) (*system, error) {
	if len(argv) == 0 {
		var err error
		if argv, err = process.Self(command); err != nil {
			return nil, err
		}
	}
	g, err := process.NewGroup(dir, argv)
	if err != nil {
		return nil, err
	}
	s, err := process.StartSystem(ctx, g, plan)
	if err != nil {
		g.Stop()
		return nil, err
	}
	return &system{s}, nil
}

// stop ends the server, which drains, then the services, and waits for them.
func (s *system) stop() { s.Group.Stop() }

// Kill kills a child as kill -9 does; the demo starts it again. Names are "server" and those of the services.
func (s *system) Kill(name string) { s.Process(name).Kill() }

// Stop ends a child and keeps it down until Start.
func (s *system) Stop(name string) { s.Process(name).Hold() }

// Start starts a child that Stop ended.
func (s *system) Start(name string) { s.Process(name).Start() }

// list prints what runs where.
func (s *system) list(out io.Writer) {
	for _, p := range s.Processes() {
		fmt.Fprintf(out, "  %-13s http://%s  pid %d\n", p.Name, p.Addr, p.PID())
	}
}
