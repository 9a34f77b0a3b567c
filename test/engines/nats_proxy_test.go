package engines

import (
	"net"
	"sync"
	"testing"
)

// natsProxy is a TCP proxy before a server: it can break connections, refuse new ones, and hold back what passes.
type natsProxy struct {
	to string
	l  net.Listener

	mu      sync.Mutex
	open    map[net.Conn]bool
	refuse  bool
	gate    chan struct{} // closed while bytes pass
	reached chan struct{} // closed by the first bytes that are held back
	wg      sync.WaitGroup
}

func newNATSProxy(t testing.TB, to string) *natsProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &natsProxy{to: to, l: l, open: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(p.gate)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.resume()
		p.cut(true)
		p.wg.Wait()
	})
	return p
}

func (p *natsProxy) url() string { return "nats://" + p.l.Addr().String() }

func (p *natsProxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			c.Close()
			continue
		}
		s, err := net.Dial("tcp", p.to)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.open[c], p.open[s] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(c, s) })
		p.wg.Go(func() { p.pass(s, c) })
	}
}

func (p *natsProxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		gate := p.gate
		if p.reached != nil && n > 0 {
			close(p.reached)
			p.reached = nil
		}
		p.mu.Unlock()
		<-gate
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut breaks all connections, and has new ones refused or not.
func (p *natsProxy) cut(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
	for c := range p.open {
		c.Close()
	}
	clear(p.open)
}

// stall holds back all bytes until resume. reached is closed when there are any.
func (p *natsProxy) stall() (reached <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate, p.reached = make(chan struct{}), make(chan struct{})
	return p.reached
}

func (p *natsProxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
	p.reached = nil
}
