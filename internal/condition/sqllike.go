package condition

import (
	"strings"
	"unicode/utf8"
)

// pattern is that of LIKE: texts, _ for one character and % for any number of them.
type pattern []piece

type piece struct {
	text string // "" for a wildcard
	many bool   // %, otherwise _
}

// parsePattern reads a pattern. A backslash takes the meaning from % and _.
func parsePattern(s string) pattern {
	var p pattern
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			p = append(p, piece{text: b.String()})
			b.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '%' || s[i+1] == '_'):
			i++
			b.WriteByte(s[i])
		case c == '%':
			flush()
			if len(p) == 0 || !p[len(p)-1].many {
				p = append(p, piece{many: true})
			}
		case c == '_':
			flush()
			p = append(p, piece{})
		default:
			b.WriteByte(c)
		}
	}
	flush()
	return p
}

// match tries each % with as little as possible and goes back to the last one only, which is enough.
func (p pattern) match(s string) bool {
	at, i := 0, 0          // in s, in p
	backAt, backI := 0, -1 // behind the last %: where to try next
	for at < len(s) || i < len(p) {
		if i < len(p) {
			if p[i].many {
				if i++; i == len(p) {
					return true
				}
				backAt, backI = at, i
				continue
			}
			if n := p[i].at(s[at:]); n > 0 {
				at += n
				i++
				continue
			}
		}
		if backI < 0 || backAt >= len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[backAt:])
		backAt += n
		at, i = backAt, backI
	}
	return true
}

// at returns how many bytes at the start of s are the piece, 0 for none.
func (p piece) at(s string) int {
	if p.text != "" {
		if strings.HasPrefix(s, p.text) {
			return len(p.text)
		}
		return 0
	}
	if s == "" {
		return 0
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// start returns the text that everything begins with that p matches, and whether that is all of it.
func (p pattern) start() (text string, whole bool) {
	switch {
	case len(p) == 0:
		return "", true
	case p[0].text == "":
		return "", false
	}
	return p[0].text, len(p) == 1
}
