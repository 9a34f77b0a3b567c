package console

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
)

const (
	excerptBytes = 2 << 10  // of the data of an event in a list
	wholeBytes   = 64 << 10 // on its own page; the rest can be downloaded
	hexBytes     = 1 << 10
	maxIndent    = 32 // levels of JSON that are indented: each costs a line its depth
)

// payload is the data of an event as it can be shown: text that nothing hides in, and of bounded size.
type payload struct {
	Kind string // JSON, text, binary or none
	Text string
	Size int64
	Cut  bool // there is more than Text shows
}

// payloadOf shows at most so many bytes of the data of an event.
func payloadOf(e *tandem.Event, limit int) payload {
	p := payload{Kind: "text", Size: int64(len(e.Data))}
	switch {
	case len(e.Data) == 0:
		p.Kind = "none"
	case !utf8.Valid(e.Data) || e.Encoding == tandem.DataBinary && !printable(e.Data):
		p.Kind = "binary"
		head := e.Data[:min(len(e.Data), hexBytes, limit)]
		p.Text, p.Cut = hex.Dump(head), len(head) < len(e.Data)
	default:
		if isJSON(e) {
			p.Kind = "JSON"
		}
		text, cut := head(e.Data, limit)
		if p.Kind == "JSON" && !cut && depth(e.Data) <= maxIndent {
			var buf bytes.Buffer
			if json.Indent(&buf, e.Data, "", "  ") == nil {
				text, cut = head(buf.Bytes(), 4*limit)
			}
		}
		p.Text, p.Cut = visible(text), cut
	}
	return p
}

func isJSON(e *tandem.Event) bool {
	return e.Encoding == tandem.DataJSON || e.DataContentType == "" || strings.Contains(e.DataContentType, "json")
}

// printable reports whether bytes that were declared binary read as text.
func printable(b []byte) bool {
	return bytes.IndexFunc(b[:min(len(b), 512)], func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' }) < 0
}

// head cuts UTF-8 at the end of a character.
func head(b []byte, limit int) (string, bool) {
	if len(b) <= limit {
		return string(b), false
	}
	for limit > 0 && !utf8.RuneStart(b[limit]) {
		limit--
	}
	return string(b[:limit]), true
}

// depth is how deep JSON is nested at most. What stands in strings counts, too, which errs on the safe side.
func depth(b []byte) int {
	now, most := 0, 0
	for _, c := range b {
		switch c {
		case '{', '[':
			now++
			most = max(most, now)
		case '}', ']':
			now--
		}
	}
	return most
}

// visible writes out characters that a reader does not see, or that make text read otherwise than it is: controls, and marks of
// direction.
func visible(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u{%x}", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029')
}

// clean is visible text in one line of at most so many characters.
func clean(s string, limit int) string {
	if len(s) > 4*limit {
		s, _ = head([]byte(s), 4*limit)
	}
	s = strings.Join(strings.Fields(visible(s)), " ")
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit-1]) + "…"
	}
	return s
}
