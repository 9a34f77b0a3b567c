package condition

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
)

// Options configure a Compiler. The zero value works.
type Options struct {
	Logger *slog.Logger // nil means slog.Default
}

// Compiler compiles the texts of one process. It is safe for concurrent use, as are the conditions that it makes.
type Compiler struct {
	opts Options
	cel  func() (*celEnv, error) // made when the first text needs it
	last atomic.Pointer[parsed]
}

// New returns a Compiler.
func New(opts Options) *Compiler {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	c := &Compiler{opts: opts}
	c.cel = onceCELEnv()
	return c
}

// Compile compiles the text of a dialect, "sql" or "cel", for tandem.Filter.Bind. Codes: Invalid, with the line and column of
// the error; Unsupported for other dialects.
func (c *Compiler) Compile(dialect, text string) (tandem.Condition, error) {
	if len(text) > tandem.MaxConditionBytes {
		return nil, tandem.Errorf(tandem.CodeInvalid, "is longer than %d bytes", tandem.MaxConditionBytes)
	}
	switch dialect {
	case "sql":
		x, err := parseSQL(text)
		if err != nil {
			return nil, err
		}
		return &sqlCondition{x, text, boundsOf(x.implied())}, nil
	case "cel":
		return c.compileCEL(text)
	}
	return nil, tandem.Errorf(tandem.CodeUnsupported, "there is no dialect %q", dialect)
}

// faultAt returns an error at a line and column, both from 1; columns count characters.
func faultAt(line, column int, format string, args ...any) error {
	return tandem.Errorf(tandem.CodeInvalid, "line %d, column %d: %s", line, column, fmt.Sprintf(format, args...))
}

// sqlCondition is an expression of CESQL as a filter: it matches when it has the value true, cast to a boolean.
type sqlCondition struct {
	x      sqlExpr
	text   string
	bounds []tandem.Bound
}

func (c *sqlCondition) Match(e *tandem.Event) bool {
	v, err := evalAs(c.x, e, sqlBoolean)
	return err == nil && v.b
}

func (c *sqlCondition) Bounds() []tandem.Bound { return c.bounds }
