package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// system is a running example: the server and the services.
type system struct {
	public, api string            // base URLs
	urls        map[string]string // of the services, by name
	processes   []*process        // in the order they were started
	starter     *starter
}

// plan is what a system is started from.
type plan struct {
	config      []byte   // tandem.yaml
	services    []string // in the order to start them
	public, api string   // addresses, as in Options
	command     []string // as in Options
	set         settings // of all services, without Listen
}

// startSystem starts everything in a directory and returns when all answer.
func startSystem(ctx context.Context, dir string, from plan) (_ *system, err error) {
	for _, d := range []string{"logs", "services"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: "start the demo", Err: err}
		}
	}
	taken := map[string]bool{}
	public, err := chooseAddr(from.public, "127.0.0.1:8080", taken)
	if err != nil {
		return nil, tandem.Wrap("choose the public address", err)
	}
	api, err := chooseAddr(from.api, "127.0.0.1:8090", taken)
	if err != nil {
		return nil, tandem.Wrap("choose the API address", err)
	}
	command := from.command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, tandem.Wrap("find this program", err)
		}
		command = []string{self, "demo-service"}
	}

	s := &system{public: "http://" + public, api: "http://" + api, urls: map[string]string{}, starter: newStarter()}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	addrs := map[string]string{}
	for _, name := range from.services {
		if addrs[name], err = freeAddr(taken); err != nil {
			return nil, tandem.Wrap("choose an address", err)
		}
		s.urls[name] = "http://" + addrs[name]
	}
	file := filepath.Join(dir, "tandem.yaml")
	body, err := render(from.config, filepath.Join(dir, "tandem"), public, api, s.urls)
	if err == nil {
		err = os.WriteFile(file, body, 0o600)
	}
	if err != nil {
		return nil, tandem.Wrap("write tandem.yaml", err)
	}
	launch := func(name, addr string, set settings) error {
		p := &process{name: name, addr: addr, command: command, set: set, logPath: logPath(dir, name), starter: s.starter}
		s.processes = append(s.processes, p)
		return p.launch(ctx)
	}
	if err := launch(serverName, public, settings{Config: file}); err != nil {
		return nil, err
	}
	for _, name := range from.services {
		set := from.set
		set.Listen, set.Data, set.API = addrs[name], filepath.Join(dir, "services"), s.api
		if err := launch(name, addrs[name], set); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// stop ends the server, which drains, then the services, and waits for them.
func (s *system) stop() {
	for _, p := range s.processes {
		p.stop()
	}
	s.starter.stop()
}

func (s *system) process(name string) *process {
	for _, p := range s.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Kill kills a child as kill -9 does; the demo starts it again. Names are "server" and those of the services.
func (s *system) Kill(name string) { s.process(name).kill() }

// Stop ends a child and keeps it down until Start.
func (s *system) Stop(name string) { s.process(name).hold() }

// Start starts a child that Stop ended.
func (s *system) Start(name string) { s.process(name).release() }

// render puts this run's directory and addresses into an example's configuration, and leaves the rest as it is.
func render(config []byte, data, public, api string, urls map[string]string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(config, &doc); err != nil {
		return nil, err
	}
	set := func(value string, path ...string) error {
		n := doc.Content[0]
		for _, key := range path {
			if n = member(n, key); n == nil {
				return fmt.Errorf("tandem.yaml has no %v", path)
			}
		}
		n.SetString(value)
		return nil
	}
	err := set(data, "data")
	if err == nil {
		err = set(public, "public", "listen")
	}
	if err == nil {
		err = set(api, "api", "listen")
	}
	for name, url := range urls {
		if err == nil {
			err = set(url, "services", name, "url")
		}
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = yaml.NewEncoder(&out).Encode(&doc)
	return out.Bytes(), err
}

// member returns the value of a key of a mapping.
func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// list prints what runs where.
func (s *system) list(out io.Writer) {
	for _, p := range s.processes {
		fmt.Fprintf(out, "  %-13s http://%s  pid %d\n", p.name, p.addr, p.pid())
	}
}
