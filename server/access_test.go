package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// TestAccessLog: a line for each request with its flow, of those that succeed by sample, and nothing that may be a secret.
func TestAccessLog(t *testing.T) {
	const secret = "hunter2"
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer shop.Close()
	type line struct {
		Level, Msg, Flow, Trace, Method, Path, Route, Service string
		Status                                                int
	}
	for name, c := range map[string]struct {
		log    bool
		sample float64
		want   []string
	}{
		"off":         {false, 0, nil},
		"all":         {true, 0, []string{"INFO GET /works GET /{what...} shop 200", "WARN GET /fails GET /{what...} shop 502", "INFO POST /orders POST /orders  202", "INFO DELETE /none   405"}},
		"only errors": {true, -1, []string{"WARN GET /fails GET /{what...} shop 502"}},
	} {
		t.Run(name, func(t *testing.T) {
			logged := &warnings{}
			s := startServer(t, server.Options{AccessLog: c.log, AccessSample: c.sample, Logger: slog.New(slog.NewJSONHandler(logged, nil)),
				Services: []tandem.Service{{Name: "shop", URL: shop.URL}}, Topics: []tandem.Topic{{Name: "orders"}},
				Routes: []gateway.Route{{Match: "GET /{what...}", Service: "shop"}, {Match: "POST /orders", Topic: "orders", Type: "order.placed"}}})
			flows := map[string]string{}
			for _, request := range []string{"GET /works", "GET /fails", "POST /orders", "DELETE /none"} {
				method, path, _ := strings.Cut(request, " ")
				res, _ := send(t, method, "http://"+s.PublicAddr()+path+"?token="+secret, "", "", "Authorization", "Bearer "+secret)
				flows[path] = res.Header.Get(tandem.HeaderFlow)
			}
			var got []string
			lines := func() (n int) {
				got = nil
				for text := range strings.Lines(logged.String()) {
					var l line
					if json.Unmarshal([]byte(text), &l) != nil || l.Msg != "request" {
						continue
					}
					got = append(got, fmt.Sprintf("%s %s %s %s %s %d", l.Level, l.Method, l.Path, l.Route, l.Service, l.Status))
					if l.Flow != flows[l.Path] || l.Flow != "" && l.Trace != strings.ReplaceAll(l.Flow, "-", "") {
						t.Errorf("flow %q and trace %q, want %q: %s", l.Flow, l.Trace, flows[l.Path], text)
					}
				}
				return len(got)
			}
			until(t, "lines", func() bool { return lines() >= len(c.want) })
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if strings.Contains(logged.String(), secret) {
				t.Errorf("a secret is in the log: %s", logged)
			}
		})
	}
}

// TestAccessLogOfLongRequests: what a client sends makes no line of its own, and none that is long.
func TestAccessLogOfLongRequests(t *testing.T) {
	logged := &warnings{}
	shop := httptest.NewServer(http.NotFoundHandler())
	defer shop.Close()
	s := startServer(t, server.Options{AccessLog: true, Logger: slog.New(slog.NewTextHandler(logged, nil)),
		Services: []tandem.Service{{Name: "shop", URL: shop.URL}}, Routes: []gateway.Route{{Match: "/{what...}", Service: "shop"}}})
	long := strings.Repeat("X", 2000)
	send(t, long, "http://"+s.PublicAddr()+"/a%0Alevel=ERROR%20msg=forged"+long, "", "")
	var line string
	until(t, "line", func() bool {
		for l := range strings.Lines(logged.String()) {
			if strings.Contains(l, "msg=request") {
				line = l
			}
			if strings.HasPrefix(l, "level=ERROR") {
				t.Fatalf("forged: %s", l)
			}
		}
		return line != ""
	})
	if len(line) > 1500 {
		t.Errorf("%d bytes: %s", len(line), line)
	}
}
