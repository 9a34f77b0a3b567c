package condition

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// celImplied is what every event has for which the expression is true, as implied.go says. An error in one part of && and || can
// only make an expression true that has another true part, so it is as good as false.
func celImplied(x ast.Expr) implied {
	if x.Kind() != ast.CallKind {
		return nil
	}
	call := x.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		parts := make([]implied, len(args))
		for i, a := range args {
			parts[i] = celImplied(a)
		}
		if call.FunctionName() == operators.LogicalAnd {
			return impliedAll(parts...)
		}
		return impliedAny(parts...)
	case operators.Equals:
		for i, a := range args {
			name, isAttribute := celAttributeOf(a)
			text, isText := celString(args[1-i])
			if isAttribute && isText {
				return impliedExact(name, text)
			}
		}
	case operators.In:
		name, ok := celAttributeOf(args[0])
		if !ok || args[1].Kind() != ast.ListKind {
			return nil
		}
		var any []implied
		for _, e := range args[1].AsList().Elements() {
			text, ok := celString(e)
			if !ok {
				return nil
			}
			any = append(any, impliedExact(name, text))
		}
		return impliedAny(any...)
	case overloads.StartsWith:
		if !call.IsMemberFunction() || len(args) != 1 {
			return nil
		}
		name, isAttribute := celAttributeOf(call.Target())
		text, isText := celString(args[0])
		if isAttribute && isText {
			return impliedPrefix(name, text)
		}
	}
	return nil
}

// celAttributeOf returns the attribute that an expression selects: event.type or event["type"].
func celAttributeOf(x ast.Expr) (string, bool) {
	switch x.Kind() {
	case ast.SelectKind:
		s := x.AsSelect()
		return s.FieldName(), !s.IsTestOnly() && isEvent(s.Operand())
	case ast.CallKind:
		call := x.AsCall()
		if call.FunctionName() == operators.Index && len(call.Args()) == 2 && isEvent(call.Args()[0]) {
			return celString(call.Args()[1])
		}
	}
	return "", false
}

func isEvent(x ast.Expr) bool { return x.Kind() == ast.IdentKind && x.AsIdent() == "event" }

func celString(x ast.Expr) (string, bool) {
	if x.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := x.AsLiteral().(types.String)
	return string(s), ok
}
