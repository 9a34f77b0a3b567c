package condition

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind is the kind of a token of CESQL.
type kind uint8

const (
	endOfText kind = iota
	name           // in lower case
	keyword        // in upper case
	number
	quoted // its text has no quotes around it any more
	symbol
)

type token struct {
	kind kind
	text string
	at   int // byte offset
}

// is reports whether the token is a keyword or a symbol.
func (t token) is(text string) bool {
	return (t.kind == symbol || t.kind == keyword) && t.text == text
}

func (t token) String() string {
	switch t.kind {
	case endOfText:
		return "the end"
	case quoted:
		return "a string"
	}
	return strconv.Quote(t.text)
}

const keywords = " AND OR XOR NOT LIKE EXISTS IN TRUE FALSE "

// lexer splits a text of CESQL into tokens (specification, section 2).
type lexer struct {
	text string
	pos  int
}

func (l *lexer) next() (token, error) {
	for l.pos < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.pos]) >= 0 {
		l.pos++
	}
	at := l.pos
	if at == len(l.text) {
		return token{kind: endOfText, at: at}, nil
	}
	switch c := l.text[at]; {
	case c == '\'' || c == '"':
		return l.string(c)
	case isWord(c):
		for l.pos < len(l.text) && isWord(l.text[l.pos]) {
			l.pos++
		}
		return wordToken(l.text[at:l.pos], at), nil
	case strings.IndexByte("()+-*/%,=", c) >= 0:
		l.pos++
	case strings.HasPrefix(l.text[at:], "!="), strings.HasPrefix(l.text[at:], "<>"),
		strings.HasPrefix(l.text[at:], "<="), strings.HasPrefix(l.text[at:], ">="):
		l.pos += 2
	case c == '<' || c == '>':
		l.pos++
	default:
		_, size := utf8.DecodeRuneInString(l.text[at:])
		return token{}, l.fault(at, "%q does not belong here", l.text[at:at+size])
	}
	return token{symbol, l.text[at:l.pos], at}, nil
}

func wordToken(text string, at int) token {
	if strings.Trim(text, "0123456789") == "" {
		return token{number, text, at}
	}
	if upper := strings.ToUpper(text); strings.Contains(keywords, " "+upper+" ") {
		return token{keyword, upper, at}
	}
	return token{name, strings.ToLower(text), at}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// string reads a string. A backslash before its quote is left out, any other is part of the text.
func (l *lexer) string(quote byte) (token, error) {
	at := l.pos
	var b strings.Builder
	for i := at + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == quote:
			l.pos = i + 1
			return token{quoted, b.String(), at}, nil
		case c == '\\' && i+1 < len(l.text):
			if i++; l.text[i] != quote {
				b.WriteByte(c)
			}
			b.WriteByte(l.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return token{}, l.fault(at, "the string does not end")
}

// fault returns an error at a byte offset.
func (l *lexer) fault(at int, format string, args ...any) error {
	before := l.text[:at]
	line := strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return faultAt(line+1, column+1, format, args...)
}
