package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// maxProblems is how many errors of one file are reported.
const maxProblems = 20

// Warning is something in a file that is allowed but probably not meant.
type Warning struct {
	Place string `json:"place"` // file:line:column
	Text  string `json:"text"`  // begins with the path of the key
}

func (w Warning) String() string { return w.Place + ": " + w.Text }

// problem is an error or a warning and where it is.
type problem struct {
	line, column int
	text         string
}

// problems collects what is wrong with one file.
type problems struct {
	file    string
	errors  []problem
	warns   []problem
	dropped int
}

func (ps *problems) fail(n *yaml.Node, pointer, format string, args ...any) {
	ps.failAt(n.Line, n.Column, prefixed(pointer, format, args))
}

func (ps *problems) failAt(line, column int, text string) {
	if len(ps.errors) == maxProblems {
		ps.dropped++
		return
	}
	ps.errors = append(ps.errors, problem{max(line, 1), max(column, 1), text})
}

func (ps *problems) warn(n *yaml.Node, pointer, format string, args ...any) {
	ps.warns = append(ps.warns, problem{max(n.Line, 1), max(n.Column, 1), prefixed(pointer, format, args)})
}

func prefixed(pointer, format string, args []any) string {
	text := fmt.Sprintf(format, args...)
	if path := display(pointer); path != "" {
		return path + ": " + text
	}
	return text
}

// err returns everything that was wrong as one Error with a field for each place, in the order of the file.
func (ps *problems) err() error {
	if len(ps.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.errors, byPlace)
	e := tandem.Errorf(tandem.CodeInvalid, "the configuration is invalid")
	for _, p := range ps.errors {
		e.Fields = append(e.Fields, tandem.FieldError{Pointer: ps.place(p), Detail: p.text})
	}
	if ps.dropped > 0 {
		e.Hint = fmt.Sprintf("and %d more", ps.dropped)
	}
	return e
}

func (ps *problems) warnings() []Warning {
	slices.SortStableFunc(ps.warns, byPlace)
	var ws []Warning
	for _, p := range ps.warns {
		ws = append(ws, Warning{Place: ps.place(p), Text: p.text})
	}
	return ws
}

func (ps *problems) place(p problem) string {
	return fmt.Sprintf("%s:%d:%d", ps.file, p.line, p.column)
}

func byPlace(a, b problem) int {
	if a.line != b.line {
		return a.line - b.line
	}
	return a.column - b.column
}

// join adds a segment to a JSON pointer (RFC 6901).
func join(pointer, segment string) string {
	return pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(segment)
}

// display shows a JSON pointer the way people write paths: /routes/0/match becomes routes[0].match.
func display(pointer string) string {
	var b strings.Builder
	for _, seg := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		seg = strings.NewReplacer("~1", "/", "~0", "~").Replace(seg)
		switch {
		case seg != "" && strings.Trim(seg, "0123456789") == "":
			b.WriteString("[" + seg + "]")
		case b.Len() > 0:
			b.WriteString("." + seg)
		default:
			b.WriteString(seg)
		}
	}
	return b.String()
}

// didYouMean returns a hint that names the allowed word nearest to what was written, else all of them.
func didYouMean(word string, allowed []string) string {
	best, bestDistance := "", 3
	for _, a := range allowed {
		if d := distance(strings.ToLower(word), strings.ToLower(a)); d < bestDistance && d < len(a) {
			best, bestDistance = a, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "allowed: " + strings.Join(allowed, ", ")
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours between two words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
