package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem/internal/condition"
	"github.com/tandem-hybrid/tandem/server"
)

// Parse reads a configuration. Name is the path of the file: messages begin with it, and relative paths in the file
// are relative to its directory. Addresses that the file does not give get their defaults. Code: Invalid, with a field
// for each of the first 20 errors whose Pointer is "name:line:column".
func Parse(name string, data []byte) (server.Options, []Warning, error) {
	p := newParser(name)
	o := p.parse(data)
	if err := p.err(); err != nil {
		return server.Options{}, p.warnings(), err
	}
	return o, p.warnings(), nil
}

func newParser(name string) *parser {
	return &parser{problems: problems{file: name}, places: map[string]*yaml.Node{}, faulty: map[string]bool{},
		conditions: condition.New(condition.Options{})}
}

func (p *parser) parse(data []byte) server.Options {
	o := server.Options{Data: server.DefaultData, PublicAddr: server.DefaultPublicAddr, APIAddr: server.DefaultAPIAddr,
		Secrets: Secret}
	if len(data) > maxFileBytes {
		p.failAt(1, 1, "the file is larger than 1 MiB")
		return o
	}
	root := p.document(data)
	if root == nil {
		o.Data = p.relative(o.Data)
		return o
	}
	v, _ := p.at(root, "")
	object(p, v, rootFields, &o)
	o.Data = p.relative(o.Data)
	p.check(&o)
	return o
}

// document returns the root of the only document, nil when there is none or it is broken.
func (p *parser) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		p.syntax(err)
		return nil
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		p.fail(&next, "", "a second document begins here; a configuration is one document")
	case !errors.Is(err, io.EOF):
		p.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntax reports an error of the YAML reader, which knows the line only.
func (p *parser) syntax(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	p.failAt(line, 1, "not YAML: "+text)
}
