package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// slowLink takes every event of orders, and its time.
type slowLink struct{ takes time.Duration }

func (slowLink) Name() string               { return "slow" }
func (slowLink) Born() int64                { return 1 }
func (slowLink) Parallel() bool             { return false }
func (slowLink) Reads(topic string) bool    { return topic == "orders" }
func (slowLink) Matches(*tandem.Event) bool { return true }
func (slowLink) Note(*chain.Called)         {}
func (l slowLink) Call(context.Context, *tandem.Record) chain.Answer {
	time.Sleep(l.takes)
	return chain.Answer{Status: 204}
}

// oneConn is a listener with one connection, in memory.
type oneConn struct {
	conn chan net.Conn
	done chan struct{}
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
func (l *oneConn) Close() error   { close(l.done); return nil }
func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// dial serves the API and returns a connection to it, all in virtual time.
func (h *harness) dial() net.Conn {
	near, far := net.Pipe()
	l := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
	l.conn <- far
	srv := &http.Server{Handler: h.api}
	go srv.Serve(l)
	h.t.Cleanup(func() { near.Close(); srv.Close() })
	return near
}

// TestNDJSONThroughSlowLinks: a client has all the time that links take, and no more than others to go on once they are done.
func TestNDJSONThroughSlowLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *chain.Chain
		h := newHarness(t, func(o *api.Options) {
			c = chain.New(o.Log, chain.Options{})
			o.Chain, o.BodyTimeout = c, time.Minute
		})
		defer c.Stop(context.Background())
		c.Use([]chain.Link{slowLink{20 * time.Second}})
		conn := h.dial()
		_ = conn.SetDeadline(time.Now().Add(time.Hour))
		send := func(s string) { fmt.Fprintf(conn, "%x\r\n%s\r\n", len(s), s) }
		const group = 10 // 200 seconds
		go func() {
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", events, tandem.MediaNDJSON)
			var b strings.Builder
			for i := range group {
				fmt.Fprintln(&b, lineEvent(fmt.Sprint(i), "k", i))
			}
			send(b.String())
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		receipts := bufio.NewReader(resp.Body)
		next := func(id string) {
			t.Helper()
			if got, err := receipts.ReadString('\n'); err != nil || !strings.HasPrefix(got, `{"id":"`+id+`"`) {
				t.Fatalf("receipt of %s: %q %v", id, got, err)
			}
		}
		for i := range group {
			next(fmt.Sprint(i))
		}
		time.Sleep(50 * time.Second)
		send(lineEvent("more", "k", 1) + "\n")
		next("more")
		var drip sync.WaitGroup
		defer drip.Wait()
		drip.Go(func() {
			for err := error(nil); err == nil; _, err = io.WriteString(conn, "1\r\n{\r\n") {
				time.Sleep(61 * time.Second)
			}
		})
		began := time.Now()
		rest, err := io.ReadAll(receipts)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("let go after %v: %q %v", took, rest, err)
		}
	})
}
