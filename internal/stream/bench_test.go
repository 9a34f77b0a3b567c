package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/benchstream"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// TestMain turns the test binary into the clients, or the server, of a benchmark when it is started as such.
func TestMain(m *testing.M) {
	benchstream.Main(map[string]benchstream.Role{roleStreams: runStreams})
	os.Exit(run(m))
}

const (
	benchTopic = "bench"
	benchBytes = 200 // the data of an event
	benchWait  = 2 * time.Minute
)

// benchClients is how many clients benchmarks have: TANDEM_BENCH_CLIENTS, or 1,000.
func benchClients(b *testing.B) int {
	v := os.Getenv("TANDEM_BENCH_CLIENTS")
	if v == "" {
		return 1000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		b.Fatalf("TANDEM_BENCH_CLIENTS=%s", v)
	}
	return n
}

// bed is the streams of a log with one topic of one partition, behind a server on loopback. The engine is memlog, or
// pebblelog with TANDEM_BENCH_ENGINE=pebblelog.
type bed struct {
	log     *eventlog.Log
	streams *stream.Streams
	srv     *http.Server
	addr    string
	dir     string // of pebblelog
	seq     uint64 // of the next event
}

func newBed(clients int) (b *bed, err error) {
	b = &bed{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	quiet := slog.New(slog.DiscardHandler)
	var engine driver.Driver = memlog.New(memlog.Options{})
	if os.Getenv("TANDEM_BENCH_ENGINE") == "pebblelog" {
		if b.dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
			return b, err
		}
		if engine, err = pebblelog.Open(b.dir, pebblelog.Options{FreeBytes: -1, Logger: quiet}); err != nil {
			return b, err
		}
	}
	if b.log, err = eventlog.Open(context.Background(), engine, eventlog.Options{Logger: quiet}); err != nil {
		return b, err
	}
	if _, err = b.log.CreateTopic(context.Background(), tandem.Topic{Name: benchTopic, Partitions: 1}); err != nil {
		return b, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return b, err
	}
	b.addr = l.Addr().String()
	b.streams = stream.New(b.log, stream.Options{MaxStreams: clients + 10, Logger: quiet})
	b.srv = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.streams.Serve(w, r, tandem.StreamRequest{Topics: []string{benchTopic}})
	})}
	go b.srv.Serve(l)
	return b, nil
}

func (b *bed) close() {
	if b.streams != nil {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.streams.Stop(now) // at once
		b.srv.Close()
	}
	if b.log != nil {
		b.log.Close()
	}
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

// publish appends the next n events in one batch; at is the time that they carry.
func (b *bed) publish(n int, at int64) error {
	events := make([]tandem.Event, n)
	for i := range events {
		events[i] = tandem.Event{Source: "/bench", Type: "bench.event", Data: benchstream.Data(b.seq, at, benchBytes)}
		b.seq++
	}
	_, err := b.log.Append(context.Background(), benchTopic, events)
	return err
}

// startBed is newBed for a benchmark, and ready an event as its clients get it. It skips what the server does not support.
func startBed(b *testing.B, clients int, webSocket bool) (w *bed, ready []byte) {
	w, err := newBed(clients)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.close)
	if err := w.publish(1, 0); err != nil {
		b.Fatal(err)
	}
	ready, err = benchstream.Probe(benchstream.Options{Addr: w.addr, Path: "/?from=earliest", WebSocket: webSocket})
	if errors.Is(err, benchstream.ErrUnsupported) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	return w, ready
}

// startBare starts the floor.
func startBare(b *testing.B, webSocket bool) *benchstream.Bare {
	bare, err := benchstream.NewBare(benchstream.BareOptions{WebSocket: webSocket})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(bare.Close)
	return bare
}

// connect starts a process of clients.
func connect(b *testing.B, opts benchstream.Options) *benchstream.Clients {
	if opts.Path == "" {
		opts.Path = "/"
	}
	c, err := benchstream.Connect(opts)
	if errors.Is(err, benchstream.ErrUnsupported) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// roleStreams is the role of a bed in a process of its own, which answers as benchstream.Serve does. Its options are the number
// of clients.
const roleStreams = "streams"

func runStreams(options []byte, in io.Reader, out *json.Encoder) error {
	var clients int
	if err := json.Unmarshal(options, &clients); err != nil {
		return err
	}
	b, err := newBed(clients)
	if err != nil {
		return err
	}
	defer b.close()
	return benchstream.Serve(b.addr, in, out)
}
