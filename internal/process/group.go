package process

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/tandem-hybrid/tandem"
)

// Group is processes that end together. Launch, Addr and Stop are for one goroutine at a time.
type Group struct {
	dir     string
	command []string
	starter *starter
	taken   map[string]bool // addresses that were given away

	mu        sync.Mutex // guards processes
	processes []*Process // in the order they were launched
}

// NewGroup prepares to launch children whose log files lie in dir/logs. command starts one: the program, its arguments,
// and then its kind. Who has the group must call Stop.
func NewGroup(dir string, command []string) (*Group, error) {
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: "make a directory for log files", Err: err}
	}
	return &Group{dir: dir, command: command, starter: newStarter(), taken: map[string]bool{}}, nil
}

// LowerPriority starts the children from now on with a lower priority than this process, where the system can, so that a
// generator of load keeps its times on a machine that is busy with what it measures.
func (g *Group) LowerPriority() { g.starter.do(lowerPriority) }

// Self is the command that starts this binary with an argument, for NewGroup.
func Self(argument string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, tandem.Wrap("find this program", err)
	}
	return []string{self, argument}, nil
}

// Addr returns an address on loopback that nobody listens on and that it has not returned before.
func (g *Group) Addr() (string, error) { return freeAddr(g.taken) }

// Launch starts a child of a kind under a name and returns when it answers on set.Listen, which the caller chooses with Addr.
// From then on it is kept alive. Code: Unavailable.
func (g *Group) Launch(ctx context.Context, name, kind string, set Settings) (*Process, error) {
	p := &Process{Name: name, Addr: set.Listen, kind: kind, command: g.command, set: set, logPath: logPath(g.dir, name), starter: g.starter}
	g.mu.Lock()
	g.processes = append(g.processes, p)
	g.mu.Unlock()
	return p, p.launch(ctx)
}

// Processes returns all children in the order they were launched.
func (g *Group) Processes() []*Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.processes)
}

// Process returns a child by its name, or nil.
func (g *Group) Process(name string) *Process {
	for _, p := range g.Processes() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Stop ends the server, which drains, then the others in the order they were launched, and waits for them.
func (g *Group) Stop() {
	if server := g.Process(Server); server != nil {
		server.stop()
	}
	for _, p := range g.Processes() {
		p.stop()
	}
	g.starter.stop()
}
