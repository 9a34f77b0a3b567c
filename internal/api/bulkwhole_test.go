package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestNDJSONOfManyShortLines sends a body that is small but has more lines than a group, so that its answer begins before
// all of it was read: net/http would then read the rest itself and throw it away.
func TestNDJSONOfManyShortLines(t *testing.T) {
	h := newHarness(t, nil)
	srv := h.serve()
	const first, all = 1100, 2000
	var body [2]strings.Builder
	for i := range all {
		b := &body[0]
		if i >= first {
			b = &body[1]
		}
		fmt.Fprintln(b, lineEvent(fmt.Sprint(i), fmt.Sprint(i%7), i))
	}
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", srv.URL+events, pr)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(body[0].Len() + body[1].Len())
	req.Header.Set("Content-Type", tandem.MediaNDJSON)
	go func() {
		io.WriteString(pw, body[0].String())
		h.await("orders", 1024) // a group was stored, so its answer is on its way
		io.WriteString(pw, body[1].String())
		pw.Close()
	}()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answered, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, stored := strings.Count(string(answered), "\n"), len(h.stored("orders")); got != all || stored != all {
		t.Errorf("of %d lines %d were answered and %d stored", all, got, stored)
	}
}

// brokenWriter panics where an answer is written.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { panic("a defect") }

// TestNDJSONSurvivesADefect: what panics behind the request's back ends the request, not the process.
func TestNDJSONSurvivesADefect(t *testing.T) {
	h := newHarness(t, nil)
	r := httptest.NewRequest("POST", events, strings.NewReader(lineEvent("1", "k", 1)+"\n"+lineEvent("2", "k", 2)))
	r.Host, r.ContentLength = "localhost", -1
	r.Header.Set("Content-Type", tandem.MediaNDJSON)
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("the request ended with %v", v)
		}
		if !strings.Contains(h.logged.String(), "a defect") {
			t.Errorf("logged: %s", h.logged)
		}
	}()
	h.api.ServeHTTP(brokenWriter{httptest.NewRecorder()}, r)
}
