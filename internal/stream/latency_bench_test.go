package stream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
)

// BenchmarkPublishToReceive measures how long after an event was due at its publisher each client has it, at fixed rates, and the
// same for a bare server that writes ready bytes. An event that is late because the ones before it were is counted from when
// it was due.
func BenchmarkPublishToReceive(b *testing.B) {
	n := benchClients(b)
	for _, kind := range kinds {
		for _, rate := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/clients=%d/rate=%d", kind.name, n, rate), func(b *testing.B) {
				w, ready := startBed(b, n, kind.webSocket)
				bare := startBare(b, kind.webSocket)
				ours := pace{b: b, rate: rate, send: func(at int64) error { return w.publish(1, at) },
					clients: connect(b, benchstream.Options{Addr: w.addr, N: n, WebSocket: kind.webSocket, Latency: true})}
				floor := pace{b: b, rate: rate, send: func(at int64) error {
					benchstream.Stamp(ready, 0, at)
					bare.Send(ready)
					return nil
				}, clients: connect(b, benchstream.Options{Addr: bare.Addr(), N: n, WebSocket: kind.webSocket, Latency: true})}
				floor.run(time.Second / 4)
				ours.run(time.Second / 4)
				floor.reset()
				ours.reset()
				for b.Loop() {
					floor.run(time.Second)
					ours.run(time.Second)
				}
				r, bareR := ours.report(), floor.report()
				for name, d := range map[string]time.Duration{"ms-p50": r.P50, "ms-p99": r.P99, "ms-max": r.Max,
					"ms-p50-floor": bareR.P50, "ms-p99-floor": bareR.P99, "ms-max-floor": bareR.Max} {
					b.ReportMetric(d.Seconds()*1000, name)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// pace sends events to clients at a rate a second.
type pace struct {
	b       *testing.B
	rate    int
	send    func(at int64) error
	clients *benchstream.Clients
	sent    uint64
}

// run sends for some time, and returns when all clients have everything.
func (p *pace) run(d time.Duration) {
	begin, beginAt := time.Now(), benchstream.Monotonic()
	n := int(d.Seconds() * float64(p.rate))
	for i := range n {
		due := time.Duration(i) * d / time.Duration(n)
		time.Sleep(due - time.Since(begin)) // the rate is what is to be had, not a state to wait for
		if err := p.send(beginAt + int64(due)); err != nil {
			p.b.Fatal(err)
		}
	}
	p.sent += uint64(n)
	if _, err := p.clients.Await(p.sent, benchWait); err != nil {
		p.b.Fatal(err)
	}
}

func (p *pace) reset() {
	if err := p.clients.Reset(); err != nil {
		p.b.Fatal(err)
	}
}

func (p *pace) report() benchstream.Report {
	r, err := p.clients.Report()
	if err != nil {
		p.b.Fatal(err)
	}
	return r
}
