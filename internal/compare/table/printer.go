package table

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Codes of colours and weights (ECMA-48, section 8.3.117). Requests and events have the colours of the page.
const (
	bold    = "1"
	faint   = "2"
	red     = "31"
	green   = "32"
	yellow  = "33"
	blue    = "34"
	magenta = "35"
)

func colour(style string) string {
	switch style {
	case "request":
		return blue
	case "event":
		return yellow
	case "either":
		return bold
	}
	return magenta
}

type printer struct {
	Options
	b strings.Builder
}

func (p *printer) style(code, text string) string {
	if !p.Colour || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// line writes a line that is made already.
func (p *printer) line(indent int, text string) {
	p.b.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

func (p *printer) heading(text string) {
	p.b.WriteByte('\n')
	p.say(0, bold, text)
}

// say writes a text between its indent and the width.
func (p *printer) say(indent int, code, text string) {
	for _, line := range wrap(clean(text), p.Width-indent, 0, 0) {
		p.line(indent, p.style(code, line))
	}
}

// sayAfter writes what is styled already and takes so many columns, and a text behind it, whose further lines hang.
func (p *printer) sayAfter(indent, hang int, styled string, taken int, text string) {
	for i, line := range wrap(clean(text), p.Width-indent, taken, hang) {
		if i == 0 {
			p.line(indent, styled+line)
		} else {
			p.line(indent+hang, line)
		}
	}
}

// wrap breaks a text into lines at its spaces. The first line has so many columns taken, the others hang. A word that is longer than a line has one
// of its own.
func wrap(text string, room, taken, hang int) (lines []string) {
	line, used := "", taken
	for n, word := range strings.Split(text, " ") {
		switch {
		case n == 0:
			line, used = word, used+width(word)
		case used+1+width(word) > room:
			lines = append(lines, line)
			line, used = word, hang+width(word)
		default:
			line, used = line+" "+word, used+1+width(word)
		}
	}
	return append(lines, line)
}

// clean replaces what a terminal would obey instead of show.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsPrint(r) || r == '\u00a0':
			return r
		}
		return utf8.RuneError
	}, text)
}

// width is how many columns a text takes, if each character takes one.
func width(text string) int { return utf8.RuneCountInString(text) }

// pad fills a text up with spaces: behind it, or before it where n is negative.
func pad(text string, n int) string {
	if n < 0 {
		return strings.Repeat(" ", max(-n-width(text), 0)) + text
	}
	return text + strings.Repeat(" ", max(n-width(text), 0))
}

func cut(text string, n int) string {
	if width(text) <= n {
		return text
	}
	if n < 1 {
		return ""
	}
	return string([]rune(text)[:n-1]) + "…"
}
