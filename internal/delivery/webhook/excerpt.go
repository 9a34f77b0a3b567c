package webhook

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExcerpt is how many bytes of an answer are kept for people to read.
const maxExcerpt = 256

// Excerpt tells what came back in one line of at most a few hundred bytes, for the record of an attempt: the status and the beginning of
// a text body, in which every long word that could be a secret is masked. It never shows what was sent.
func (a *Answer) Excerpt() string {
	if a.Err != nil {
		switch {
		case a.Timeout:
			return "no answer in time"
		case a.Connect:
			return redact("cannot connect: "+a.Err.Error(), maxExcerpt)
		}
		return redact("the exchange broke off: "+a.Err.Error(), maxExcerpt)
	}
	s := fmt.Sprintf("status %d", a.Status)
	if text := redact(string(a.Body[:min(len(a.Body), 2*maxExcerpt)]), maxExcerpt); text != "" {
		s += ": " + text
	}
	return s
}

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
			run = "[masked]"
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
