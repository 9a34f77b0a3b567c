package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/benchfloor"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// The benchmarks measure the whole way over loopback, client included, as a ratio to the least that a handler can do
// that makes the same bytes durable: read the body, append it to a file with group commit, answer.

const (
	benchData  = `{"customer":"17850","total":20.34,"lines":[{"sku":"85123A","quantity":6,"price":2.55},{"sku":"71053","quantity":6,"price":3.39}],"country":"United Kingdom"}`
	benchRound = 500 * time.Millisecond
)

func BenchmarkPublishPlain(b *testing.B) {
	r := request("/v1/topics/orders/events?subject=42", "application/json", benchData)
	benchmarkPublish(b, 64, 1, func() string { return r })
}

func BenchmarkPublishStructuredWithIDs(b *testing.B) {
	var n atomic.Int64
	benchmarkPublish(b, 64, 1, func() string {
		return request("/v1/topics/orders/events", tandem.MediaEvent, fmt.Sprintf(`{"specversion":"1.0","id":"%016x","source":"/shop","type":"order.placed","subject":"42","data":%s}`, n.Add(1), benchData))
	})
}

func BenchmarkPublishNDJSON(b *testing.B) {
	r := request("/v1/topics/orders/events?subject=42", tandem.MediaNDJSON, strings.Repeat(benchData+"\n", 500))
	benchmarkPublish(b, 8, 500, func() string { return r })
}

// benchmarkPublish takes turns between the floor and the API, so that both see the same machine.
func benchmarkPublish(b *testing.B, conns, events int, next func() string) {
	dir := b.TempDir()
	file, err := benchfloor.OpenFile(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	floor := listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = file.Append(body)
		}
		if err != nil {
			w.WriteHeader(500)
			return
		}
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{"offset":1}`)
	}))
	engine, err := pebblelog.Open(filepath.Join(dir, "log"), pebblelog.Options{FreeBytes: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	log, err := eventlog.Open(context.Background(), engine, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	if _, err := log.CreateTopic(context.Background(), tandem.Topic{Name: "orders", Source: "/shop", Type: "order.placed"}); err != nil {
		b.Fatal(err)
	}
	a := api.New(api.Options{Log: log, Auth: auth.New(nil), Streams: stream.New(log, stream.Options{}), Logger: slog.New(slog.DiscardHandler)})
	defer a.Close()
	tandem := listen(b, a)

	load(b, floor, conns, benchRound/5, next)
	load(b, tandem, conns, benchRound/5, next)
	b.ResetTimer()
	b.ReportAllocs()
	var bare, ours float64
	rounds := 0
	for b.Loop() {
		bare += load(b, floor, conns, benchRound, next)
		ours += load(b, tandem, conns, benchRound, next)
		rounds++
	}
	n := float64(events) / float64(rounds)
	b.ReportMetric(ours*n, "events/s")
	b.ReportMetric(bare*n, "floor/s")
	b.ReportMetric(ours/bare, "ratio")
}

func listen(b *testing.B, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

func request(path, contentType, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, contentType, len(body), body)
}

// load sends requests over keep-alive connections, one at a time on each, and returns how many were answered in a second.
func load(b *testing.B, addr string, conns int, d time.Duration, next func() string) float64 {
	var done atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	end := begin.Add(d)
	for range conns {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 64<<10)
			for time.Now().Before(end) {
				if _, err := io.WriteString(conn, next()); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(r); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds()
}

// readAnswer reads an answer with a known length.
func readAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 20")):
			rest, _ := r.Peek(r.Buffered())
			return fmt.Errorf("%s%s", line, rest)
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[16:])))
			if err != nil {
				return err
			}
		case len(line) == 2:
			if length < 0 {
				return fmt.Errorf("the answer has no length")
			}
			_, err = r.Discard(length)
			return err
		}
	}
}
