package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/benchstream"
	"github.com/tandem-hybrid/tandem/server"
)

const (
	loadTopic   = "load"
	loadPath    = "/v1/topics/" + loadTopic + "/events"
	loadBytes   = 1000 // the data of an event
	loadBatch   = 20   // events of a request
	patience    = 2 * time.Minute
	longer      = 10 * time.Minute // for what a soak test has much of
	mostStreams = 20_000           // that a server allows unless told otherwise
)

func soaking() bool { return os.Getenv("TANDEM_SOAK") != "" }

// sized is a number for CI, and one for TANDEM_SOAK.
func sized(ci, soak int) int {
	if soaking() {
		return soak
	}
	return ci
}

// roleServer is the role of a server over a directory in a process of its own, which answers as benchstream.Serve does and
// stops when it is told to terminate.
const roleServer = "server"

type serverOptions struct{ Dir, API string }

func runServer(options []byte, in io.Reader, out *json.Encoder) error {
	var opts serverOptions
	if err := json.Unmarshal(options, &opts); err != nil {
		return err
	}
	terminated, ignore := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer ignore()
	s, err := server.New(server.Options{Data: opts.Dir, PublicAddr: "127.0.0.1:0", APIAddr: opts.API, FreeBytes: -1,
		Topics: []tandem.Topic{{Name: loadTopic, Partitions: 1}}})
	if err != nil {
		return err
	}
	if err := s.Start(context.Background()); err != nil {
		return err
	}
	asked := make(chan error, 1)
	go func() { asked <- benchstream.Serve(s.APIAddr(), in, out) }()
	select {
	case err = <-asked:
	case <-terminated.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(err, s.Stop(ctx))
}

// loaded is a server in a process of its own that comes back at the same address.
type loaded struct {
	t     *testing.T
	opts  serverOptions
	child *benchstream.Child
}

func startLoaded(t *testing.T) *loaded {
	t.Helper()
	if testing.Short() {
		t.Skip("starts server processes: run without -short")
	}
	l := &loaded{t: t, opts: serverOptions{Dir: t.TempDir(), API: fixedAddr(t)}}
	l.start()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if l.child != nil {
			if err := l.child.Close(); err != nil {
				t.Errorf("the server: %v", err)
			}
		}
	})
	return l
}

func (l *loaded) start() {
	l.t.Helper()
	var err error
	if l.child, err = benchstream.Start(roleServer, l.opts, new(benchstream.Ready)); err != nil {
		l.t.Fatal(err)
	}
}

// terminate stops the server and waits until it is gone.
func (l *loaded) terminate() {
	l.t.Helper()
	child := l.child
	l.child = nil
	if err := child.Terminate(); err != nil {
		l.t.Fatalf("the server did not stop well: %v", err)
	}
}

// usage is what the server uses after garbage collection.
func (l *loaded) usage() (u benchstream.Usage) {
	l.t.Helper()
	if err := l.child.Ask(benchstream.Command{GC: true}, &u); err != nil {
		l.t.Fatal(err)
	}
	return u
}

// fixedAddr is a free address below the ports that systems give out. A client that connects again and again to a port that was
// given out may be given the same one, and be connected to itself.
func fixedAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// connectClients starts a process of clients.
func connectClients(t *testing.T, opts benchstream.Options) *benchstream.Clients {
	t.Helper()
	c, err := benchstream.Connect(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// publisher publishes events whose data benchstream made, in order.
type publisher struct {
	url      string
	seq      uint64 // of the next event
	requests int
	refused  int // requests that were not answered 201
}

// batch publishes n events that carry at.
func (p *publisher) batch(n int, at int64) error {
	body := []byte{'['}
	for i := range uint64(n) {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"specversion":"1.0","id":"%d","source":"/load","type":"load.event","data":%s}`, p.seq+i, benchstream.Data(p.seq+i, at, loadBytes))
	}
	p.requests++
	resp, err := client.Post(p.url+loadPath, tandem.MediaBatch, bytes.NewReader(append(body, ']')))
	if err == nil {
		defer resp.Body.Close()
		if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusCreated {
			err = errors.New(resp.Status)
		}
	}
	if err != nil {
		p.refused++
		return err
	}
	p.seq += uint64(n)
	return nil
}

// many publishes n events in batches, and returns how many it published in a second.
func (p *publisher) many(t *testing.T, n int) float64 {
	t.Helper()
	begin := time.Now()
	for done := 0; done < n; done += loadBatch {
		if err := p.batch(min(loadBatch, n-done), benchstream.Monotonic()); err != nil {
			t.Fatal(err)
		}
	}
	return float64(n) / time.Since(begin).Seconds()
}

// answers publishes n batches at a fixed rate, and returns the median and the 99th percentile of the time until a batch is answered, counted from
// when it was due.
func (p *publisher) answers(t *testing.T, n int, every time.Duration) (p50, p99 time.Duration) {
	t.Helper()
	took := make([]time.Duration, 0, n)
	due := time.Now()
	for range n {
		due = due.Add(every)
		if now := time.Now(); now.Before(due) {
			time.Sleep(due.Sub(now)) // a rate
		}
		if err := p.batch(loadBatch, benchstream.Monotonic()); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(due))
	}
	slices.Sort(took)
	return took[n/2], took[n*99/100]
}

func summary(r benchstream.Report) string {
	return fmt.Sprintf("%d connected, %d events, %d missing, %d repeated, %d gaps; %d ended, %d with advice; %d attempts refused, %d failed",
		r.Open, r.Events, r.Missing, r.Repeated, r.Gaps, r.Ended, r.Advised, r.Refused, r.Failed)
}
