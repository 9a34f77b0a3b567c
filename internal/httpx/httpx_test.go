package httpx

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestAccept(t *testing.T) {
	const js, sse = "application/json", "text/event-stream"
	for _, c := range []struct{ accept, want string }{
		{"-", js},
		{"*/*", js},
		{"text/event-stream", sse},
		{"text/*, application/json;q=0.5", sse},
		{"application/json, text/event-stream", js},
		{"TEXT/Event-Stream; charset=utf-8", sse},
		{"*/*;q=0.1, text/event-stream;q=0", js},
		{"text/html", ""},
		{"text/html, */*;q=0.8", js},
		{"application/json;q=bad", js},
	} {
		h := http.Header{}
		if c.accept != "-" {
			h.Set("Accept", c.accept)
		}
		if got := Accept(h, js, sse); got != c.want {
			t.Errorf("Accept: %s chose %q, want %q", c.accept, got, c.want)
		}
	}
}

func TestParsePrefer(t *testing.T) {
	h := http.Header{"Prefer": {"respond-async, wait=5; foo=1", `return="minimal", return=representation, wait=9`, "wait=-1, x"}}
	if got, want := ParsePrefer(h), (Prefer{RespondAsync: true, Wait: 5 * time.Second, HasWait: true, Return: "minimal"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := ParsePrefer(http.Header{"Prefer": {"wait=soon, return=all"}}); got != (Prefer{}) {
		t.Errorf("what cannot be read was taken: %+v", got)
	}
}

func TestPrecondition(t *testing.T) {
	for _, c := range []struct {
		name, value, etag string
		ok                bool
	}{
		{"If-Match", `"a"`, `"a"`, true},
		{"If-Match", `"b", "a"`, `"a"`, true},
		{"If-Match", `"b"`, `"a"`, false},
		{"If-Match", `W/"a"`, `"a"`, false},
		{"If-Match", `*`, `"a"`, true},
		{"If-Match", `*`, ``, false},
		{"If-None-Match", `*`, ``, true},
		{"If-None-Match", `*`, `"a"`, false},
		{"If-None-Match", `W/"a"`, `"a"`, false},
		{"If-None-Match", `"b"`, `"a"`, true},
	} {
		err := Precondition(http.Header{c.name: {c.value}}, c.etag)
		if (err == nil) != c.ok {
			t.Errorf("%s: %s against %s: %v", c.name, c.value, c.etag, err)
		}
		if err != nil && tandem.CodeOf(err) != tandem.CodePrecondition {
			t.Errorf("code %s", tandem.CodeOf(err))
		}
	}
}

func TestStrict(t *testing.T) {
	type form struct {
		Name string   `json:"name"`
		N    int      `json:"n"`
		List []string `json:"list"`
		tandem.Topic
		Sub *struct {
			Filter  tandem.Filter  `json:"filter"`
			Backoff tandem.Backoff `json:"backoff"`
			Since   time.Time      `json:"since"`
		} `json:"sub"`
	}
	for body, pointer := range map[string]string{
		`{"name":"a","n":1}`:             "-",
		``:                               "",
		`{`:                              "",
		`{"name":"a"} x`:                 "",
		`{"name":"a","name":"b"}`:        "/name",
		`{"name":1}`:                     "/name",
		`{"other":1}`:                    "/other",
		`{"retention":"x"}`:              "/retention",
		`{"retention":5}`:                "/retention",
		`{"sub":{"backoff":{"base":5}}}`: "/sub/backoff/base",
		`{"sub":{"backoff":{"base":"5s","max":"5"}}}`:         "/sub/backoff/max",
		`{"sub":{"filter":{"exact":{"type":"x"},"like":{}}}}`: "/sub/filter/like",
		`{"sub":{"filter":{"type":"x","type":"y"}}}`:          "/sub/filter/type",
		`{"sub":{"filter":5}}`:                                "/sub/filter",
		`{"sub":{"since":"yesterday"}}`:                       "/sub/since",
		`{"list":[{"a":1,"a":2}]}`:                            "/list/0/a",
	} {
		var v form
		r := httptest.NewRequest("PUT", "/", strings.NewReader(body))
		err := DecodeJSON(r, 100, &v)
		if pointer == "-" {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
			continue
		}
		p := tandem.ProblemOf(err)
		if p.Status != 400 {
			t.Errorf("%s: status %d", body, p.Status)
		}
		got := ""
		if len(p.Errors) > 0 {
			got = p.Errors[0].Pointer
		}
		if got != pointer {
			t.Errorf("%s: pointer %q, want %q", body, got, pointer)
		}
		if got == "/sub/since" && p.Errors[0].Detail != "must be an RFC 3339 time such as 2026-01-31T09:30:00Z" {
			t.Errorf("%s: %q", body, p.Errors[0].Detail)
		}
	}
}

func TestReadBodyLimit(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for n, ok := range map[int]bool{0: true, 10: true, 11: false} {
			r := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", n)))
			if chunked {
				r.ContentLength = -1
			}
			b, err := ReadBody(r, 10)
			if ok && (err != nil || len(b) != n) || !ok && tandem.CodeOf(err) != tandem.CodeTooLarge {
				t.Errorf("chunked %v, %d bytes: %v", chunked, n, err)
			}
		}
	}
}

func TestWriteProblem(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Etag", `"x"`)
	WriteProblem(w, tandem.Errorf(tandem.CodeOverloaded, "no <room>").WithRetryAfter(1500*time.Millisecond))
	h := w.Result().Header
	if w.Code != 429 || h.Get("Retry-After") != "2" || h.Get("Content-Type") != tandem.MediaProblem || h.Get("Etag") != "" {
		t.Errorf("%d %v", w.Code, h)
	}
	if !strings.Contains(w.Body.String(), `"detail":"no <room>"`) {
		t.Errorf("body %s", w.Body)
	}
}

// TestBodyIsNotPaidInAdvance: what a client only claims to send takes little memory.
func TestBodyIsNotPaidInAdvance(t *testing.T) {
	r := httptest.NewRequest("POST", "/", iotest.ErrReader(io.ErrUnexpectedEOF))
	r.ContentLength = 16 << 20
	b, err := AppendBody(nil, r, 16<<20)
	if tandem.CodeOf(err) != tandem.CodeInvalid || cap(b) > 2<<20 {
		t.Errorf("%d bytes are set aside, %v", cap(b), err)
	}
}
