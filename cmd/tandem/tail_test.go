package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestTailAsks: what tail asks of a server, for the last events and for how it wants to be treated when it is slow.
func TestTailAsks(t *testing.T) {
	const event = `{"specversion":"1.0","id":"1","source":"/t","type":"x"}`
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Encode())
		switch {
		case r.Header.Get("Accept") == tandem.MediaSSE:
			w.Header().Set("Content-Type", tandem.MediaSSE)
			io.WriteString(w, "id: c1\ndata: "+event+"\n\n")
		case r.URL.Query().Has("cursor"):
			io.WriteString(w, `{"events":[],"cursor":"c1"}`)
		default:
			io.WriteString(w, `{"events":[`+event+`],"cursor":"c1"}`)
		}
	}))
	defer s.Close()
	for args, want := range map[string]string{
		"--last 20 -n 1":                 "last=20&topic=a",
		"--last 20 --no-follow":          "last=20&topic=a cursor=c1&topic=a",
		"--no-follow":                    "from=earliest&topic=a cursor=c1&topic=a",
		"--slow conflate -n 1":           "slow=conflate&topic=a",
		"--last 1 --slow disconnect -n1": "last=1&slow=disconnect&topic=a",
	} {
		asked = nil
		out := must(t, append([]string{"tail", "a", "--api", s.URL, "--json"}, strings.Fields(args)...)...)
		if got := strings.Join(asked, " "); got != want || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: asked %s and printed %q", args, got, out)
		}
	}
}
