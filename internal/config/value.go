package config

import (
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/condition"
)

const (
	// maxFileBytes bounds a file.
	maxFileBytes = 1 << 20
	// maxValues bounds how many values are read from a file, each as often as aliases repeat it.
	maxValues = 100_000
	// maxDepth bounds nesting; no key needs more than a filter within filters does.
	maxDepth = 40
	// maxKeyBytes bounds a key: keys are repeated in the paths of all that is below them.
	maxKeyBytes = 256
)

// parser reads the nodes of one file into Options.
type parser struct {
	problems
	values     int                   // read so far
	places     map[string]*yaml.Node // by JSON pointer: where later checks point to
	faulty     map[string]bool       // by JSON pointer: values reported already
	conditions *condition.Compiler
	// known, when set, is told the keys that are allowed in each mapping read.
	known func(pointer string, keys []string)
}

// value is a node of the file and its JSON pointer.
type value struct {
	node    *yaml.Node
	pointer string
}

// at returns the value at a pointer, with all aliases resolved. It reports false, and once an error, when the file
// holds too many values.
func (p *parser) at(n *yaml.Node, pointer string) (value, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	p.values++
	if p.values > maxValues || strings.Count(pointer, "/") > maxDepth {
		if p.values < 2*maxValues {
			p.values = 2 * maxValues
			p.fail(n, "", "too many values or too deep: aliases may expand to %d values, %d levels deep", maxValues, maxDepth)
		}
		return value{}, false
	}
	p.places[pointer] = n
	return value{n, pointer}, true
}

// bad reports an error of a value.
func (p *parser) bad(v value, format string, args ...any) {
	p.faulty[v.pointer] = true
	p.fail(v.node, v.pointer, format, args...)
}

// failPointer reports an error at a pointer of the file, or at the nearest value that holds it. It is for checks after
// reading, which know nothing new of a value that was bad already.
func (p *parser) failPointer(pointer, format string, args ...any) {
	for at := pointer; at != ""; at = at[:strings.LastIndexByte(at, '/')] {
		if p.faulty[at] {
			return
		}
	}
	p.faulty[pointer] = true
	p.fail(p.nearest(pointer), pointer, format, args...)
}

// failFields reports an error of another package, whose fields are pointers below one of the file. It leaves out what is
// said of a whole that had a bad part: the fault may be that the part is missing.
func (p *parser) failFields(pointer string, err error) {
	var e *tandem.Error
	switch {
	case err == nil:
	case errors.As(err, &e) && len(e.Fields) > 0:
		for _, f := range e.Fields {
			if at := pointer + f.Pointer; !p.badBelow(at) {
				p.failPointer(at, "%s", f.Detail)
			}
		}
	default:
		p.failPointer(pointer, "%v", err)
	}
}

func (p *parser) badBelow(pointer string) bool {
	for at := range p.faulty {
		if strings.HasPrefix(at, pointer+"/") {
			return true
		}
	}
	return false
}

func (p *parser) nearest(pointer string) *yaml.Node {
	for {
		if n, ok := p.places[pointer]; ok {
			return n
		}
		i := strings.LastIndexByte(pointer, '/')
		if i < 0 {
			return &yaml.Node{Line: 1, Column: 1}
		}
		pointer = pointer[:i]
	}
}

// entry is a key of a mapping and its value.
type entry struct {
	key *yaml.Node
	value
}

// entries returns the entries of a mapping and reports keys given twice. A missing value (a key with nothing behind
// it) is an empty mapping.
func (p *parser) entries(v value, what string) []entry {
	if isNull(v.node) {
		return nil
	}
	if v.node.Kind != yaml.MappingNode {
		p.bad(v, "must be %s, not %s", what, kind(v.node))
		return nil
	}
	seen := make(map[string]*yaml.Node, len(v.node.Content)/2)
	var es []entry
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k := v.node.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			p.fail(k, v.pointer, "a key must be text, not %s", kind(k))
			continue
		case len(k.Value) > maxKeyBytes:
			p.fail(k, v.pointer, "a key is longer than %d bytes", maxKeyBytes)
			continue
		case k.ShortTag() == "!!merge":
			p.fail(k, v.pointer, `merge keys ("<<") are not supported; repeat the keys, or use an alias for a whole value`)
			continue
		}
		if first := seen[k.Value]; first != nil {
			p.fail(k, v.pointer, "key %q is given twice; the first is in line %d", k.Value, first.Line)
			continue
		}
		seen[k.Value] = k
		pointer := join(v.pointer, k.Value)
		if ev, ok := p.at(v.node.Content[i+1], pointer); ok {
			es = append(es, entry{k, ev})
		}
	}
	return es
}

// items returns the items of a list. A missing value is an empty list.
func (p *parser) items(v value, what string) []value {
	if isNull(v.node) {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		p.bad(v, "must be a list of %s, not %s", what, kind(v.node))
		return nil
	}
	var vs []value
	for i, n := range v.node.Content {
		if iv, ok := p.at(n, join(v.pointer, strconv.Itoa(i))); ok {
			vs = append(vs, iv)
		}
	}
	return vs
}

// field is one key of a mapping that is read into a T.
type field[T any] struct {
	name string
	read func(p *parser, v value, into *T)
	// later, when set, refuses the key with this text: the version to come will read it.
	later string
}

// object reads a mapping with fixed keys.
func object[T any](p *parser, v value, fields []field[T], into *T) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if p.known != nil {
		p.known(v.pointer, names)
	}
entries:
	for _, e := range p.entries(v, "a mapping with the keys "+strings.Join(names, ", ")) {
		for _, f := range fields {
			switch {
			case f.name != e.key.Value:
				continue
			case f.later != "":
				p.faulty[e.pointer] = true
				p.fail(e.key, e.pointer, "%s", f.later)
			default:
				f.read(p, e.value, into)
			}
			continue entries
		}
		p.fail(e.key, v.pointer, "unknown key %q; %s", e.key.Value, didYouMean(e.key.Value, names))
	}
}
