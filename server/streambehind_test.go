package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
)

// TestReaderFarBehind: a reader that begins 50,000 events behind catches up beside 100 live readers, who miss nothing; how late the
// live ones are with and without it is logged. With TANDEM_SOAK 1,000,000 events.
func TestReaderFarBehind(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("webSocket=%t", webSocket), func(t *testing.T) { readerFarBehind(t, webSocket) })
	}
}

func readerFarBehind(t *testing.T, webSocket bool) {
	const live, rate = 100, 100 // readers, and events a second
	s := startLoaded(t)
	p := &publisher{url: "http://" + s.opts.API}
	backlog := sized(50_000, 1_000_000)
	for p.seq < uint64(backlog) {
		if err := p.batch(500, 0); err != nil {
			t.Fatal(err)
		}
	}
	start := p.seq
	readers := connectClients(t, benchstream.Options{Addr: s.opts.API, Path: loadPath, N: live, WebSocket: webSocket, Verify: true, First: start, Latency: true})
	p.paced(t, rate, 2*time.Second, nil)
	alone, err := readers.AwaitAll(p.seq, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := readers.Reset(); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	behind := connectClients(t, benchstream.Options{Addr: s.opts.API, Path: loadPath + "?from=earliest", N: 1, WebSocket: webSocket, Verify: true})
	caught := make(chan error, 1)
	var took time.Duration
	go func() {
		_, err := behind.AwaitAll(start, longer)
		took = time.Since(begin)
		caught <- err
	}()
	p.paced(t, rate, longer, caught)
	beside, err := readers.AwaitAll(p.seq, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events behind were caught up in %s; live p50 and p99 %s and %s, without %s and %s", start, took.Round(time.Millisecond),
		beside.P50, beside.P99, alone.P50, alone.P99)
	if _, err := behind.AwaitAll(p.seq, patience); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		clients *benchstream.Clients
		events  uint64
	}{"live": {readers, live * (p.seq - start)}, "behind": {behind, p.seq}} {
		r, err := c.clients.Report()
		if err != nil || r.Events != c.events || r.Missing+r.Repeated+r.Gaps+r.Ended != 0 {
			t.Errorf("%s: %s, want %d events; %v", name, summary(r), c.events, err)
		}
	}
}

// paced publishes one event after the other at a rate, for at most d or until there is an error, or nil, in ended, but for a
// quarter of a second at least.
func (p *publisher) paced(t *testing.T, rate int, d time.Duration, ended <-chan error) {
	t.Helper()
	begin, beginAt := time.Now(), benchstream.Monotonic()
	over := false
	for i := 0; ; i++ {
		due := time.Duration(i) * time.Second / time.Duration(rate)
		if due >= d || (over && due >= time.Second/4) {
			return
		}
		time.Sleep(due - time.Since(begin)) // a rate, not a wait for a state
		if err := p.batch(1, beginAt+int64(due)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		default:
		}
	}
}
