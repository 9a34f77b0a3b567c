package compare

import (
	"bytes"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// The styles of a link, as `mode` of a subscription has them.
const (
	Request = "request"
	Event   = "event"
)

// Restyle returns a tandem.yaml whose subscriptions are in a mode: those that are named, or all that call a service when none
// is. Nothing else of the file changes. Code: Invalid, for what is no tandem.yaml and for a name that it does not have.
func Restyle(config []byte, mode string, names ...string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(config, &doc); err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: "read tandem.yaml", Err: err}
	}
	changed := []string{}
	if len(doc.Content) == 1 {
		eachPair(value(doc.Content[0], "subscriptions"), func(name string, sub *yaml.Node) {
			calls := value(sub, "service") != nil || value(sub, "url") != nil
			if len(names) == 0 && !calls || len(names) > 0 && !slices.Contains(names, name) {
				return
			}
			changed = append(changed, name)
			if old := value(sub, "mode"); old != nil {
				old.SetString(mode)
				return
			}
			key, val := &yaml.Node{}, &yaml.Node{}
			key.SetString("mode")
			val.SetString(mode)
			sub.Content = append(sub.Content, key, val)
		})
	}
	for _, name := range names {
		if !slices.Contains(changed, name) {
			return nil, tandem.Errorf(tandem.CodeInvalid, "tandem.yaml has no subscription %q", name)
		}
	}
	if len(changed) == 0 {
		return nil, tandem.Errorf(tandem.CodeInvalid, "tandem.yaml has no subscription that calls a service, so there is nothing to compare")
	}
	var out bytes.Buffer
	err := yaml.NewEncoder(&out).Encode(&doc)
	return out.Bytes(), err
}

// value returns the value of a key of a mapping, or nil.
func value(n *yaml.Node, key string) (found *yaml.Node) {
	eachPair(n, func(k string, v *yaml.Node) {
		if k == key {
			found = v
		}
	})
	return found
}

func eachPair(n *yaml.Node, each func(key string, value *yaml.Node)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		each(n.Content[i].Value, n.Content[i+1])
	}
}
