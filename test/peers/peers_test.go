package peers

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
)

// names are the servers, the floor first.
var names = []string{"bare", "tandem", "coder", "coder-chat", "gws", "gobwas", "gobwas-unread"}

func TestMain(m *testing.M) {
	benchstream.Main(map[string]benchstream.Role{role: run})
	os.Exit(m.Run())
}

// TestPeers: every server gives each client each message once.
func TestPeers(t *testing.T) {
	message := message(t)
	for _, name := range names {
		s := launch(t, name, 10, message)
		s.connect(10)
		s.turn(3, 2)
		if r, err := s.clients.Report(); err != nil || r.Open != 10 || r.Events != 60 {
			t.Errorf("%s: %d clients, %d events, %v", name, r.Open, r.Events, err)
		}
	}
}

// BenchmarkIdle measures the memory of a connection over which nothing is sent, after garbage collection.
func BenchmarkIdle(b *testing.B) {
	const n, few = 5000, 10
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s := launch(b, name, few+n, nil)
				s.connect(few).Close() // what the first make the server keep is not counted
				none := s.ask(command{GC: true})
				many := s.connect(n)
				some := s.ask(command{GC: true})
				if r, err := many.Report(); err != nil || r.Open != n {
					b.Fatalf("%d of %d are connected: %v", r.Open, n, err)
				}
				b.ReportMetric(float64(some.RSS-none.RSS)/n, "B-rss/conn")
				b.ReportMetric((float64(some.Heap)-float64(none.Heap))/n, "B-heap/conn")
				many.Close()
				s.server.Close()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkFanOut measures deliveries to many clients: so many messages are handed over, and the next when all clients have them.
// All servers take turns. The work of the clients, in processes of their own, is part of the time, but not of the processor time.
func BenchmarkFanOut(b *testing.B) {
	const n = 1000
	message := message(b)
	for _, inflight := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("inflight=%d", inflight), func(b *testing.B) {
			rounds := max(16/inflight, 2) // of a turn
			var sides []*side
			for _, name := range names[:len(names)-1] { // who reads makes no difference here
				s := launch(b, name, n, message)
				s.connect(n)
				s.turn(rounds, inflight)
				s.wall, s.cpu = 0, 0
				sides = append(sides, s)
			}
			for b.Loop() {
				for _, s := range sides {
					s.turn(rounds, inflight)
				}
			}
			for _, s := range sides {
				deliveries := float64(n * rounds * inflight * b.N)
				b.ReportMetric(deliveries/s.wall.Seconds()/1000, s.name+"-k/s")
				b.ReportMetric(s.cpu.Seconds()*1e6/deliveries, s.name+"-µs-cpu")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// message is what a client of Tandem gets for an event.
func message(t testing.TB) []byte {
	s := launch(t, "tandem", 1, nil)
	s.ask(command{Send: 1})
	frame, err := benchstream.Probe(benchstream.Options{Addr: s.addr, Path: "/?from=earliest", WebSocket: true})
	if err != nil {
		t.Fatal(err)
	}
	return frame[4:] // behind the header of a frame of 126 to 65,535 bytes
}

// side is a server with its clients.
type side struct {
	t         testing.TB
	name      string
	server    *benchstream.Child
	addr      string
	clients   *benchstream.Clients
	sent      uint64 // messages to each client
	wall, cpu time.Duration
}

// launch starts a server. It ends with the test, as clients do, if not before.
func launch(t testing.TB, name string, clients int, message []byte) *side {
	var ready benchstream.Ready
	server, err := benchstream.Start(role, options{name, clients, message}, &ready)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return &side{t: t, name: name, server: server, addr: ready.Addr}
}

// connect starts clients and returns when all are connected.
func (s *side) connect(n int) (clients *benchstream.Clients) {
	clients, err := benchstream.Connect(benchstream.Options{Addr: s.addr, Path: "/", N: n, WebSocket: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { clients.Close() })
	s.clients = clients
	return clients
}

func (s *side) ask(c command) (u benchstream.Usage) {
	if err := s.server.Ask(c, &u); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	return u
}

// turn has messages sent several times, each when all clients have those before.
func (s *side) turn(rounds, inflight int) {
	cpu, begin := s.ask(command{}).CPU, time.Now()
	for range rounds {
		s.sent += uint64(inflight)
		err := s.clients.Expect(s.sent, time.Minute, func() error { s.ask(command{Send: inflight}); return nil })
		if err != nil {
			s.t.Fatalf("%s: %v", s.name, err)
		}
	}
	s.wall += time.Since(begin)
	s.cpu += s.ask(command{}).CPU - cpu
}
