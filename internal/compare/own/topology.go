package own

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/config"
)

// topology is what this scenario needs of a tandem.yaml.
type topology struct {
	yaml     []byte            // for this run: on the embedded log, on loopback, reading from nobody
	urls     map[string]string // of the services
	links    []link            // that can be a request or an event, in declared order
	fronts   []string          // services that routes call: they must be up in any style
	left     []string          // subscriptions that this run leaves out
	directly []string          // subscriptions that call a URL and not a service: not counted
}

type link struct{ name, service string }

// readTopology reads a tandem.yaml. What would reach beyond the run is taken out of it: the engine, sources, and
// subscriptions that publish to a broker; so are the listeners, which are this run's own. Codes: those of config.Load.
func readTopology(path string) (*topology, error) {
	file, err := config.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, err
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeNotFound, Op: "read the configuration", Err: err}
	}
	t := &topology{urls: map[string]string{}}
	for _, s := range file.Services {
		t.urls[s.Name] = s.URL
	}
	for _, s := range file.Subscriptions {
		switch {
		case s.AMQP != nil:
			t.left = append(t.left, s.Name)
		case s.Pull != nil:
		case s.Service == "":
			t.directly = append(t.directly, s.Name)
			t.links = append(t.links, link{name: s.Name})
		default:
			t.links = append(t.links, link{s.Name, s.Service})
		}
	}
	if len(t.links) == 0 {
		return nil, tandem.Errorf(tandem.CodeInvalid, "%s has no subscription that calls a service, so there is nothing to compare", path)
	}
	front := func(name string) {
		if name != "" && !slices.Contains(t.fronts, name) {
			t.fronts = append(t.fronts, name)
		}
	}
	for _, r := range file.Routes {
		front(r.Service)
		for _, a := range r.Authorize {
			front(a.Service)
		}
	}
	t.yaml, err = confine(body, filepath.Dir(path), t.left)
	return t, err
}

// confine takes out of a tandem.yaml what would reach beyond the run, and makes references to files absolute.
func confine(body []byte, dir string, left []string) ([]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	remove(doc.Content[0], "data", "public", "api", "engine", "sources")
	for i := 0; i+1 < len(doc.Content[0].Content); i += 2 {
		if doc.Content[0].Content[i].Value == "subscriptions" {
			remove(doc.Content[0].Content[i+1], left...)
		}
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if path, ok := strings.CutPrefix(n.Value, "file:"); ok && n.Kind == yaml.ScalarNode && !filepath.IsAbs(path) {
			n.Value = "file:" + filepath.Join(dir, path)
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(&doc)
	var out bytes.Buffer
	err = yaml.NewEncoder(&out).Encode(&doc)
	return out.Bytes(), err
}

func remove(mapping *yaml.Node, keys ...string) {
	kept := mapping.Content[:0]
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if !slices.Contains(keys, mapping.Content[i].Value) {
			kept = append(kept, mapping.Content[i], mapping.Content[i+1])
		}
	}
	mapping.Content = kept
}
