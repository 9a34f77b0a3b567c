package html

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// node is an element of a page, or the page.
type node struct {
	name  string
	attrs map[string]string
	kids  []*node
	said  string // the text of a text
}

// pageFor writes a page and parses it.
func pageFor(t *testing.T, r *compare.Report) (page string, root *node) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	page = b.String()
	dec := xml.NewDecoder(&b)
	dec.Strict, dec.AutoClose, dec.Entity = false, []string{"meta"}, xml.HTMLEntity
	root = &node{}
	for open := []*node{root}; ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return page, root
		}
		if err != nil {
			t.Fatal(err)
		}
		top := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			top.kids, open = append(top.kids, n), append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			top.kids = append(top.kids, &node{said: string(token)})
		case xml.Comment:
			t.Errorf("a comment: %s", token)
		}
	}
}

// all returns the elements below n of a name, such as "tr", and perhaps of a class, such as "tr.group", in the order of the page.
func (n *node) all(what string) (found []*node) {
	name, class, _ := strings.Cut(what, ".")
	for _, k := range n.kids {
		if k.name != "" && (name == "*" || k.name == name) && (class == "" || strings.Contains(" "+k.attrs["class"]+" ", " "+class+" ")) {
			found = append(found, k)
		}
		found = append(found, k.all(what)...)
	}
	return found
}

// text is what n says, with single spaces.
func (n *node) text() string {
	var b strings.Builder
	var add func(*node)
	add = func(n *node) {
		b.WriteString(n.said)
		for _, k := range n.kids {
			add(k)
			b.WriteByte(' ')
		}
	}
	add(n)
	return strings.Join(strings.Fields(b.String()), " ")
}
