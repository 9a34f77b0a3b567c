package engines

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// natsProxy is a TCP proxy before a server: it can break connections, refuse new ones, hold back what passes, and lose messages.
type natsProxy struct {
	to string
	l  net.Listener

	mu      sync.Mutex
	open    map[net.Conn]bool
	refuse  bool
	lose    func(line, message string) bool
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
		refuse, lose := p.refuse, p.lose
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
		if lose != nil {
			p.wg.Go(func() { passMessages(s, c, lose) })
			continue
		}
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

// passMessages passes what a server sends, but for the messages that get lost.
func passMessages(from, to net.Conn, lose func(line, message string) bool) {
	defer from.Close()
	defer to.Close()
	for r := bufio.NewReader(from); ; {
		out, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		if bytes.HasPrefix(out, []byte("MSG ")) || bytes.HasPrefix(out, []byte("HMSG ")) {
			line := strings.TrimSpace(string(out))
			size, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
			if err != nil {
				return
			}
			message := make([]byte, size+2)
			if _, err := io.ReadFull(r, message); err != nil {
				return
			}
			if lose(line, string(message)) {
				continue
			}
			out = append(out, message...)
		}
		if _, err := to.Write(out); err != nil {
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

// losing has messages of the server get lost on connections that are made from now on: those for whose first line and rest lose reports true.
func (p *natsProxy) losing(lose func(line, message string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = lose
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
