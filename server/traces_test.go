package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// exported is a span as a collector gets it.
type exported struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	Links  []struct{ TraceID, SpanID string }
	Status struct{ Code int }
}

func (s *exported) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// collector stands in for one of OpenTelemetry.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []exported
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []exported } }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", r.URL, r.Header, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range body.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// of waits for n spans of a trace.
func (c *collector) of(t *testing.T, trace string, n int) (spans []exported) {
	t.Helper()
	until(t, fmt.Sprint(n, " spans"), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		spans = nil
		for _, s := range c.spans {
			if s.TraceID == trace {
				spans = append(spans, s)
			}
		}
		return len(spans) >= n
	})
	return spans
}

// tree draws spans with their children, in the order of names.
func tree(spans []exported, parent string, depth int) (out string) {
	for _, name := range []string{"POST /orders", "publish orders", "deliver orders", "publish replies"} {
		for i := range spans {
			if s := &spans[i]; s.ParentSpanID == parent && s.Name == name {
				out += fmt.Sprintf("%s%s kind %d %s%s\n", strings.Repeat(" ", depth), s.Name, s.Kind, s.attribute("messaging.destination.subscription.name"), map[int]string{2: " failed"}[s.Status.Code])
				out += tree(spans, s.SpanID, depth+1)
			}
		}
	}
	return out
}

// TestTraces: a collector gets spans that form one trace over gateway, event, delivery and reply, and services are told where they are in it.
func TestTraces(t *testing.T) {
	c := newCollector(t)
	var mu sync.Mutex
	told := map[string][]string{} // traceparents by path
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		told[r.URL.Path] = append(told[r.URL.Path], r.Header.Get("Traceparent"))
		if r.URL.Path == "/pay" && len(told["/pay"]) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", tandem.MediaEvent)
		_, _ = io.WriteString(w, `{"specversion":"1.0","id":"own","source":"/x","type":"reply"}`)
	}))
	defer shop.Close()
	s := startServer(t, server.Options{
		Traces:   c.URL,
		Services: []tandem.Service{{Name: "shop", URL: shop.URL}},
		Topics:   []tandem.Topic{{Name: "orders"}, {Name: "carts"}, {Name: "replies"}},
		Routes:   []gateway.Route{{Match: "POST /orders", Topic: "orders", Type: "order.placed"}},
		Subscriptions: []tandem.Subscription{
			{Name: "pay", Topics: []string{"orders"}, Service: "shop", Path: "/pay", Replies: "replies", Backoff: tandem.Backoff{Base: 1, Max: 1}},
		},
	})
	const want = `POST /orders kind 2 
 publish orders kind 4 
  deliver orders kind 5 pay failed
  deliver orders kind 5 pay
   publish replies kind 4 
`
	// Of a client without a trace, and of one with its own.
	for _, parent := range []string{"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"} {
		mu.Lock()
		clear(told)
		mu.Unlock()
		var header []string
		if parent != "" {
			header = []string{"Traceparent", parent, "Tracestate", aState}
		}
		res, _ := send(t, "POST", "http://"+s.PublicAddr()+"/orders", "application/json", "1", header...)
		trace, root := strings.ReplaceAll(res.Header.Get(tandem.HeaderFlow), "-", ""), ""
		if parent != "" {
			trace, root = parent[3:35], parent[36:52]
		}
		spans := c.of(t, trace, 5)
		if got := tree(spans, root, 0); got != want || len(spans) != 5 {
			t.Errorf("%d spans\n%s\nwant\n%s", len(spans), got, want)
		}
		mu.Lock()
		for i := range spans {
			s := &spans[i]
			if s.Name == "deliver orders" && told["/pay"][0] != "00-"+trace+"-"+s.SpanID+"-01" && told["/pay"][1] != "00-"+trace+"-"+s.SpanID+"-01" {
				t.Errorf("the service was told %q, not of %s", told["/pay"], s.SpanID)
			}
			if s.attribute("tandem.flow") == "" {
				t.Errorf("%s has no flow", s.Name)
			}
		}
		mu.Unlock()
	}
	// What is not sampled is passed on as it is, and no span is made of it.
	const unsampled = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	mu.Lock()
	clear(told)
	mu.Unlock()
	send(t, "POST", "http://"+s.PublicAddr()+"/orders", "application/json", "1", "Traceparent", unsampled)
	until(t, "delivery", func() bool { mu.Lock(); defer mu.Unlock(); return len(told["/pay"]) == 2 })
	if told["/pay"][0] != unsampled {
		t.Errorf("told %q", told["/pay"])
	}
	res, _ := send(t, "POST", "http://"+s.PublicAddr()+"/orders", "application/json", "1") // behind it
	c.of(t, strings.ReplaceAll(res.Header.Get(tandem.HeaderFlow), "-", ""), 4)
	for _, span := range c.of(t, unsampled[3:35], 0) {
		t.Errorf("a span of a trace that is not sampled: %s", span.Name)
	}
	// An event of the API begins a trace with itself.
	if _, err := newClient(t, s).Publish(t.Context(), "carts", tandem.Event{ID: "1", Source: "/x", Type: "t", Meta: tandem.Meta{Flow: "a-flow"}}); err != nil {
		t.Fatal(err)
	}
	page := get(t, "http://"+s.APIAddr()+"/v1/topics/carts/events?from=earliest")
	_, trace, _ := strings.Cut(page, `"traceparent":"00-`)
	if spans := c.of(t, trace[:32], 1); len(spans) != 1 || spans[0].Name != "publish carts" || spans[0].ParentSpanID != "" {
		t.Errorf("%+v", spans)
	}
}

// TestTraceOfABatch: a request with several events is a trace of its own, which the service is told, and links to the attempt of each.
func TestTraceOfABatch(t *testing.T) {
	c := newCollector(t)
	batches := make(chan string, 1000)
	shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if events, _ := tandem.ParseBatchJSON(body); len(events) == 2 {
			batches <- r.Header.Get("Traceparent")
		}
	}))
	defer shop.Close()
	s := startServer(t, server.Options{Traces: c.URL, Topics: []tandem.Topic{{Name: "carts", Partitions: 1}}, Services: []tandem.Service{{Name: "shop", URL: shop.URL}},
		Subscriptions: []tandem.Subscription{{Name: "mail", Topics: []string{"carts"}, Service: "shop", Content: tandem.ContentBatch, BatchSize: 2}}})
	api := newClient(t, s)
	parent := ""
	until(t, "a batch of two", func() bool { // one may be sent before the other is there
		if _, err := api.Publish(t.Context(), "carts", tandem.Event{ID: tandem.NewID(), Source: "/x", Type: "t"}, tandem.Event{ID: tandem.NewID(), Source: "/x", Type: "t"}); err != nil {
			t.Fatal(err)
		}
		select {
		case parent = <-batches:
		default:
		}
		return parent != ""
	})
	span := c.of(t, parent[3:35], 1)[0]
	if span.SpanID != parent[36:52] || span.ParentSpanID != "" || len(span.Links) != 2 || span.attribute("messaging.batch.message_count") != "2" {
		t.Fatalf("%q became %+v", parent, span)
	}
	for _, link := range span.Links {
		spans := c.of(t, link.TraceID, 2)
		found := false
		for i := range spans {
			found = found || spans[i].SpanID == link.SpanID && spans[i].Name == "deliver carts"
		}
		if !found {
			t.Errorf("%+v is none of %+v", link, spans)
		}
	}
}
