package condition

import (
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// maxSQLDepth bounds how deep a text of CESQL is nested, and so the stack that it needs.
const maxSQLDepth = 64

// sqlParser reads CESQL by recursive descent, a method for each level of precedence, the loosest first: AND, OR and XOR;
// comparisons; + and -; *, / and %; LIKE and IN; NOT and -; what stands alone.
type sqlParser struct {
	lexer
	tok   token
	depth int
}

// parseSQL returns the expression that a text is. Code: Invalid, with the line and column.
func parseSQL(text string) (sqlExpr, error) {
	p := &sqlParser{lexer: lexer{text: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.logic()
	if err == nil && p.tok.kind != endOfText {
		err = p.unexpected("an operator or the end")
	}
	return x, err
}

func (p *sqlParser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

func (p *sqlParser) unexpected(want string) error {
	return p.fault(p.tok.at, "%s does not belong here: expected is %s", p.tok, want)
}

// take goes over a keyword or symbol if it is next.
func (p *sqlParser) take(text string) (bool, error) {
	if !p.tok.is(text) {
		return false, nil
	}
	return true, p.advance()
}

func (p *sqlParser) expect(text string) error {
	if !p.tok.is(text) {
		return p.unexpected(strconv.Quote(text))
	}
	return p.advance()
}

// oneOf returns which of some operators is next.
func (p *sqlParser) oneOf(ops ...string) (string, bool) {
	for _, op := range ops {
		if p.tok.is(op) {
			return op, true
		}
	}
	return "", false
}

func (p *sqlParser) logic() (sqlExpr, error) {
	if p.depth++; p.depth > maxSQLDepth {
		return nil, p.fault(p.tok.at, "is nested more than %d deep", maxSQLDepth)
	}
	defer func() { p.depth-- }()
	from := p.tok.at
	first, err := p.comparison()
	if err != nil {
		return nil, err
	}
	op, ok := p.oneOf("AND", "OR", "XOR")
	if !ok {
		return first, nil
	}
	kids, texts := []sqlExpr{first}, []string{p.since(from)}
	for p.tok.is(op) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		from = p.tok.at
		kid, err := p.comparison()
		if err != nil {
			return nil, err
		}
		kids, texts = append(kids, kid), append(texts, p.since(from))
	}
	if other, mixed := p.oneOf("AND", "OR", "XOR"); mixed {
		// They have the same precedence in CESQL and bind to the right, which is not what SQL does: nobody would mean it.
		return nil, p.fault(p.tok.at, "%s follows %s: put parentheses around what belongs together", other, op)
	}
	return &sqlLogic{op: op, kids: kids, texts: texts}, nil
}

// since returns the text from an offset to the token that is next.
func (p *sqlParser) since(from int) string { return strings.TrimSpace(p.text[from:p.tok.at]) }

func (p *sqlParser) comparison() (sqlExpr, error) {
	return p.binary(p.sum, func(op string, x, y sqlExpr) sqlExpr { return &sqlCompare{op, x, y} }, "=", "!=", "<>", "<=", ">=", "<", ">")
}

func (p *sqlParser) sum() (sqlExpr, error) {
	return p.binary(p.product, func(op string, x, y sqlExpr) sqlExpr { return &sqlMath{op[0], x, y} }, "+", "-")
}

func (p *sqlParser) product() (sqlExpr, error) {
	return p.binary(p.membership, func(op string, x, y sqlExpr) sqlExpr { return &sqlMath{op[0], x, y} }, "*", "/", "%")
}

func (p *sqlParser) binary(operand func() (sqlExpr, error), combine func(op string, x, y sqlExpr) sqlExpr, ops ...string) (sqlExpr, error) {
	x, err := operand()
	if err != nil {
		return nil, err
	}
	for {
		op, ok := p.oneOf(ops...)
		if !ok {
			return x, nil
		}
		if err := p.notBare(x); err != nil {
			return nil, err
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		y, err := operand()
		if err != nil {
			return nil, err
		}
		x = combine(op, x, y)
	}
}

// notBare refuses NOT before the left side of an operator, which it would belong to alone.
func (p *sqlParser) notBare(x sqlExpr) error {
	if n, ok := x.(*sqlNot); ok && n.bare {
		return p.fault(p.tok.at, "NOT holds only for what is before %s: write NOT (…)", p.tok)
	}
	return nil
}

// membership reads LIKE and IN.
func (p *sqlParser) membership() (sqlExpr, error) {
	x, err := p.unary()
	for err == nil {
		if _, ok := p.oneOf("NOT", "LIKE", "IN"); !ok {
			return x, nil
		}
		x, err = p.member(x)
	}
	return nil, err
}

func (p *sqlParser) member(x sqlExpr) (sqlExpr, error) {
	if err := p.notBare(x); err != nil {
		return nil, err
	}
	negated, err := p.take("NOT")
	if err != nil {
		return nil, err
	}
	switch {
	case p.tok.is("LIKE"):
		x, err = p.like(x)
	case p.tok.is("IN"):
		x, err = p.in(x)
	default:
		err = p.unexpected("LIKE or IN")
	}
	if negated {
		x = &sqlNot{x: x}
	}
	return x, err
}

func (p *sqlParser) like(x sqlExpr) (sqlExpr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind != quoted {
		return nil, p.unexpected("a string, which is the pattern")
	}
	pattern := parsePattern(p.tok.text)
	return &sqlLike{x, pattern}, p.advance()
}

func (p *sqlParser) in(x sqlExpr) (sqlExpr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	set, err := p.list()
	return &sqlIn{x, set}, err
}

// list reads expressions up to the closing bracket, at least one.
func (p *sqlParser) list() ([]sqlExpr, error) {
	var list []sqlExpr
	for {
		x, err := p.logic()
		if err != nil {
			return nil, err
		}
		list = append(list, x)
		more, err := p.take(",")
		if err != nil {
			return nil, err
		}
		if !more {
			return list, p.expect(")")
		}
	}
}

func (p *sqlParser) unary() (sqlExpr, error) {
	if p.depth++; p.depth > maxSQLDepth {
		return nil, p.fault(p.tok.at, "is nested more than %d deep", maxSQLDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.tok.is("NOT"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.unary()
		return &sqlNot{x: x, bare: true}, err
	case p.tok.is("-"), p.tok.is("+"):
		sign := p.tok.text
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.kind == number {
			return p.number(sign)
		}
		if sign == "+" {
			return nil, p.unexpected("a number")
		}
		x, err := p.unary()
		return &sqlNegate{x}, err
	}
	return p.primary()
}

func (p *sqlParser) number(sign string) (sqlExpr, error) {
	n, err := strconv.ParseInt(sign+p.tok.text, 10, 32)
	if err != nil {
		return nil, p.fault(p.tok.at, "%s%s is not from -2147483648 to 2147483647", sign, p.tok.text)
	}
	return sqlLiteral{intValue(int32(n))}, p.advance()
}

func (p *sqlParser) primary() (sqlExpr, error) {
	t := p.tok
	switch {
	case t.kind == number:
		return p.number("")
	case t.kind == quoted:
		return sqlLiteral{stringValue(t.text)}, p.advance()
	case t.is("TRUE"), t.is("FALSE"):
		return sqlLiteral{boolValue(t.text == "TRUE")}, p.advance()
	case t.is("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.logic()
		if err != nil {
			return nil, err
		}
		if n, ok := x.(*sqlNot); ok {
			n.bare = false
		}
		return x, p.expect(")")
	case t.is("EXISTS"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		t = p.tok
		if t.kind != name {
			return nil, p.unexpected("the name of an attribute")
		}
		if err := p.checkAttribute(t); err != nil {
			return nil, err
		}
		return &sqlExists{t.text}, p.advance()
	case t.kind == name:
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.is("(") {
			return p.call(t)
		}
		return &sqlAttribute{t.text}, p.checkAttribute(t)
	}
	return nil, p.unexpected("an attribute, a value or a bracket")
}

func (p *sqlParser) checkAttribute(t token) error {
	switch {
	case t.text == "data":
		return p.fault(t.at, "CESQL does not see the data: use cel")
	case !tandem.ValidAttributeName(t.text):
		return p.fault(t.at, "%q is not the name of an attribute: a-z and 0-9", t.text)
	}
	return nil
}

// call reads the arguments of a function.
func (p *sqlParser) call(t token) (sqlExpr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	var args []sqlExpr
	empty, err := p.take(")")
	if err == nil && !empty {
		args, err = p.list()
	}
	if err != nil {
		return nil, err
	}
	f, why := findFunction(t.text, len(args))
	if f == nil {
		return nil, p.fault(t.at, "%s", why)
	}
	return &sqlCall{f, args}, nil
}
