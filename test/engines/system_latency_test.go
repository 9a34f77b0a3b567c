package engines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// late collects how long after it was due an event came.
type late struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *late) note(event []byte) {
	now := time.Now()
	var e struct{ Data struct{ Due int64 } }
	if json.Unmarshal(event, &e) != nil || e.Data.Due == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, now.Sub(time.Unix(0, e.Data.Due)))
}

func (l *late) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// quantiles are the middle and the 99th of a hundred, in ms.
func (l *late) quantiles() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.all)
	ms := func(of int) float64 { return float64(l.all[(len(l.all)-1)*of/100].Microseconds()) / 1000 }
	return fmt.Sprintf("%.1f, %.1f", ms(50), ms(99))
}

// TestSystemLatency publishes TANDEM_LATENCY events a second for ten seconds, whatever becomes of them, and says how long each took from when it was
// due to its receipt, to a webhook and to a stream, on the embedded log and on each real server.
func TestSystemLatency(t *testing.T) {
	rate, err := strconv.Atoi(os.Getenv("TANDEM_LATENCY"))
	if err != nil {
		t.Skip("set TANDEM_LATENCY=200 to publish 200 events a second")
	}
	t.Run("embedded", func(t *testing.T) { measureLatency(t, "embedded", rate) })
	onEngines(t, false, func(t *testing.T, engine string) { measureLatency(t, ownPrefix(engine), rate) })
}

func measureLatency(t *testing.T, engine string, rate int) {
	var receipts, hook, stream late
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			hook.note(body)
		}
	}))
	defer sink.Close()
	s := startSystem(t, engine, fmt.Sprintf(`
services:
  sink: {url: %s}
topics:
  orders: {partitions: 8}
subscriptions:
  hook: {topics: [orders], service: sink, path: /, from: earliest, concurrency: 64}
`, sink.URL))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	follow(ctx, t, s, &reading, &stream)
	publish := func(n int, due time.Time) {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"e%d","source":"/latency","type":"t","subject":"k%d","data":{"due":%d,"text":"%0160d"}}`, n, n%1000, due.UnixNano(), n)
		if a := s.do(ctx, http.MethodPost, "/v1/topics/orders/events", "application/cloudevents+json", body); a.status != http.StatusCreated {
			t.Errorf("%d %s", a.status, a.body)
		}
		receipts.note([]byte(body))
	}
	for n := range 100 { // until all is warm
		publish(-1-n, time.Unix(0, 0)) // which counts nowhere
	}
	total := rate * 10
	var sending sync.WaitGroup
	start := time.Now()
	for n := range total {
		due := start.Add(time.Duration(n) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		sending.Go(func() { publish(n, due) })
	}
	sending.Wait()
	s.within(time.Minute, "all have come", func() bool { return hook.count() >= total && stream.count() >= total })
	t.Logf("%d events a second; p50 and p99 in ms: receipt %s; webhook %s; stream %s", rate, receipts.quantiles(), hook.quantiles(), stream.quantiles())
}

// follow notes what a stream of server-sent events gets.
func follow(ctx context.Context, t *testing.T, s *system, reading *sync.WaitGroup, into *late) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+"/v1/topics/orders/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	reading.Go(func() {
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:")); ok {
				into.note(data)
			}
		}
	})
}
