package fleet

import (
	"context"
	"sync"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/fleet/stream"
)

// Sockets returns a reporter whose vehicles each have one WebSocket (tandem.v1.json) to ws://addr + path + their name. It is opened by the first
// report, and again after a failure.
func Sockets(addr, path string, vehicles int) Reporter {
	return &sockets{addr: addr, path: path, run: tandem.NewID(), vehicles: make([]socket, vehicles)}
}

type sockets struct {
	wire
	addr, path string
	run        string // makes ids differ from those of others
	vehicles   []socket
}

type socket struct {
	mu   sync.Mutex // guards what follows
	conn *stream.Conn
	ref  int
}

func (s *sockets) Report(ctx context.Context, vehicle int, r Report) error {
	v := &s.vehicles[vehicle]
	v.mu.Lock()
	defer v.mu.Unlock()
	err := s.report(ctx, v, vehicle, r)
	if err != nil && v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
	return err
}

// report sends one report and reads until its receipt comes; with mu held.
func (s *sockets) report(ctx context.Context, v *socket, vehicle int, r Report) error {
	if v.conn == nil {
		conn, err := s.dial(ctx, s.addr)
		if err != nil {
			return err
		}
		if v.conn, err = stream.Open(ctx, conn, s.addr, s.path+Name(vehicle)); err != nil {
			return err
		}
		conn.open.Store(true)
	}
	defer context.AfterFunc(ctx, v.conn.Close)()
	v.ref++
	s.requests.Add(1)
	if err := v.conn.Publish(v.ref, s.run+"/"+r.Unit, r); err != nil {
		return err
	}
	for {
		f, err := v.conn.Next()
		switch {
		case err != nil:
			return err
		case f.Problem != nil:
			return &StatusError{f.Problem.Status, f.Problem.Error()}
		case f.Reconnect != nil:
			return f.Reconnect
		case f.Receipt != nil && f.Receipt.Ref == v.ref:
			return nil
		}
	}
}

func (s *sockets) Close() {
	for i := range s.vehicles {
		v := &s.vehicles[i]
		v.mu.Lock()
		if v.conn != nil {
			v.conn.Close()
			v.conn = nil
		}
		v.mu.Unlock()
	}
}
