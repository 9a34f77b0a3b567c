package console

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
)

// TestPayloadOf: whatever the data is, what is shown of it is bounded and readable.
func TestPayloadOf(t *testing.T) {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for name, c := range map[string]struct {
		e    tandem.Event
		kind string
		text string // how it begins
		cut  bool
	}{
		"nothing":            {tandem.Event{}, "none", "", false},
		"JSON":               {tandem.Event{Data: []byte(`{"a":[1]}`), Encoding: tandem.DataJSON}, "JSON", "{\n  \"a\": [", false},
		"large JSON":         {tandem.Event{Data: []byte(`"` + strings.Repeat("é", 20_000) + `"`), Encoding: tandem.DataJSON}, "JSON", `"éé`, true},
		"deep JSON":          {tandem.Event{Data: []byte(deep), Encoding: tandem.DataJSON}, "JSON", "[[[[", true},
		"wide and deep JSON": {tandem.Event{Data: []byte(strings.Repeat("[", 30) + strings.Repeat("1,", 900) + "1" + strings.Repeat("]", 30)), Encoding: tandem.DataJSON}, "JSON", "[\n", true},
		"no JSON after all":  {tandem.Event{Data: []byte(`{"a":`), DataContentType: "application/json"}, "JSON", `{"a":`, false},
		"text":               {tandem.Event{Data: []byte("a\tb\n\x1b[31m\u202ec\u200bd"), DataContentType: "text/plain"}, "text", `a	b` + "\n" + `\u{1b}[31m\u{202e}c\u{200b}d`, false},
		"broken UTF-8":       {tandem.Event{Data: []byte("abc\xff"), DataContentType: "text/plain"}, "binary", "00000000  61 62 63 ff", false},
		"much that is none":  {tandem.Event{Data: make([]byte, 10<<20), Encoding: tandem.DataBinary}, "binary", "00000000  00 00", true},
		"text as binary":     {tandem.Event{Data: []byte("plain"), DataContentType: "application/octet-stream", Encoding: tandem.DataBinary}, "text", "plain", false},
	} {
		p := payloadOf(&c.e, excerptBytes)
		if p.Kind != c.kind || !strings.HasPrefix(p.Text, c.text) || p.Cut != c.cut || p.Size != int64(len(c.e.Data)) {
			t.Errorf("%s: %s, cut %v, %.80q", name, p.Kind, p.Cut, p.Text)
		}
		if len(p.Text) > 6*excerptBytes {
			t.Errorf("%s: %d bytes are shown", name, len(p.Text))
		}
	}
	if s := clean(strings.Repeat("a\u202e \n", 1<<20), 50); len([]rune(s)) != 50 || !strings.HasSuffix(s, "…") {
		t.Errorf("%q", s)
	}
}

// TestRates: a rate needs two counts that are apart, and near.
func TestRates(t *testing.T) {
	var r rates
	begin := time.Unix(0, 0)
	for i, c := range []struct {
		after time.Duration
		n     uint64
		want  float64
	}{{0, 100, -1}, {time.Second, 150, -1}, {5 * time.Second, 150, 10}, {6 * time.Second, 500, 10}, {10 * time.Second, 150, 0}, {time.Hour, 200, -1}, {time.Hour + 4*time.Second, 240, 10}, {time.Hour + 8*time.Second, 1, -1}} {
		if got := r.of("x", c.n, begin.Add(c.after)); got != c.want {
			t.Errorf("count %d: %v, not %v", i, got, c.want)
		}
	}
	for i := range maxRates + 10 {
		r.of(strings.Repeat("x", i%100)+time.Duration(i).String(), 1, begin)
	}
	if len(r.seen) > maxRates {
		t.Errorf("%d counts are kept", len(r.seen))
	}
}

// TestSessions: they end, by time and when there are too many.
func TestSessions(t *testing.T) {
	var s sessions
	now := time.Unix(0, 0)
	first := s.begin(auth.Pass{}, now)
	if _, ok := s.get(first, now.Add(sessionLife)); !ok {
		t.Error("it ended early")
	}
	if _, ok := s.get(first, now.Add(sessionLife+1)); ok || len(s.live) != 0 {
		t.Error("it lives too long")
	}
	oldest := s.begin(auth.Pass{}, now)
	for i := range maxSessions {
		s.begin(auth.Pass{}, now.Add(time.Duration(i+1)))
	}
	if _, ok := s.get(oldest, now); ok || len(s.live) != maxSessions {
		t.Errorf("%d sessions, with the oldest %v", len(s.live), ok)
	}
}
