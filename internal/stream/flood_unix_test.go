//go:build unix

package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// tiny connects with the smallest window that the kernel grants, and returns when the stream is open.
func (h *harness) tiny(query string, webSocket bool) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		ctl := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) })
		if ctl != nil {
			return ctl
		}
		return err
	}}
	conn, err := d.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if webSocket {
		_, err = io.WriteString(conn, strings.Replace(upgrade, "topic=a", query, 1))
	} else {
		_, err = fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", query)
	}
	if err != nil {
		return conn, err
	}
	one := make([]byte, 1)
	for line := 0; ; { // to the end of the header and no further
		if _, err := io.ReadFull(conn, one); err != nil {
			return conn, err
		}
		switch one[0] {
		case '\n':
			if line == 0 {
				return conn, nil
			}
			line = 0
		case '\r':
		default:
			line++
		}
	}
}

// TestSlowReaders: hundreds of clients with the smallest of windows, which read nothing or a byte now and then, take neither events nor
// time from those who read, nor memory beyond a bound.
func TestSlowReaders(t *testing.T) {
	logs := new(logs)
	const clients, readers, events, size = 300, 4, 1500, 4 << 10
	h := newHarness(t, memlog.Options{}, stream.Options{WriteTimeout: 500 * time.Millisecond, WaitingBytes: 1 << 20, Logger: logs.logger()}, narrow)
	stop := make(chan struct{})
	var slow, good sync.WaitGroup
	opened := make(chan struct{}, clients)
	for i := range clients {
		slow.Go(func() {
			conn, err := h.tiny([]string{"topic=a", "topic=a&from=earliest", "topic=a&slow=conflate", "topic=a&slow=disconnect", "topic=*", "topic=a&type=t"}[i%6], i%3 == 0)
			if err != nil {
				t.Error(err)
			}
			opened <- struct{}{}
			if err != nil {
				return
			}
			defer conn.Close()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for one := make([]byte, 1); ; {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if i%2 == 0 {
					if _, err := conn.Read(one); err != nil {
						return
					}
				}
			}
		})
	}
	for range clients {
		<-opened
	}
	for range readers {
		c := h.open("topic=a")
		c.next()
		good.Go(func() {
			for next := range events {
				m := c.skip(func(m message) bool { return m.data != "" })
				if got := number(t, m); got != next {
					t.Errorf("%d, want %d", got, next)
					return
				}
			}
		})
	}
	watched := make(chan int64)
	go func() {
		most := int64(0)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, h.streams.WaitingBytes())
			case <-stop:
				watched <- most
				return
			}
		}
	}()
	h.numbered(0, events, 50, size)
	good.Wait()
	waitBelow(t, h, readers+1) // those that take nothing are let go
	close(stop)
	if most, bound := <-watched, int64(1<<20+clients*(stream.SegmentBytes+2*size)); most > bound {
		t.Errorf("%d bytes waited, at most %d may", most, bound)
	}
	slow.Wait()
	h.streams.Stop(context.Background())
	h.idle()
	logs.check(t, clients)
}

// TestWaitingBytes: many that stop at once, when there is much to be handed over, hold what they began and no more.
func TestWaitingBytes(t *testing.T) {
	const clients, size = 100, 8 << 10
	h := newHarness(t, memlog.Options{}, stream.Options{WaitingBytes: 1 << 20}, narrow)
	for i := range clients {
		conn, err := h.tiny("topic=a", i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	quick := h.open("topic=a")
	quick.next()
	bound := int64(1<<20 + (clients+1)*(stream.SegmentBytes+2*size))
	for i := range 8 {
		h.numbered(i*100, 100, 100, size) // one page
		for range 100 {
			quick.skip(func(m message) bool { return m.data != "" })
			if n := h.streams.WaitingBytes(); n > bound {
				t.Fatalf("%d bytes wait, at most %d may", n, bound)
			}
		}
	}
	if h.streams.Lagging() == 0 {
		t.Error("nobody fell behind, so the test shows less than it should")
	}
}

// TestFlood: beyond the greatest number streams are refused at once, with a time to come back, and those that are open do not notice.
func TestFlood(t *testing.T) {
	logs := new(logs)
	const most = 40
	h := newHarness(t, memlog.Options{}, stream.Options{MaxStreams: most, Logger: logs.logger()})
	var open []*client
	for range most {
		c := h.open("topic=a")
		c.next()
		open = append(open, c)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 60 {
				request := []string{upgrade, "GET /?topic=a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n", "GET /?topic=a&last=1000&type=none HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"}[rng.IntN(3)]
				conn := h.raw(request)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Error(err)
				} else if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
					t.Errorf("%s %v", resp.Status, resp.Header)
				}
				conn.Close()
			}
		})
	}
	h.numbered(0, 50, 1, 10)
	wg.Wait()
	for _, c := range open {
		for next := range 50 {
			if got := number(t, c.skip(func(m message) bool { return m.data != "" })); got != next {
				t.Fatalf("%d, want %d", got, next)
			}
		}
	}
	if p := h.streams.Present(tandem.StreamQuery{}); p.Open != most || p.Topics["a"] != most {
		t.Errorf("%+v", p)
	}
	open[0].cancel()
	waitBelow(t, h, most)
	h.open("topic=a").next()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.streams.Drain(ctx)
	if resp, _ := get(h, "topic=a&wait=1s"); resp.StatusCode != 503 {
		t.Errorf("while it drains: %s", resp.Status)
	}
	logs.check(t, 0)
}
