package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// node is a place in the tree of paths. A tree of our own, and not http.ServeMux, for three reasons: the mux panics at a
// conflict, which for us is a line of a file that a person is told about; routes of a reload are built beside the old
// ones and swapped as a whole; and a mux answers for itself with redirects and plain text.
type node struct {
	literals map[string]*node
	one      *node       // {name}
	ends     []*endpoint // of patterns that end here
	tails    []*endpoint // of patterns with {name...} here
}

// params are the values of the placeholders, in the order of the pattern.
type params struct {
	n int
	v [maxParams]string
}

func (n *node) add(e *endpoint) {
	for _, s := range e.pattern.segs {
		switch s.kind {
		case tail:
			n.tails = append(n.tails, e)
			return
		case one:
			if n.one == nil {
				n.one = &node{}
			}
			n = n.one
		default:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			next := n.literals[s.text]
			if next == nil {
				next = &node{}
				n.literals[s.text] = next
			}
			n = next
		}
	}
	n.ends = append(n.ends, e)
}

// match returns the endpoint for a method and an escaped path that begins with a slash. Without one, allow has the
// methods that the path takes, none when it is unknown. Patterns that match the same request are ordered by how specific
// they are (Check saw to that), so the first found, literals before placeholders, is the right one.
func (n *node) match(method, path string, p *params) (e *endpoint, allow []string) {
	if path == "" || path[0] != '/' {
		return nil, nil
	}
	if e = n.find(method, path[1:], p, nil); e == nil {
		n.find("", path[1:], p, &allow)
	}
	return e, allow
}

func (n *node) find(method, rest string, p *params, allow *[]string) *endpoint {
	seg, next, more := strings.Cut(rest, "/")
	seg = unescape(seg)
	if child := n.literals[seg]; child != nil {
		if e := child.below(method, next, more, p, allow); e != nil {
			return e
		}
	}
	if n.one != nil && seg != "" {
		p.v[p.n] = seg
		p.n++
		if e := n.one.below(method, next, more, p, allow); e != nil {
			return e
		}
		p.n--
	}
	if e := choose(n.tails, method, allow); e != nil {
		p.v[p.n] = unescape(rest)
		p.n++
		return e
	}
	return nil
}

func (n *node) below(method, next string, more bool, p *params, allow *[]string) *endpoint {
	if more {
		return n.find(method, next, p, allow)
	}
	return choose(n.ends, method, allow)
}

// choose picks by method: the one that names it, for HEAD one that names GET, one for every method. With allow it picks
// none and notes what each takes.
func choose(list []*endpoint, method string, allow *[]string) (found *endpoint) {
	rank := 0
	for _, e := range list {
		switch m := e.pattern.methods; {
		case allow != nil:
			*allow = append(*allow, m...)
		case slices.Contains(m, method):
			return e
		case method == http.MethodHead && slices.Contains(m, http.MethodGet):
			found, rank = e, 2
		case m == nil && rank < 1:
			found, rank = e, 1
		}
	}
	return found
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	u, err := url.PathUnescape(s)
	if err != nil {
		return s // cannot be: package http parsed it
	}
	return u
}

// smuggles reports whether an escaped path has parts that a service may resolve to another path than the one that was
// matched, and authorized, here: empty, "." and ".." segments, plain or encoded, also behind an encoded slash or a
// backslash.
func smuggles(path string) bool {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") && !strings.ContainsAny(path, "%\\") {
		return false
	}
	if strings.Contains(path, "//") {
		return true
	}
	for part := range strings.FieldsFuncSeq(unescape(path), func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return true
		}
	}
	return false
}
