package engines

import (
	"context"
	"errors"
	"net"
	"sync"
)

// gate makes connections that it can cut, and refuse for a while.
type gate struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func newGate() *gate { return &gate{conns: map[net.Conn]bool{}} }

var errGate = errors.New("the gate is closed")

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return nil, errGate
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		conn.Close()
		return nil, errGate
	}
	g.conns[conn] = true
	return gated{conn, g}, nil
}

// cut closes all connections.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.Close()
	}
	clear(g.conns)
}

// close cuts all connections, and refuses new ones until open is called.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cut()
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

type gated struct {
	net.Conn
	gate *gate
}

func (c gated) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c.Conn)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
