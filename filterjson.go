package tandem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// ParseFilter reads a filter in JSON: {"exact":{"type":"x"}}, {"prefix":{…}}, {"suffix":{…}}, {"all":[…]}, {"any":[…]},
// {"not":{…}}, {"sql":"…"}, {"cel":"…"}. An array means all of its filters, as does an object with several dialects;
// {"type":"x"} is short for exact. Conditions (sql, cel) are compiled by Bind. An empty object or array and null are the zero Filter. Several attributes under one dialect must all match.
//
// Code: Invalid, with the place in Fields.
func ParseFilter(b []byte) (Filter, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := decodeTree(dec, "", 0)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("text after the value")
		}
	}
	var bad *Error
	if errors.As(err, &bad) {
		return Filter{}, bad
	}
	if err != nil {
		return Filter{}, Errorf(CodeInvalid, "malformed JSON in a filter: %w", err)
	}
	return FilterOf(v)
}

// decodeTree is json.Unmarshal into an any, but refuses repeated members, of which that would drop all but one.
func decodeTree(dec *json.Decoder, at string, depth int) (any, error) {
	if depth > 2*MaxFilterDepth+2 {
		return nil, badFilter(at, "is nested more than %d deep", MaxFilterDepth)
	}
	tok, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m := map[string]any{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			name := key.(string)
			below := at + "/" + pointerToken(name)
			if _, again := m[name]; again {
				return nil, badFilter(below, "is there twice")
			}
			if m[name], err = decodeTree(dec, below, depth+1); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := decodeTree(dec, at+"/"+strconv.Itoa(len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	return tok, nil
}

// FilterOf compiles a filter in the form of ParseFilter from decoded JSON or YAML: maps with string keys, slices, and
// as values strings, integers and booleans, which count as their text. Code: Invalid, with the place in Fields.
func FilterOf(v any) (Filter, error) {
	switch v := v.(type) {
	case nil:
		return Filter{}, nil
	case map[string]any:
		if len(v) == 0 {
			return Filter{}, nil
		}
	case []any:
		if len(v) == 0 {
			return Filter{}, nil
		}
	}
	var c filterCompiler
	root, err := c.compile(v, "", 1)
	if err != nil {
		return Filter{}, err
	}
	return Filter{root}, nil
}

func badFilter(at, format string, args ...any) error {
	return Errorf(CodeInvalid, "not a valid filter").WithField(at, format, args...)
}

type filterCompiler struct{ nodes, conditions int }

func (c *filterCompiler) node(op filterOp, at string, depth int) (*filterNode, error) {
	if c.nodes++; c.nodes > MaxFilterNodes {
		return nil, badFilter(at, "is one too many: a filter has at most %d tests and combinations", MaxFilterNodes)
	}
	if depth > MaxFilterDepth {
		return nil, badFilter(at, "is nested more than %d deep", MaxFilterDepth)
	}
	return &filterNode{op: op}, nil
}

// compile compiles a filter at a place.
func (c *filterCompiler) compile(v any, at string, depth int) (*filterNode, error) {
	switch v := v.(type) {
	case []any:
		return c.combine(opAll, v, at, depth)
	case map[string]any:
		return c.object(v, at, depth)
	}
	return nil, badFilter(at, "must be an object or an array")
}

// object compiles an object of dialects and, in the short form, attributes.
func (c *filterCompiler) object(m map[string]any, at string, depth int) (*filterNode, error) {
	if len(m) == 0 {
		return nil, badFilter(at, "must not be empty")
	}
	if len(m) == 1 {
		for name, v := range m {
			return c.member(name, v, at, depth)
		}
	}
	all, err := c.node(opAll, at, depth)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		kid, err := c.member(name, m[name], at, depth+1)
		if err != nil {
			return nil, err
		}
		all.add(kid)
	}
	return all, nil
}

func (c *filterCompiler) member(name string, v any, at string, depth int) (*filterNode, error) {
	below := at + "/" + pointerToken(name)
	op := filterOp(slices.Index(filterOps[:], name))
	switch name {
	case "exact", "prefix", "suffix":
		m, ok := v.(map[string]any)
		if !ok || len(m) == 0 {
			return nil, badFilter(below, "must be an object of attributes and values")
		}
		if len(m) == 1 {
			for attribute, v := range m {
				return c.test(op, attribute, v, below, depth)
			}
		}
		all, err := c.node(opAll, below, depth)
		if err != nil {
			return nil, err
		}
		for _, attribute := range slices.Sorted(maps.Keys(m)) {
			kid, err := c.test(op, attribute, m[attribute], below, depth+1)
			if err != nil {
				return nil, err
			}
			all.kids = append(all.kids, kid)
		}
		return all, nil
	case "all", "any":
		list, ok := v.([]any)
		if !ok {
			return nil, badFilter(below, "must be an array of filters")
		}
		return c.combine(op, list, below, depth)
	case "not":
		n, err := c.node(opNot, below, depth)
		if err != nil {
			return nil, err
		}
		kid, err := c.compile(v, below, depth+1)
		if err != nil {
			return nil, err
		}
		n.add(kid)
		return n, nil
	case "sql", "cel":
		return c.condition(op, v, below, depth)
	}
	return c.test(opExact, name, v, at, depth)
}

func (c *filterCompiler) combine(op filterOp, list []any, at string, depth int) (*filterNode, error) {
	if len(list) == 0 {
		return nil, badFilter(at, "must not be empty")
	}
	n, err := c.node(op, at, depth)
	if err != nil {
		return nil, err
	}
	for i, v := range list {
		kid, err := c.compile(v, at+"/"+strconv.Itoa(i), depth+1)
		if err != nil {
			return nil, err
		}
		n.add(kid)
	}
	return n, nil
}

func (c *filterCompiler) test(op filterOp, name string, v any, at string, depth int) (*filterNode, error) {
	at += "/" + pointerToken(name)
	n, err := c.node(op, at, depth)
	if err != nil {
		return nil, err
	}
	if !ValidAttributeName(name) {
		return nil, badFilter(at, "is neither a dialect (exact, prefix, suffix, all, any, not, sql, cel) nor an attribute of a-z and 0-9")
	}
	switch v := v.(type) {
	case string:
		n.value = v
	case bool, int, int64, uint64:
		n.value = fmt.Sprint(v)
	case json.Number:
		n.value = v.String()
		if !canonicalInt(n.value) {
			return nil, badFilter(at, "must be a string, a 32-bit integer or a boolean")
		}
	default:
		return nil, badFilter(at, "must be a string, an integer or a boolean")
	}
	if n.value == "" {
		return nil, badFilter(at, "must not be empty")
	}
	if why := badText(n.value, true); why != "" {
		return nil, badFilter(at, "%s", why)
	}
	n.attr, n.name = attrOf(name), name
	return n, nil
}

// MarshalJSON gives a form that ParseFilter reads as the same filter; {} for the zero Filter.
func (f Filter) MarshalJSON() ([]byte, error) { return f.appendJSON(nil), nil }

// UnmarshalJSON is ParseFilter.
func (f *Filter) UnmarshalJSON(b []byte) (err error) {
	*f, err = ParseFilter(b)
	return err
}

// String returns the JSON form.
func (f Filter) String() string { return string(f.appendJSON(nil)) }

func (f Filter) appendJSON(dst []byte) []byte {
	if f.root == nil {
		return append(dst, "{}"...)
	}
	return f.root.appendJSON(dst)
}

func (n *filterNode) appendJSON(dst []byte) []byte {
	dst = append(dst, '{', '"')
	dst = append(dst, filterOps[n.op]...)
	dst = append(dst, '"', ':')
	switch n.op {
	case opAll, opAny:
		dst = append(dst, '[')
		for i, k := range n.kids {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = k.appendJSON(dst)
		}
		dst = append(dst, ']')
	case opNot:
		dst = n.kids[0].appendJSON(dst)
	case opSQL, opCEL:
		dst = appendJSONString(dst, n.value)
	default:
		dst = append(dst, '{')
		dst = appendJSONString(dst, n.name)
		dst = append(dst, ':')
		dst = appendJSONString(dst, n.value)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}
