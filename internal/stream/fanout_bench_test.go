package stream_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
)

// kinds are what clients speak.
var kinds = []struct {
	name      string
	webSocket bool
}{{"sse", false}, {"websocket", true}}

// BenchmarkFanOut measures deliveries to many clients of one topic: a publisher appends a batch and goes on when all clients have
// it. The floor is a bare server that writes the same bytes, ready, in one write for each client. Both take turns, with
// clients in processes of their own; their work is part of the time, but not of the processor time.
func BenchmarkFanOut(b *testing.B) {
	n := benchClients(b)
	for _, kind := range kinds {
		for _, batch := range []int{1, 4, 16, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d/inflight=%d", kind.name, n, batch), func(b *testing.B) {
				benchFanOut(b, n, batch, kind.webSocket)
			})
		}
	}
}

func benchFanOut(b *testing.B, n, batch int, webSocket bool) {
	w, ready := startBed(b, n, webSocket)
	bare := startBare(b, webSocket)
	ours := side{b: b, name: "streams", clients: connect(b, benchstream.Options{Addr: w.addr, N: n, WebSocket: webSocket})}
	floor := side{b: b, name: "floor", clients: connect(b, benchstream.Options{Addr: bare.Addr(), N: n, WebSocket: webSocket})}
	message := bytes.Repeat(ready, batch)
	publish := func() error { return w.publish(batch, 0) }
	send := func() error { bare.Send(message); return nil }
	rounds := max(16/batch, 2) // of a turn
	floor.turn(rounds, batch, send)
	ours.turn(rounds, batch, publish)
	floor.reset()
	ours.reset()
	for b.Loop() {
		b.StopTimer()
		floor.turn(rounds, batch, send)
		b.StartTimer()
		ours.turn(rounds, batch, publish)
	}
	b.StopTimer()
	b.ReportMetric(ours.rate(n), "deliveries/s")
	b.ReportMetric(floor.rate(n), "floor/s")
	b.ReportMetric(ours.rate(n)/floor.rate(n), "ratio")
	b.ReportMetric(ours.micros(n), "µs-cpu")
	b.ReportMetric(floor.micros(n), "µs-cpu-floor")
	r, err := ours.clients.Report()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(r.Usage.CPU.Seconds()*1e6/float64(r.Events), "µs-cpu-clients") // with what connecting cost
	b.ReportMetric(float64(benchstream.Self(true).RSS)/(1<<20), "MB-rss")
	b.ReportMetric(0, "ns/op")
}

// side is one of two servers that take turns.
type side struct {
	b         *testing.B
	name      string
	clients   *benchstream.Clients
	sent      uint64 // events to each client since it connected
	events    uint64 // of them, since reset
	wall, cpu time.Duration
}

// turn lets all clients get a batch several times, each when all have the one before.
func (s *side) turn(rounds, batch int, send func() error) {
	cpu, begin := benchstream.Self(false).CPU, time.Now()
	for range rounds {
		s.sent += uint64(batch)
		s.events += uint64(batch)
		if err := s.clients.Expect(s.sent, benchWait, send); err != nil {
			s.b.Fatalf("%s: %v", s.name, err)
		}
	}
	s.wall += time.Since(begin)
	s.cpu += benchstream.Self(false).CPU - cpu
}

func (s *side) reset() { s.events, s.wall, s.cpu = 0, 0, 0 }

// rate is in deliveries a second, to n clients.
func (s *side) rate(n int) float64 { return float64(n) * float64(s.events) / s.wall.Seconds() }

// micros is the processor time of a delivery, in microseconds.
func (s *side) micros(n int) float64 {
	return s.cpu.Seconds() * 1e6 / (float64(n) * float64(s.events))
}
