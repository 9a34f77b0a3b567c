package condition

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/tandem-hybrid/tandem"
)

func (c *celCondition) Clause(e *tandem.Event) tandem.FilterClause {
	out := tandem.FilterClause{Text: c.text}
	tree := c.c.celTree(c.text)
	if tree == nil {
		return out
	}
	x := tree.Expr()
	if parts := celParts(x); len(parts) > 1 && !c.Match(e) {
		for _, part := range parts {
			text, err := parser.Unparse(part, tree.SourceInfo())
			if err != nil {
				break
			}
			alone, err := c.c.compileCEL(text)
			if err != nil {
				break
			}
			if !alone.Match(e) {
				x, out.Text = part, text
				break
			}
		}
	}
	for _, path := range celPaths(x) {
		out.Saw = append(out.Saw, celSaw(e, path))
	}
	return out
}

// celTree parses a text so that its parts can be written out again; nil if it cannot.
func (c *Compiler) celTree(text string) *ast.AST {
	env, err := c.cel()
	if err == nil {
		env, err = env.Extend(cel.EnableMacroCallTracking())
	}
	if err != nil {
		return nil
	}
	tree, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil
	}
	return tree.NativeRep()
}

// celParts returns what && binds.
func celParts(x ast.Expr) []ast.Expr {
	if x.Kind() != ast.CallKind || x.AsCall().FunctionName() != operators.LogicalAnd {
		return []ast.Expr{x}
	}
	var parts []ast.Expr
	for _, a := range x.AsCall().Args() {
		parts = append(parts, celParts(a)...)
	}
	return parts
}

// celPaths returns what an expression selects of event and data, each the longest way.
func celPaths(x ast.Expr) (all [][]string) {
	ast.PreOrderVisit(x, ast.NewExprVisitor(func(x ast.Expr) {
		path, ok := celPath(x)
		longer := func(other []string) bool { return len(other) >= len(path) && slices.Equal(other[:len(path)], path) }
		if ok && !slices.ContainsFunc(all, longer) {
			all = append(all, path)
		}
	}))
	return all
}

// celPath returns the way that an expression goes into event or data: event.type, data.items[0].sku.
func celPath(x ast.Expr) (path []string, ok bool) {
	switch x.Kind() {
	case ast.IdentKind:
		name := x.AsIdent()
		return []string{name}, name == "event" || name == "data"
	case ast.SelectKind:
		s := x.AsSelect()
		path, ok = celPath(s.Operand())
		return append(path, s.FieldName()), ok
	case ast.CallKind:
		call := x.AsCall()
		if call.FunctionName() != operators.Index || call.Args()[1].Kind() != ast.LiteralKind {
			return nil, false
		}
		path, ok = celPath(call.Args()[0])
		switch at := call.Args()[1].AsLiteral().(type) {
		case types.String:
			return append(path, string(at)), ok
		case types.Int:
			return append(path, strconv.FormatInt(int64(at), 10)), ok
		}
	}
	return nil, false
}

// celSaw returns what is at the end of a path. Of the data only a text, a number or a boolean is shown.
func celSaw(e *tandem.Event, path []string) tandem.SeenValue {
	name := strings.Join(path, ".")
	switch {
	case len(path) == 1:
		return tandem.SeenValue{Name: name, Hidden: true}
	case path[0] == "event":
		return tandem.SawAttribute(e, path[1])
	}
	if value, ok := tandem.DataField(e, strings.Join(path[1:], ".")); ok {
		return tandem.Saw(name, value)
	}
	there := isThere(e.Data, path[1:])
	return tandem.SeenValue{Name: name, Missing: !there, Hidden: there}
}

// isThere reports whether JSON data has something at the end of a path.
func isThere(data []byte, path []string) bool {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return false
	}
	for _, name := range path {
		there := false
		switch at := v.(type) {
		case map[string]any:
			v, there = at[name]
		case []any:
			if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(at) {
				v, there = at[i], true
			}
		}
		if !there {
			return false
		}
	}
	return true
}
