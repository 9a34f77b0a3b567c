package webhook

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
)

// maxExcerpt is how many bytes of an answer are kept for people to read.
const maxExcerpt = 256

// maxHidden is how much of an answer is searched for secrets before its beginning is shown.
const maxHidden = 16 << 10

// Excerpt tells what came back in one line of at most a few hundred bytes, for the record of an attempt: the status and the beginning of
// a text body, in which every long word that could be a secret is masked, and every secret that was sent. It never shows what
// was sent.
func (a *Answer) Excerpt() string {
	if a.Err != nil {
		var known *tandem.Error
		switch {
		case a.Timeout:
			return "no answer in time"
		case a.Connect && errors.As(a.Err, &known):
			return "nothing was sent: " + redact(known.Error(), maxExcerpt)
		case a.Connect:
			return "cannot connect: " + redact(why(a.Err), maxExcerpt)
		}
		return "the exchange broke off: " + redact(why(a.Err), maxExcerpt)
	}
	s := fmt.Sprintf("status %d", a.Status)
	if text := redact(hide(a.Body[:min(len(a.Body), maxHidden)], a.hidden, 2*maxExcerpt), maxExcerpt); text != "" {
		s += ": " + text
	}
	return s
}

// why returns the text of an error, without what it tells of the network that Tandem is in: the address that the guard refused,
// the name server that was asked, the address of a connection's own end.
func why(err error) string {
	var known *tandem.Error
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &known):
		return known.Error()
	case errors.As(err, &dns):
		shown := *dns
		shown.Server = ""
		return shown.Error()
	case errors.As(err, &op):
		shown := *op
		shown.Source = nil
		return shown.Error()
	}
	return err.Error()
}

// hide returns the first limit bytes of b, in which secrets are masked.
func hide(b []byte, secrets []string, limit int) string {
	var pairs []string
	for _, secret := range slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) }) { // the longest first
		if secret != "" {
			pairs = append(pairs, secret, mask)
		}
	}
	s := strings.NewReplacer(pairs...).Replace(string(b)) // at once: a short secret must not be looked for in masks
	return s[:min(len(s), limit)]
}

const mask = "[masked]"

// redact makes one printable line of s, masks words that may be tokens or keys, and cuts it.
func redact(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	words := strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	var b strings.Builder
	for _, w := range words {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		maskWord(&b, w)
		if b.Len() > limit {
			return strings.ToValidUTF8(b.String()[:limit], "") + "…"
		}
	}
	return b.String()
}

// secretLen is from how many letters and digits in a row on a run counts as a possible secret. A UUID, which is split by
// hyphens, and names of people's making stay readable.
const secretLen = 20

// maskWord writes a word, each possible secret in it replaced.
func maskWord(b *strings.Builder, w string) {
	start := 0
	flush := func(end int) {
		run := w[start:end]
		if len(run) >= secretLen && strings.ContainsAny(run, "0123456789") {
			run = mask
		}
		b.WriteString(run)
	}
	for i := 0; i < len(w); i++ {
		c := w[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '+' || c == '=' {
			continue
		}
		flush(i)
		b.WriteByte(c)
		start = i + 1
	}
	flush(len(w))
}
