package condition

import (
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// weight is what an operator will cost for one of its arguments. The library counts comparisons by the outer size of what is compared,
// conversions not at all, and everything after it is done: one comparison of lists in lists can take hours.
type weight func(ref.Val) uint64

// celWeights returns the weights of the arguments that an operator must not be given before they are paid for, by the id of the argument.
func celWeights(tree *ast.AST) map[int64]weight {
	weights := map[int64]weight{}
	put := func(x ast.Expr, w weight) {
		if !isConstant(x) {
			weights[x.ID()] = w
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.CallKind {
			return
		}
		call := x.AsCall()
		args := call.Args()
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		name := call.FunctionName()
		switch {
		case name == operators.Equals || name == operators.NotEquals:
			put(args[0], weightOfContainer)
			put(args[1], weightOfContainer)
		case name == operators.In:
			put(args[1], weightOfContainer)
		case name == overloads.Matches:
			if pattern, ok := celString(args[1]); ok {
				put(args[0], weightOfSubject(pattern))
			}
		case len(args) == 1 && isConversion(name):
			put(args[0], weightOfText)
		case len(args) == 2 && call.IsMemberFunction() && strings.HasPrefix(name, "get"): // in a time zone, which is read from a file
			put(args[1], func(ref.Val) uint64 { return 100 })
		}
	}))
	return weights
}

// isConstant reports whether an argument is as large as the text makes it. The library makes constants of these, too, and must find
// them as they are.
func isConstant(x ast.Expr) bool {
	switch x.Kind() {
	case ast.LiteralKind:
		return true
	case ast.ListKind:
		for _, e := range x.AsList().Elements() {
			if e.Kind() != ast.LiteralKind {
				return false
			}
		}
		return true
	}
	return false
}

func isConversion(function string) bool {
	switch function {
	case overloads.TypeConvertInt, overloads.TypeConvertUint, overloads.TypeConvertDouble, overloads.TypeConvertBool, overloads.TypeConvertBytes,
		overloads.TypeConvertString, overloads.TypeConvertDuration, overloads.TypeConvertTimestamp:
		return true
	}
	return false
}

// weightOfText counts as the library counts texts.
func weightOfText(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v)) / 10
	case types.Bytes:
		return uint64(len(v)) / 10
	}
	return 0
}

// weightOfSubject is for what a regular expression is looked for in: its time is at most the product of both sizes.
func weightOfSubject(pattern string) weight {
	size := uint64(len(pattern))
	if re, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		if prog, err := syntax.Compile(re.Simplify()); err == nil {
			size = uint64(len(prog.Inst))
		}
	}
	return func(v ref.Val) uint64 {
		text, _ := v.(types.String)
		return uint64(len(text)) * size / 300
	}
}

// weightOfContainer counts all that is in a list or a map, up to a little more than an evaluation may cost.
func weightOfContainer(v ref.Val) uint64 {
	switch v.(type) {
	case traits.Lister, traits.Mapper:
		var sum uint64
		addContent(v, &sum)
		return sum
	}
	return 0
}

func addContent(v ref.Val, sum *uint64) {
	*sum += 1 + weightOfText(v)
	switch v := v.(type) {
	case traits.Mapper:
		for it := v.Iterator(); *sum <= celCost && it.HasNext() == types.True; {
			key := it.Next()
			*sum += weightOfText(key)
			addContent(v.Get(key), sum)
		}
	case traits.Lister:
		for it := v.Iterator(); *sum <= celCost && it.HasNext() == types.True; {
			addContent(it.Next(), sum)
		}
	}
}

// weighed is an argument that is paid for as soon as it has its value.
type weighed struct {
	interpreter.InterpretableV2
	weigh weight
}

func (w *weighed) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return w.weigh.pay(frame, w.ID(), w.InterpretableV2.Exec(frame))
}

func (w *weighed) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, w.Exec)
}

// weighedAttribute is weighed for what the library wants to know as an attribute.
type weighedAttribute struct {
	interpreter.InterpretableAttribute
	weigh weight
}

func (w *weighedAttribute) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return w.weigh.pay(frame, w.ID(), w.InterpretableAttribute.Exec(frame))
}

func (w *weighedAttribute) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, w.Exec)
}

// pay adds what v weighs to the cost of the evaluation, which ends if that is too much.
func (w weight) pay(frame *interpreter.ExecutionFrame, id int64, v ref.Val) ref.Val {
	if n := w(v); n > 0 {
		frame.CostTracker().EvalUnary(frame, id, weighing{}, types.Uint(n), v)
	}
	return v
}

// celWeigh lets a program pay for arguments.
func celWeigh(weights map[int64]weight) interpreter.InterpretableDecoratorV2 {
	return func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		w := weights[i.ID()]
		if w == nil {
			return i, nil
		}
		switch i := i.(type) {
		case *weighed, *weighedAttribute: // a node may come by twice
			return i, nil
		case interpreter.InterpretableAttribute:
			return &weighedAttribute{i, w}, nil
		}
		return &weighed{i, w}, nil
	}
}

// weighing is what a weight is counted as: a call whose cost is its argument.
type weighing struct{}

func (weighing) Function() string   { return "weigh" }
func (weighing) OverloadID() string { return "weigh" }

func weighingCost() cost.TrackerOption {
	return cost.OverloadTracker(weighing{}.OverloadID(), func(args []ref.Val, _ ref.Val) *uint64 {
		n, _ := args[0].(types.Uint)
		sum := uint64(n)
		return &sum
	})
}
