package process

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// System is a running Tandem server and the services around it.
type System struct {
	*Group
	Public, API string            // base URLs of the server
	URLs        map[string]string // of the services, by name
}

// Plan is what a system is started from.
type Plan struct {
	Config   []byte            // tandem.yaml; data, addresses and the URLs of services are replaced
	Services []string          // to launch, in this order, after the server; the names are those of Config, and the kinds
	URLs     map[string]string // of services that run elsewhere
	Settings Settings          // of all services, without Listen, Data and API
	Embedded bool              // as in Settings, of the server
	// Public and API are the addresses of the server; port 0 picks a free one. Empty means the usual ones, or free ones where
	// these are taken.
	Public, API string
	// Front, when set, returns under which base URL others reach a process, given its own: a proxy before it. It is asked
	// for each service, and for the server's API under the name Server.
	Front func(name, url string) (string, error)
}

// StartSystem starts everything and returns when all answer. The caller stops the group, also after an error.
func StartSystem(ctx context.Context, g *Group, plan Plan) (*System, error) {
	public, err := chooseAddr(plan.Public, "127.0.0.1:8080", g.taken)
	if err != nil {
		return nil, tandem.Wrap("choose the public address", err)
	}
	api, err := chooseAddr(plan.API, "127.0.0.1:8090", g.taken)
	if err != nil {
		return nil, tandem.Wrap("choose the API address", err)
	}
	front := plan.Front
	if front == nil {
		front = func(_, url string) (string, error) { return url, nil }
	}
	s := &System{Group: g, Public: "http://" + public, API: "http://" + api, URLs: map[string]string{}}
	services := ServicesDir(g.dir)
	addrs, fronts := map[string]string{}, map[string]string{}
	for _, name := range plan.Services {
		if addrs[name], err = g.Addr(); err != nil {
			return nil, tandem.Wrap("choose an address", err)
		}
		s.URLs[name] = "http://" + addrs[name]
	}
	for name, url := range plan.URLs {
		s.URLs[name] = url
	}
	for name, url := range s.URLs {
		if fronts[name], err = front(name, url); err != nil {
			return nil, tandem.Wrap("open a way to "+name, err)
		}
	}
	apiFront, err := front(Server, s.API)
	if err != nil {
		return nil, tandem.Wrap("open a way to the API", err)
	}
	file := filepath.Join(g.dir, "tandem.yaml")
	body, err := render(plan.Config, filepath.Join(g.dir, "tandem"), public, api, fronts)
	if err == nil {
		err = os.WriteFile(file, body, 0o600)
	}
	if err != nil {
		return nil, tandem.Wrap("write tandem.yaml", err)
	}
	server, err := g.Launch(ctx, Server, Server, Settings{Config: file, Embedded: plan.Embedded})
	if err != nil {
		return nil, err
	}
	server.Addr = public
	for _, name := range plan.Services {
		set := plan.Settings
		set.Listen, set.Data, set.API = addrs[name], services, apiFront
		if _, err := g.Launch(ctx, name, name, set); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ServicesDir is where the services of a system keep their data, in the directory of its group. They make it.
func ServicesDir(dir string) string { return filepath.Join(dir, "services") }

// render puts this run's directory and addresses into a configuration, and leaves the rest as it is.
func render(config []byte, data, public, api string, urls map[string]string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(config, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, tandem.Errorf(tandem.CodeInvalid, "tandem.yaml is not a mapping")
	}
	set := func(value string, path ...string) {
		n := doc.Content[0]
		for _, key := range path {
			n = member(n, key)
		}
		n.SetString(value)
	}
	set(data, "data")
	set(public, "public", "listen")
	set(api, "api", "listen")
	for name, url := range urls {
		set(url, "services", name, "url")
	}
	var out bytes.Buffer
	err := yaml.NewEncoder(&out).Encode(&doc)
	return out.Bytes(), err
}

// member returns the value of a key of a mapping, which it adds when it is not there.
func member(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	value := &yaml.Node{}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
	return value
}
