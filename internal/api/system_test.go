package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
)

// TestRoles: every kind of resource needs its role, and nothing happens without it.
func TestRoles(t *testing.T) {
	var tokens []auth.Token
	for _, role := range []string{"read", "publish", "operate", "pull"} {
		sum := sha256.Sum256([]byte("secret-" + role))
		tokens = append(tokens, auth.Token{Name: role + "er", SHA256: hex.EncodeToString(sum[:]), Roles: []string{role}})
	}
	h := newHarness(t, func(o *api.Options) { o.Auth = auth.New(tokens) })
	for _, c := range []struct {
		method, path, body, role string
		status                   int
	}{
		{"GET", "/v1/topics", "", "read", 200},
		{"GET", events, "", "read", 200},
		{"GET", "/v1/streams", "", "read", 200},
		{"GET", "/metrics", "", "read", 200},
		{"POST", events + plainType, "{}", "publish", 201},
		{"PUT", "/v1/topics/new", "{}", "operate", 201},
		{"DELETE", "/v1/topics/new", "", "operate", 204},
		{"POST", "/v1/config:reload", "", "operate", 409},
		{"POST", "/v1/subscriptions/a:pull", "", "pull", 501},
		{"POST", "/v1/subscriptions/a:ack", `{}`, "pull", 501},
		{"POST", "/v1/subscriptions/a:test", "", "operate", 501},
		{"GET", "/v1/subscriptions/a/deliveries", "", "read", 501},
	} {
		for _, have := range []string{"", "read", "publish", "operate", "pull", "wrong"} {
			var header []string
			if have != "" {
				header = []string{"Authorization", "Bearer secret-" + have}
			}
			a := h.do(c.method, c.path, c.body, append(header, "Host", "api.example")...)
			switch {
			case have == c.role:
				a.want(c.status)
			case have == "" || have == "wrong":
				if a.problem(401); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("%s %s: %v", c.method, c.path, a.header)
				}
			default:
				a.problem(403)
			}
		}
	}
	h.do("GET", "/livez", "", "Host", "any").want(200)
	h.do("GET", "/readyz", "", "Host", "any").want(200)
	if got := h.stored("orders"); len(got) != 1 || got[0].Meta.Producer != "publisher" {
		t.Errorf("stored %+v", got)
	}
	if strings.Contains(h.logged.String(), "secret") {
		t.Errorf("a token was logged: %s", h.logged)
	}
}

// TestOtherOrigins: what a web page can make a browser send to loopback.
func TestOtherOrigins(t *testing.T) {
	h := newHarness(t, nil)
	for _, header := range [][]string{
		{"Origin", "http://evil.example"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Host", "rebound.example:8090"},
	} {
		h.do("POST", events+plainType, "{}", header...).problem(403, header[0])
		h.do("GET", events, "", append(header, "Accept", tandem.MediaSSE)...).problem(403, header[0])
	}
	if n := len(h.stored("orders")); n != 0 {
		t.Errorf("%d events are stored", n)
	}
	h.do("POST", events+plainType, "{}", "Origin", "http://localhost:8090", "Host", "localhost:8090", "Sec-Fetch-Site", "same-origin").want(201)
}

func TestMetrics(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.Version = "1.2.3" })
	h.publish(tandem.MediaEvent, anEvent).want(201)
	h.do("POST", events+plainType, "1\n2\n{\n", "Content-Type", tandem.MediaNDJSON).want(200)
	h.publish(tandem.MediaEvent, "{").want(400)
	h.do("GET", "/nowhere", "").want(404)
	h.do("GET", events+"?from=earliest", "").want(200)
	for i := range 300 { // labels are bounded
		name := fmt.Sprint("t", i)
		h.create(tandem.Topic{Name: name, Partitions: 1})
		h.do("POST", "/v1/topics/"+name+"/events"+plainType, "1").want(201)
	}
	body := h.do("GET", "/metrics", "").want(200).body
	for _, want := range []string{
		`tandem_published_events_total{topic="orders"} 3`,
		`tandem_published_bytes_total{topic="orders"} 14`,
		`tandem_published_events_total{topic="(others)"} 45`,
		`tandem_api_problems_total{status="400"} 1`,
		`tandem_api_problems_total{status="404"} 1`,
		`tandem_api_request_seconds_count{method="POST",path="/v1/topics/{topic}/events"} 303`,
		`tandem_streams_open 0`,
		`tandem_stream_events_total 3`,
		`tandem_log_events_total 303`,
		`tandem_log_writable 1`,
		`tandem_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if n := strings.Count(body, "tandem_published_events_total{"); n != 257 {
		t.Errorf("%d series by topic", n)
	}
}

// TestConflictsAreCounted: where an engine stores other data under the id of an event, an operator sees it when it is read.
func TestConflictsAreCounted(t *testing.T) {
	h := newHarnessOver(t, memlog.Options{Partitioned: true, LateDedup: true}, nil)
	for _, data := range []string{"1", "2", "1"} {
		h.publish(tandem.MediaEvent, `{"specversion":"1.0","id":"a","source":"/s","type":"t","subject":"k","data":`+data+`}`).want(201)
	}
	h.do("GET", events+"?from=earliest", "").want(200)
	for _, want := range []string{"tandem_log_conflicts_total 1", "tandem_log_repeats_total 2"} {
		if body := h.do("GET", "/metrics", "").want(200).body; !strings.Contains(body, want+"\n") {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

// panicking is a room with a defect.
type panicking struct{ after bool }

func (p panicking) Serve(w http.ResponseWriter, _ *http.Request, _ tandem.StreamRequest) {
	if p.after {
		w.WriteHeader(200)
	}
	panic("a defect")
}
func (panicking) Present(tandem.StreamQuery) tandem.StreamPresence { return tandem.StreamPresence{} }
func (panicking) Open() int                                        { return 0 }
func (panicking) Sent() uint64                                     { return 0 }
func (panicking) Lagging() uint64                                  { return 0 }
func (panicking) WaitingBytes() int64                              { return 0 }

func TestPanicsAreRecovered(t *testing.T) {
	for _, after := range []bool{false, true} {
		h := newHarness(t, func(o *api.Options) { o.Streams = panicking{after} })
		srv := h.serve()
		resp, err := http.Get(srv.URL + events)
		if after { // the answer has begun, so it is broken off
			if err == nil {
				if _, err = resp.Body.Read(make([]byte, 1)); err == nil || resp.ContentLength == 0 {
					t.Error("half an answer looks whole")
				}
				resp.Body.Close()
			}
		} else {
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 500 {
				t.Errorf("%s", resp.Status)
			}
		}
		if resp, err := http.Get(srv.URL + "/livez"); err != nil || resp.StatusCode != 200 {
			t.Errorf("the process does not live on: %v", err)
		}
		if !strings.Contains(h.logged.String(), "a defect") {
			t.Errorf("the log says %s", h.logged)
		}
	}
}

func TestReadyAsksTheServer(t *testing.T) {
	var why error
	h := newHarness(t, func(o *api.Options) { o.Ready = func() error { return why } })
	h.do("GET", "/readyz", "").want(200)
	why = tandem.Errorf(tandem.CodeUnavailable, "draining")
	if p := h.do("GET", "/readyz", "").problem(503); !strings.Contains(p.Detail, "draining") {
		t.Errorf("%+v", p)
	}
	why = errors.New("internal name")
	if a := h.do("GET", "/readyz", "").want(503); strings.Contains(a.body, "internal name") {
		t.Errorf("%s", a.body)
	}
}

func TestOpenAPIDocumentIsServed(t *testing.T) {
	h := newHarness(t, nil)
	a := h.do("GET", "/v1/openapi.json", "").want(200)
	if doc := decode[map[string]any](a); doc["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", doc["openapi"])
	}
	h.do("GET", "/v1/openapi.json", "", "If-None-Match", a.header.Get("ETag")).want(304)
}
