package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// BenchmarkRequestChain publishes through chains of services, and sends the same to a hand-written orchestrator that calls them with
// net/http and stores nothing, by turns. It reports the ratio of the medians and what a link adds beyond its call.
func BenchmarkRequestChain(b *testing.B) {
	for _, links := range []int{1, 3, 8} {
		for _, work := range []time.Duration{0, 5 * time.Millisecond} {
			b.Run(fmt.Sprintf("links=%d/work=%s", links, work), func(b *testing.B) { benchChain(b, links, work) })
		}
	}
}

func benchChain(b *testing.B, links int, work time.Duration) {
	services := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if work > 0 {
			time.Sleep(work) // the work of the service
		}
		n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Content-Type", tandem.MediaEvent)
		fmt.Fprintf(w, `{"specversion":"1.0","id":"r","source":"/svc","type":"step.%d","data":{"n":%d}}`, n, n)
	}))
	defer services.Close()
	opts := server.Options{
		Services: []tandem.Service{{Name: "svc", URL: services.URL}}, Topics: []tandem.Topic{{Name: "orders", Type: "step.0", Source: "/bench"}},
		Data: b.TempDir(), FreeBytes: -1, PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0",
	}
	for i := range links {
		opts.Subscriptions = append(opts.Subscriptions, tandem.Subscription{Name: fmt.Sprint("link-", i), Topics: []string{"orders"}, Mode: "request",
			Filter: exactType(fmt.Sprint("step.", i)), Service: "svc", Path: fmt.Sprint("/", i+1)})
	}
	s, err := server.New(opts)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
	bare := orchestrator(services.URL, links)
	defer bare.Close()

	body := []byte(`{"order":"o-1","pence":1200,"lines":[{"sku":"a","n":1},{"sku":"b","n":2}]}`)
	through, by := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	url := "http://" + s.APIAddr() + "/v1/topics/orders/events?subject=o-1"
	for range 20 { // connections are there
		benchPost(b, url, body)
		benchPost(b, bare.URL, body)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		through = append(through, benchPost(b, url, body))
		by = append(by, benchPost(b, bare.URL, body))
	}
	b.StopTimer()
	slices.Sort(through)
	slices.Sort(by)
	mine, theirs := through[len(through)/2], by[len(by)/2]
	b.ReportMetric(float64(mine)/float64(theirs), "p50-ratio")
	b.ReportMetric(float64(mine-theirs)/float64(links)/1e6, "ms/link")
	b.ReportMetric(float64(mine)/1e6, "ms-p50")
}

// orchestrator calls the services of a chain one after another and answers with what all of them answered.
func orchestrator(services string, links int) *httptest.Server {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		all := []byte{'['}
		for i := range links {
			req, _ := http.NewRequestWithContext(r.Context(), http.MethodPost, fmt.Sprint(services, "/", i+1), bytes.NewReader(body))
			req.Header.Set("Content-Type", tandem.MediaEvent)
			res, err := transport.RoundTrip(req)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			body, _ = io.ReadAll(res.Body)
			res.Body.Close()
			all = append(append(all, body...), ',')
		}
		_, _ = w.Write(append(all[:len(all)-1], ']'))
	}))
}

func benchPost(b *testing.B, url string, body []byte) time.Duration {
	begun := time.Now()
	res, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b.Fatal(res.Status)
	}
	return time.Since(begun)
}
