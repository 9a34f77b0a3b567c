package config

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// filter compiles a filter, its conditions too, and reports its faults where they are in the file.
func (p *parser) filter(v value, into *tandem.Filter) {
	before := len(p.errors) + p.dropped
	tree := p.tree(v)
	if len(p.errors)+p.dropped > before {
		return
	}
	f, err := tandem.FilterOf(tree)
	if err == nil {
		f, err = f.Bind(p.conditions.Compile)
	}
	if err != nil {
		p.failFields(v.pointer, err)
		return
	}
	*into = f
}

// tree returns a value as plain maps, slices and scalars.
func (p *parser) tree(v value) any {
	switch v.node.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, e := range p.entries(v, "a filter") {
			m[e.key.Value] = p.tree(e.value)
		}
		return m
	case yaml.SequenceNode:
		var list []any
		for _, item := range p.items(v, "filters") {
			list = append(list, p.tree(item))
		}
		return list
	}
	switch v.node.ShortTag() {
	case "!!bool":
		return v.node.Value == "true"
	case "!!int":
		if n, err := strconv.ParseInt(v.node.Value, 10, 64); err == nil {
			return n
		}
	case "!!null":
		return nil
	}
	return v.node.Value
}
