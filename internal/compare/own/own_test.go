package own

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/compare"
)

// The test binary is its own child, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "compare-service" {
		if err := compare.Child(context.Background(), os.Args[2], nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func write(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Services that run elsewhere are compared as they are: the slow one is the one to be an event.
func TestOwnServices(t *testing.T) {
	const slow = 300 * time.Millisecond
	var mu sync.Mutex
	units := map[string]int{} // deliveries to the quick one
	service := func(wait time.Duration) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var e struct{ Data struct{ Unit, ID string } }
			body, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(body, &e); err != nil || e.Data.Unit == "" || len(e.Data.ID) != 36 {
				t.Errorf("delivered %s", body)
			}
			if wait == 0 {
				mu.Lock()
				units[e.Data.Unit]++
				mu.Unlock()
			}
			time.Sleep(wait)
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	config := write(t, "tandem.yaml", fmt.Sprintf(`
engine: {kafka: {brokers: ["127.0.0.1:1"]}} # is not touched
services: {quick: {url: %q}, slow: {url: %q}}
topics: {orders: {partitions: 2}}
routes: [{match: "POST /orders", topic: orders, type: order.placed}]
subscriptions:
  quick: {topics: [orders], service: quick, from: earliest}
  late: {topics: [orders], service: slow, from: earliest, concurrency: 32}
`, service(0), service(slow)))
	s, err := New(config, write(t, "requests.ndjson", `{"path": "/orders", "body": {"unit": "{{unit}}", "id": "{{uuid}}"}}`+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := compare.Run(t.Context(), []compare.Scenario{s}, compare.Options{Extent: compare.Quick, Rate: 20, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cells := r.Findings[0].Cells
	if len(cells) != 4 || value(&cells[0]) != "none" || value(&cells[3]) != all {
		t.Fatalf("%+v", cells)
	}
	accepted := 0
	for _, c := range cells {
		accepted += int(c.Outcome.Accepted)
		if c.Outcome.Refused+c.Outcome.Unknown > 0 || c.Done != nil {
			t.Errorf("%s %s: %+v, %+v", c.Style, value(&c), c.Outcome, c.Done)
		}
		waits := value(&c) == "late" || value(&c) == all
		if c.NotReachable == "" && (c.Answered.P50 >= slow) != waits {
			t.Errorf("%s %s: answered in %s at p50, the slow service takes %s", c.Style, value(&c), c.Answered.P50, slow)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for unit, n := range units {
		if n > 1 {
			t.Errorf("%s was delivered %d times", unit, n)
		}
	}
	if len(units) < accepted { // and those of the warm-up
		t.Errorf("%d units were accepted, %d delivered", accepted, len(units))
	}
	if len(r.Advice) != 3 || r.Advice[1].Link != "late (to slow)" || r.Advice[1].Style != compare.Event || r.Advice[2].Link != "all links at once" {
		t.Errorf("%+v", r.Advice)
	}
}

// What chance explains is no reason for a style.
func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	cell := func(style, links string, away int64, p99, interval time.Duration) compare.Cell {
		return compare.Cell{Style: style, Params: []compare.Param{{Name: linkParam, Value: links}}, Load: compare.Load{Units: 1000},
			Outcome: compare.Outcome{Accepted: 1000 - away, Refused: away}, Answered: &compare.Latency{P99: p99, P99Interval: interval}}
	}
	v := (&Scenario{topology: &topology{}}).Judge([]compare.Cell{cell(compare.Event, "none", 5, 20*ms, ms),
		cell(compare.Request, "few", 15, 25*ms, ms), cell(compare.Request, "many", 16, 25*ms, ms), cell(compare.Request, "slow", 5, 26*ms, ms),
		cell(compare.Request, "varies", 5, 26*ms, 5*ms), cell(compare.Request, all, 5, 40*ms, ms)})
	var got []string
	for _, a := range v.Advice {
		got = append(got, a.Link+": "+a.Style)
	}
	if want := []string{"few: either", "many: event", "slow: event", "varies: either", "all links at once: event"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTopology(t *testing.T) {
	path := write(t, "tandem.yaml", `
data: /var/lib/tandem
engine: {nats: {url: "nats://broker:4222"}}
public: {listen: ":80"}
api: {listen: "127.0.0.1:1", tokens: []}
services: {a: {url: "http://a"}, b: {url: "http://b"}}
topics: {t: {}}
routes: [{match: "GET /", service: a, authorize: b}]
subscriptions:
  one: {topics: [t], service: b, secret: "file:keys/one"}
  two: {topics: [t], url: "http://c"}
  pulled: {topics: [t], pull: {}}
  sent: {topics: [t], amqp: {url: "amqp://broker", exchange: x}}
`)
	got, err := readTopology(path)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.links, got.fronts, got.left, got.directly) != "[{one b} {two }] [a b] [sent] [two]" || got.urls["b"] != "http://b" {
		t.Errorf("%+v", got)
	}
	text := string(got.yaml)
	for _, gone := range []string{"/var/lib", "broker", ":80", "127.0.0.1:1", "sent"} {
		if strings.Contains(text, gone) {
			t.Errorf("%q is still in\n%s", gone, text)
		}
	}
	if !strings.Contains(text, "file:"+filepath.Join(filepath.Dir(path), "keys/one")) {
		t.Errorf("the secret is not found from elsewhere:\n%s", text)
	}
	if _, err := readTopology(write(t, "tandem.yaml", "topics: {t: {}}\n")); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("nothing to compare: %v", err)
	}
}

func TestRequests(t *testing.T) {
	path := write(t, "r.ndjson", `{"method":"PUT","path":"/a/{{seq}}","headers":{"X-Unit":"{{unit}}"},"body":{"id":"{{uuid}}","other":"{{uuid}}"}}

{"path":"/b","headers":{"content-type":"text/plain"},"body":"at {{now}} {} {"}
{"method":"GET","path":"/c"}
`)
	list, err := readRequests(path)
	if err != nil || len(list) != 3 {
		t.Fatalf("%v, %+v", err, list)
	}
	made := func(i int) (*http.Request, string) {
		req, err := list[i].make(t.Context(), "http://h", 7, "u7")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(req.Body)
		return req, string(body)
	}
	req, body := made(0)
	var ids struct{ ID, Other string }
	if err := json.Unmarshal([]byte(body), &ids); err != nil || len(ids.ID) != 36 || ids.ID[14] != '4' || ids.ID == ids.Other {
		t.Errorf("%s: %v", body, err)
	}
	if req.Method != "PUT" || req.URL.String() != "http://h/a/7" || req.Header.Get("X-Unit") != "u7" || req.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", req)
	}
	if req, body = made(1); req.Method != "POST" || req.Header.Get("Content-Type") != "text/plain" || !strings.HasPrefix(body, "at 2") || !strings.HasSuffix(body, "Z {} {") {
		t.Errorf("%q, %+v", body, req)
	}
	if req, body = made(2); req.Method != "GET" || body != "" || req.Header.Get("Content-Type") != "" {
		t.Errorf("%q, %+v", body, req)
	}
	for line, want := range map[string]string{
		"": "no requests", `{"path":"a"}`: "begin with /", `{"path":"/{{id}}"}`: "{{id}} is not", `{"path":"/","url":"x"}`: "unknown field", `{`: ":1:",
		`{"path":"/","body":"{{seq"}`: "{{seq}} is not",
	} {
		if _, err := readRequests(write(t, "bad", line)); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	if _, err := readRequests(filepath.Join(t.TempDir(), "none")); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("%v", err)
	}
}
