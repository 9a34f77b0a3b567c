package console

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
)

// maxInlineBytes is how much data stands in a command; more is read from the file that Download writes.
const maxInlineBytes = 4 << 10

// curl writes a request of the API as a command for a shell, to be copied. The token is named and not shown. No argument has characters that a
// reader does not see, or that a terminal takes for keys.
func (v *visit) curl(method, path string, args ...string) string {
	base := "http://"
	if overTLS(v.r) {
		base = "https://"
	}
	lines := []string{"curl -H \"Authorization: Bearer $TANDEM_TOKEN\""}
	if method != http.MethodGet {
		lines[0] += " -X " + method
	}
	lines = append(lines, args...)
	return strings.Join(append(lines, quoted(base+v.r.Host+path)), " \\\n  ")
}

// curlEvent publishes an event as it is. Its id is that which it has, so that a command that is only tried is a repeat and does nothing.
func (v *visit) curlEvent(topic string, of *tandem.Event) string {
	e, h := *of, http.Header{}
	e.Meta = tandem.Meta{}
	e.WriteBinaryHeader(h)
	var args []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		args = append(args, "-H "+quoted(strings.ToLower(name)+": "+visible(h.Get(name))))
	}
	switch data, ok := inline(&e); {
	case len(e.Data) == 0:
	case ok:
		args = append(args, "--data-raw "+quoted(data)) // --data-binary would take what begins with @ for a file
	default:
		args = append(args, "--data-binary @event-data")
	}
	return v.curl(http.MethodPost, "/v1/topics/"+url.PathEscape(topic)+"/events", args...)
}

// inline returns data as it can stand in a command.
func inline(e *tandem.Event) (string, bool) {
	text := string(e.Data)
	return text, len(text) <= maxInlineBytes && utf8.ValidString(text) && !strings.Contains(text, "\t") && visible(text) == text
}

// quoted is one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
