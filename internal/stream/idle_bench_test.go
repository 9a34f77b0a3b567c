package stream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
)

// idleSample is how long idle connections are watched: each has one heartbeat in it.
const idleSample = 15 * time.Second

// BenchmarkIdle measures what a connection costs over which nothing is sent but heartbeats: memory of a server in a process of its
// own, after garbage collection, and processor time, scaled to 10,000 connections and a minute. The floors are a bare server,
// which has nothing for a connection but its file and sends no heartbeats, and the plain handler of net/http.
func BenchmarkIdle(b *testing.B) {
	n := benchClients(b)
	for _, c := range []struct {
		name, role string
		options    any
		webSocket  bool
	}{
		{"sse", roleStreams, n, false},
		{"websocket", roleStreams, n, true},
		{"handler", benchstream.RoleHandler, nil, false},
		{"bare", benchstream.RoleBare, benchstream.BareOptions{}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			var ready benchstream.Ready
			server, err := benchstream.Start(c.role, c.options, &ready)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { server.Close() })
			for b.Loop() {
				connectIdle(b, ready.Addr, 10, c.webSocket).Close() // what the first make the server keep is not counted
				none := usage(b, server)
				clients := connectIdle(b, ready.Addr, n, c.webSocket)
				some := usage(b, server)
				time.Sleep(idleSample)
				later := usage(b, server)
				r, err := clients.Report()
				if err != nil || r.Open != n {
					b.Fatalf("%d of %d are connected: %v", r.Open, n, err)
				}
				if err := clients.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(some.RSS-none.RSS)/float64(n), "B-rss/conn")
				b.ReportMetric(float64(int64(some.Heap)-int64(none.Heap))/float64(n), "B-heap/conn")
				scale := float64(time.Minute/idleSample) * 10_000 / float64(n)
				b.ReportMetric((later.CPU-some.CPU).Seconds()*scale, "s-cpu/min/10k")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func connectIdle(b *testing.B, addr string, n int, webSocket bool) *benchstream.Clients {
	b.Helper()
	c, err := benchstream.Connect(benchstream.Options{Addr: addr, Path: "/", N: n, WebSocket: webSocket})
	if errors.Is(err, benchstream.ErrUnsupported) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// usage is what a server uses after garbage collection.
func usage(b *testing.B, server *benchstream.Child) benchstream.Usage {
	b.Helper()
	var u benchstream.Usage
	if err := server.Ask(benchstream.Command{GC: true}, &u); err != nil {
		b.Fatal(err)
	}
	return u
}
