package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

const sseRequest = "GET /?topic=a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"

// TestChurn: clients that come and go in a loop, at every moment of a stream, leave nothing behind, and take nothing from one that stays.
func TestChurn(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			logs := new(logs)
			h := newHarness(t, engine, stream.Options{Logger: logs.logger(), MaxPerPrincipal: 1000, MaxPerAddress: 10_000}, publishing, narrow)
			stays := h.open("topic=a&type=t")
			stays.next()
			var wg sync.WaitGroup
			const rounds = 80
			for c := range 8 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(c), 9))
					for i := range rounds {
						target := "/?" + []string{"topic=a", "topic=*&type=t", "topic=a&type=none", "topic=b&from=earliest", "topic=a&from=earliest&principal=x", "topic=a&last=3"}[rng.IntN(6)]
						request := strings.Replace([]string{upgrade, sseRequest}[rng.IntN(2)], "/?topic=a", target, 1)
						cut := len(request) - max(0, rng.IntN(80)-60) // some never come to their end
						conn := h.raw(request[:cut])
						if cut == len(request) && rng.IntN(3) > 0 {
							_, _ = io.CopyN(io.Discard, conn, int64(rng.IntN(150))+1) // a part of the header
						}
						if rng.IntN(4) == 0 {
							_ = conn.SetLinger(0) // a reset
						}
						conn.Close()
						if i%8 == 0 {
							h.numbered(c*rounds+i, 1, 1, 3000)
						}
					}
				})
			}
			done := make(chan struct{})
			go func() { // ends the reads of those that wait for more than there is
				defer close(done)
				wg.Wait()
			}()
			for busy := true; busy; {
				select {
				case <-done:
					busy = false
				default:
					h.publish("a", "other", `"tick"`)
					time.Sleep(time.Millisecond)
				}
			}
			for range 8 * rounds / 8 {
				stays.skip(func(m message) bool { return m.data != "" })
			}
			stays.cancel()
			h.idle()
			if p := h.streams.Present(tandem.StreamQuery{Limit: 10}); p.Open != 0 || p.Matching != 0 || len(p.Topics) != 0 || len(p.Streams) != 0 {
				t.Errorf("%+v", p)
			}
			logs.check(t, 0)
		})
	}
}

// TestTalkingToSSE: what a client sends behind its request, be it another request, is not answered and changes nothing.
func TestTalkingToSSE(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	const again = "GET /?topic=b HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, sent := range map[string]struct{ with, later string }{
		"a second request, at once": {again, ""},
		"a second request, later":   {"", again},
		"both":                      {again, again},
		"garbage":                   {"\x00\xff\r\n", strings.Repeat("\x16\x03\x01 garbage", 100_000)},
		"half a request":            {again[:20], again[20:]},
	} {
		conn := h.raw(sseRequest + sent.with)
		if _, err := io.WriteString(conn, sent.later); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != tandem.MediaSSE || !resp.Close {
			t.Fatalf("%s: %+v %v", name, resp, err)
		}
		c := &client{t: t, lines: bufio.NewReader(resp.Body)}
		c.next()
		h.publish("a", "t", "7")
		if m := c.skip(func(m message) bool { return m.data != "" }); !strings.Contains(m.data, `"data":7`) {
			t.Errorf("%s: %+v", name, m)
		}
		conn.Close()
	}
	h.idle()
}

// TestRequestWithABody: a body, whatever its length says, is neither read as a request nor waited for.
func TestRequestWithABody(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for _, more := range []string{"Content-Length: 5\r\n\r\nGET /", "Content-Length: 500000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"} {
		conn := h.raw(strings.TrimSuffix(sseRequest, "\r\n") + more)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 || !resp.Close {
			t.Fatalf("%q: %+v %v", more, resp, err)
		}
		(&client{t: t, lines: bufio.NewReader(resp.Body)}).next()
		conn.Close()
	}
	// Two lengths are no request at all.
	conn := h.raw(strings.TrimSuffix(sseRequest, "\r\n") + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 400 {
		t.Errorf("%+v %v", resp, err)
	}
	h.idle()
}

// TestHalfClose: a client that closes its half has gone, as with any request; its stream ends between two messages.
func TestHalfClose(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for _, request := range []string{sseRequest, upgrade} {
		conn := h.raw(request)
		r := bufio.NewReader(conn)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
		h.idle()
	}
	// At once with the request.
	conn := h.raw(sseRequest)
	_ = conn.CloseWrite()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
	h.idle()
}

// TestWaitingBytesComeBack: whatever clients do, what is counted as waiting for them is never less than nothing, and nothing in the end.
func TestWaitingBytesComeBack(t *testing.T) {
	for seed := range uint64(3) {
		h := newHarness(t, memlog.Options{}, stream.Options{WaitingBytes: 600 << 10, WriteTimeout: 200 * time.Millisecond}, narrow, publishing)
		var wg sync.WaitGroup
		for c := range 16 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(c)))
				for range 5 {
					query := fmt.Sprintf("topic=a&slow=%s&from=%s", []string{"catchup", "conflate", "disconnect"}[rng.IntN(3)], []string{"earliest", "latest"}[rng.IntN(2)])
					conn := h.raw(strings.Replace([]string{upgrade, sseRequest}[rng.IntN(2)], "topic=a", query, 1))
					_ = conn.SetReadBuffer(16 << 10)
					if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode > 200 {
						conn.Close() // refused by then
						return
					}
					for range rng.IntN(6) {
						if rng.IntN(3) == 0 {
							time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
						}
						if _, err := io.CopyN(io.Discard, conn, int64(rng.IntN(100_000))); err != nil {
							break // it ended
						}
					}
					if rng.IntN(3) == 0 { // a close in order
						_, _ = io.WriteString(conn, rawFrame(0x88, "\x03\xe8", 0))
					}
					conn.Close()
				}
			})
		}
		gone := make(chan struct{})
		go func() { wg.Wait(); close(gone) }()
		for i := 0; ; i++ {
			select {
			case <-gone:
			default:
				h.numbered(i*20, 20, 20, 4<<10)
				if n := h.streams.WaitingBytes(); n < 0 {
					t.Fatalf("%d bytes wait", n)
				}
				if i == 50 && seed == 2 { // amid all that
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					_ = h.streams.Drain(ctx)
				}
				time.Sleep(time.Millisecond)
				continue
			}
			break
		}
		h.idle()
	}
}
