package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

type document struct {
	doc map[string]any
}

func loadDocument(t *testing.T) document {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapiDocument))
	if err != nil {
		t.Fatal(err)
	}
	return document{v.(map[string]any)}
}

func (d document) at(path ...string) any {
	var v any = d.doc
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// schemas compiles schemas of the document by their place in it.
type schemas struct {
	t *testing.T
	c *jsonschema.Compiler
}

func newSchemas(t *testing.T, d document) schemas {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("mem:api", d.doc); err != nil {
		t.Fatal(err)
	}
	return schemas{t, c}
}

// check validates a body against the schema at a place of the document.
func (s schemas) check(body []byte, place ...string) error {
	s.t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B")
	for i := range place {
		place[i] = escape.Replace(place[i])
	}
	sch, err := s.c.Compile("mem:api#/" + strings.Join(place, "/"))
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return sch.Validate(v)
}
