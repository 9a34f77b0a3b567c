package compare

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"path/filepath"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Env is what one trial starts and measures with. It is new for each trial, and all that it started is gone after it.
// Start and Launch are for one goroutine at a time.
type Env struct {
	Dir     string // for whatever the trial keeps; its size counts as disk bytes
	Seed    uint64 // of this trial: repeats of a cell differ in it
	Options Options
	Group   *process.Group
	// Client counts what goes over the wire and follows no redirects. Whoever sends load uses it; whoever only looks at the
	// result uses another one.
	Client *http.Client

	wire    wire
	proxies proxies
	system  *process.System
}

func newEnv(dir string, seed uint64, o Options) (*Env, error) {
	command := o.Command
	if len(command) == 0 {
		var err error
		if command, err = process.Self(childCommand); err != nil {
			return nil, err
		}
	}
	g, err := process.NewGroup(dir, command)
	if err != nil {
		return nil, err
	}
	g.LowerPriority()
	e := &Env{Dir: dir, Seed: seed, Options: o, Group: g}
	e.Client = newClient(&e.wire, func(host string) bool {
		return e.proxies.find(func(p *proxy) bool { return p.addr == host }) != nil
	})
	return e, nil
}

// close ends everything.
func (e *Env) close() {
	e.Client.CloseIdleConnections()
	e.proxies.close()
	e.Group.Stop()
}

// Start starts a Tandem server and services. Between them, and before the server's API for services that publish, stand
// proxies that count and can be told to fail. The API of the system that it returns is the server's own.
func (e *Env) Start(ctx context.Context, plan process.Plan) (*process.System, error) {
	plan.Front = func(name, url string) (string, error) { return e.front(ctx, name, url) }
	plan.Public, plan.API, plan.Embedded = "127.0.0.1:0", "127.0.0.1:0", true
	s, err := process.StartSystem(ctx, e.Group, plan)
	e.system = s
	return s, err
}

// Launch starts one service of the scenario and returns the base URL of the proxy before it, for whoever calls it and for
// the URLs of a Plan. more is what the service finds in Settings.More.
func (e *Env) Launch(ctx context.Context, name, kind string, more any) (string, error) {
	addr, err := e.Group.Addr()
	if err != nil {
		return "", err
	}
	set := process.Settings{Listen: addr, Data: e.ServicesDir(), Seed: e.Seed}
	if p := e.proxies.before(process.Server); p != nil {
		set.API = "http://" + p.addr
	}
	if set.More, err = json.Marshal(more); err != nil {
		return "", err
	}
	url, err := e.front(ctx, name, "http://"+addr)
	if err != nil {
		return "", err
	}
	_, err = e.Group.Launch(ctx, name, kind, set)
	return url, err
}

// ServicesDir is where services keep what they keep: Settings.Data.
func (e *Env) ServicesDir() string { return process.ServicesDir(e.Dir) }

func (e *Env) front(ctx context.Context, name, target string) (string, error) {
	if p := e.proxies.before(name); p != nil && target == "http://"+p.addr {
		return target, nil // launched before
	}
	addr, err := e.Group.Addr()
	if err != nil {
		return "", err
	}
	p, err := newProxy(ctx, name, addr, target, &e.wire, e.Seed+uint64(e.proxies.len()))
	if err != nil {
		return "", tandem.Wrap("open a proxy before "+name, err)
	}
	e.proxies.add(p)
	return "http://" + addr, nil
}

// diskBytes adds up the files of the trial, without logs.
func (e *Env) diskBytes() (n int64) {
	_ = filepath.WalkDir(e.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // a file that is gone meanwhile has no size
		}
		if d.IsDir() && path == filepath.Join(e.Dir, "logs") {
			return fs.SkipDir
		}
		if info, ierr := d.Info(); ierr == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
