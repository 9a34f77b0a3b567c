package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/server"
)

// process is a whole server over a directory, which can be stopped and started again at its address.
type process struct {
	t    *testing.T
	opts server.Options
	s    *server.Server
}

func startProcess(t *testing.T) (*process, *client.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p := &process{t: t, opts: server.Options{Data: t.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: addr, FreeBytes: -1,
		Topics: []tandem.Topic{{Name: "orders", Partitions: 2, Source: "/shop"}}, Logger: slog.New(slog.DiscardHandler)}}
	p.start()
	t.Cleanup(p.stop)
	c, err := client.New("http://"+addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func (p *process) start() {
	p.t.Helper()
	s, err := server.New(p.opts)
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.s = s
}

func (p *process) stop() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.s.Stop(ctx); err != nil {
		p.t.Error(err)
	}
}

// TestStreamOverARestart: a stream sees each event once and in order while the server stops and starts again.
func TestStreamOverARestart(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("webSocket=%t", webSocket), func(t *testing.T) {
			t.Parallel()
			p, c := startProcess(t)
			publish := func(n int) {
				t.Helper()
				if _, err := c.Publish(t.Context(), "orders", placed(fmt.Sprint(n), "42")); err != nil {
					t.Fatal(err)
				}
			}
			const end = 600 // more than a window
			for n := range end / 2 {
				publish(n)
			}
			var told []string
			opts := client.StreamOptions{WebSocket: webSocket, Interrupted: func(err error, _ time.Duration) { told = append(told, err.Error()) }}
			next := 0
			for m, err := range c.Stream(t.Context(), client.Query{Topics: []string{"orders"}, Start: tandem.Start{Earliest: true}}, opts) {
				if err != nil {
					t.Fatal(err)
				}
				if m.Gap != nil || m.Event.ID != fmt.Sprint(next) || m.Cursor == "" {
					t.Fatalf("%+v where event %d was next", m, next)
				}
				if next == end/2-1 {
					p.stop()
					p.start()
					for n := end / 2; n < end; n++ {
						publish(n)
					}
				}
				if next++; next == end {
					break
				}
			}
			if len(told) != 1 || !strings.Contains(told[0], "connect again") {
				t.Errorf("it was told %q", told)
			}
		})
	}
}

// TestSocketOverARestart: a socket publishes from many goroutines, takes no more than its window, and ends with the server in a way
// that says when to dial again, and from where.
func TestSocketOverARestart(t *testing.T) {
	p, c := startProcess(t)
	ctx := t.Context()
	s, err := c.Dial(ctx, "orders", client.Query{Start: tandem.Start{Earliest: true}}, client.SocketOptions{Window: 3, ManualAck: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const events = 50
	var publishing sync.WaitGroup
	for n := range events {
		publishing.Go(func() {
			if r, err := s.Publish(ctx, placed(fmt.Sprint(n), "42")); err != nil || r.Topic != "orders" || r.Cursor == "" || r.Duplicate == tandem.DuplicateYes {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	publishing.Wait()
	if r, err := s.Publish(ctx, placed("0", "42")); err != nil || r.Duplicate != tandem.DuplicateYes {
		t.Errorf("the repeat: %+v %v", r, err)
	}
	if _, err := s.Publish(ctx, tandem.Event{ID: "x", Source: "/shop"}); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("without a type: %v", err)
	}
	seen := map[string]bool{}
	var cursor tandem.Cursor
	take := func(s *client.Socket) {
		t.Helper()
		m, err := s.Next(ctx)
		if err != nil || m.Gap != nil || seen[m.Event.ID] {
			t.Fatalf("%+v %v", m, err)
		}
		seen[m.Event.ID] = true
		cursor = m.Cursor
	}
	for range 3 {
		take(s)
	}
	// What has a receipt was sent behind what the window held back.
	for range 2 {
		if _, err := s.Publish(ctx, placed("0", "42")); err != nil {
			t.Fatal(err)
		}
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if m, err := s.Next(soon); tandem.CodeOf(err) != tandem.CodeTimeout {
		t.Errorf("beyond the window: %+v %v", m, err)
	}
	for range 10 {
		if err := s.Ack(cursor); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			take(s)
		}
	}
	p.stop()
	var e *tandem.Error
	if _, err := s.Next(ctx); tandem.CodeOf(err) != tandem.CodeUnavailable || !errors.As(err, &e) || e.RetryAfter < time.Second {
		t.Errorf("it ended with %v", err)
	}
	if _, err := s.Publish(ctx, placed("late", "42")); tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Errorf("after the end: %v", err)
	}
	p.start()
	again, err := c.Dial(ctx, "orders", client.Query{Start: tandem.Start{Cursor: cursor}}, client.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for len(seen) < events {
		take(again)
	}
	if r, err := again.Publish(ctx, placed("0", "42")); err != nil || r.Duplicate != tandem.DuplicateYes {
		t.Errorf("the repeat after the restart: %+v %v", r, err)
	}
	if r, err := again.Publish(ctx, placed("late", "42")); err != nil || r.Duplicate == tandem.DuplicateYes {
		t.Errorf("%+v %v", r, err)
	}
	take(again)
}
