package condition

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/tandem-hybrid/tandem"
)

// Limits of a CEL condition. The cost of an evaluation counts its steps, and what an operator does by the size of what it works on:
// where that could take long before it is done (celweight.go).
const (
	celCost      = 100_000 // from ten milliseconds to some hundred, by what is done
	celDepth     = 64
	celNodes     = 2000
	celRegexSize = 1000
)

// celEnv is what texts are checked against: event, a map of the attributes, and data.
type celEnv = cel.Env

func onceCELEnv() func() (*celEnv, error) {
	return sync.OnceValues(func() (*celEnv, error) {
		return cel.NewEnv(
			cel.Variable("event", cel.MapType(cel.StringType, cel.DynType)),
			cel.Variable("data", cel.DynType),
			cel.CrossTypeNumericComparisons(true),
			cel.DefaultUTCTimeZone(true),
			cel.ParserExpressionSizeLimit(tandem.MaxConditionBytes),
			cel.ParserRecursionLimit(celDepth),
			cel.ParserErrorRecoveryLimit(1),
			cel.ExpressionNodeLimit(celNodes),
			cel.RegexProgramSizeLimit(celRegexSize),
			cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
		)
	})
}

// celCondition is a checked and planned text.
type celCondition struct {
	c       *Compiler
	text    string
	program cel.Program
	bounds  []tandem.Bound
	warned  atomic.Bool
}

func (c *Compiler) compileCEL(text string) (cond tandem.Condition, err error) {
	defer func() { // of parsers of this size a defect is to be expected, and the text is anybody's
		if r := recover(); r != nil {
			cond, err = nil, tandem.Errorf(tandem.CodeInvalid, "cannot be read: %v", r)
		}
	}()
	env, err := c.cel()
	if err != nil {
		return nil, tandem.Wrap("prepare cel", err)
	}
	checked, issues := env.Compile(text)
	if err := celFault(issues); err != nil {
		return nil, err
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, faultAt(1, 1, "is not true or false, but of the type %s", t)
	}
	if err := celConstantPatterns(checked.NativeRep()); err != nil {
		return nil, err
	}
	program, err := env.Program(checked, cel.CostLimit(celCost), cel.CostTrackerOptions(weighingCost()),
		cel.CustomDecoratorV2(celWeigh(celWeights(checked.NativeRep()))))
	if err != nil {
		return nil, tandem.Errorf(tandem.CodeInvalid, "cannot be prepared: %s", shorten(err.Error()))
	}
	return &celCondition{c: c, text: text, program: program, bounds: boundsOf(celImplied(checked.NativeRep().Expr()))}, nil
}

// celConstantPatterns refuses a regular expression that is not written in the text: it would be compiled for each event, at a cost
// that nothing limits.
func celConstantPatterns(tree *ast.AST) (err error) {
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.CallKind || x.AsCall().FunctionName() != overloads.Matches {
			return
		}
		args := x.AsCall().Args()
		if _, literal := celString(args[len(args)-1]); !literal && err == nil {
			at := tree.SourceInfo().GetStartLocation(args[len(args)-1].ID())
			err = faultAt(max(at.Line(), 1), max(at.Column(), 0)+1, "the regular expression of matches must be a string as it is")
		}
	}))
	return err
}

// celFault returns the first issue as an error.
func celFault(issues *cel.Issues) error {
	if issues.Err() == nil {
		return nil
	}
	if len(issues.Errors()) == 0 {
		return tandem.Errorf(tandem.CodeInvalid, "%s", shorten(issues.Err().Error()))
	}
	first := issues.Errors()[0]
	text := shorten(strings.TrimSuffix(first.Message, " (in container '')"))
	if at := first.Location; at != nil && at.Line() > 0 {
		return faultAt(at.Line(), max(at.Column(), 0)+1, "%s", text)
	}
	return tandem.Errorf(tandem.CodeInvalid, "%s", text)
}

func shorten(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (c *celCondition) Match(e *tandem.Event) bool {
	v, _, err := c.program.Eval(&activation{c: c.c, e: e})
	if err == nil {
		return v == types.True
	}
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && c.warned.CompareAndSwap(false, true) {
		c.c.opts.Logger.Warn("a condition cost too much for an event, which does not match therefore; this is said once",
			"cel", c.text, "flow", e.Meta.Flow, "event", fmt.Sprintf("%.200s %.200s", e.Source, e.ID))
	}
	return false
}

func (c *celCondition) Bounds() []tandem.Bound { return c.bounds }
