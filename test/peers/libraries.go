package peers

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/lxzan/gws"
)

// protocols are what the clients ask for.
var protocols = []string{"tandem.v1.json"}

// newCoder is coder/websocket with as little as it allows: the goroutine of CloseRead for each client, and shared writers.
func newCoder(clients int) (http.HandlerFunc, sender) {
	m := newMembers[*websocket.Conn](clients)
	send := m.crowd(func(c *websocket.Conn, p []byte) error {
		return c.Write(context.Background(), websocket.MessageText, p)
	})
	return func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: protocols}); err == nil {
			c.CloseRead(context.Background()) // the request's context ends with the handler
			m.add(c)
		}
	}, send
}

// newCoderChat is coder/websocket as in its chat example: the handler stays and writes what its channel brings. A full channel
// is waited for here, where the example drops the client.
func newCoderChat(clients int) (http.HandlerFunc, sender) {
	m := newMembers[chan []byte](clients)
	return func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: protocols})
			if err != nil {
				return
			}
			defer func() { _ = c.CloseNow() }()
			messages := make(chan []byte, 16)
			m.add(messages)
			for ctx := c.CloseRead(r.Context()); err == nil; {
				select {
				case p := <-messages:
					timed, cancel := context.WithTimeout(ctx, 5*time.Second)
					err = c.Write(timed, websocket.MessageText, p)
					cancel()
				case <-ctx.Done():
					return
				}
			}
		}, func(p []byte) error {
			for _, messages := range m.all() {
				messages <- p
			}
			return nil
		}
}

// newGWS is gws with a Broadcaster for each message: it frames once and gives each client's queue a goroutine.
func newGWS(clients int) (http.HandlerFunc, sender) {
	m := newMembers[*gws.Conn](clients)
	upgrader := gws.NewUpgrader(&gws.BuiltinEventHandler{}, &gws.ServerOption{SubProtocols: protocols})
	return func(w http.ResponseWriter, r *http.Request) {
			if c, err := upgrader.Upgrade(w, r); err == nil {
				go c.ReadLoop()
				m.add(c)
			}
		}, func(p []byte) error {
			b := gws.NewBroadcaster(gws.OpcodeText, p)
			defer func() { _ = b.Close() }()
			for _, c := range m.all() {
				_ = b.Broadcast(c)
			}
			return nil
		}
}

// newGobwas is gobwas/ws with shared writers of frames that are compiled once. With read a goroutine waits for each client;
// without, nobody does, as with a poller that would have to be added.
func newGobwas(clients int, read bool) (http.HandlerFunc, sender) {
	m := newMembers[net.Conn](clients)
	write := m.crowd(func(c net.Conn, frame []byte) error { _, err := c.Write(frame); return err })
	upgrader := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == protocols[0] }}
	return func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := upgrader.Upgrade(r, w)
		if err != nil {
			return
		}
		if read {
			go func() {
				defer c.Close()
				for err == nil {
					_, _, err = wsutil.ReadClientData(c)
				}
			}()
		}
		m.add(c)
	}, func(p []byte) error { return write(ws.MustCompileFrame(ws.NewTextFrame(p))) }
}

// members are the clients of a library. None is taken out: the process ends with its clients.
type members[C any] struct {
	missing sync.WaitGroup
	mu      sync.Mutex // guards list
	list    []C
}

func newMembers[C any](clients int) *members[C] {
	m := &members[C]{}
	m.missing.Add(clients)
	return m
}

func (m *members[C]) add(c C) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, c)
	m.missing.Done()
}

// all waits until all are there: a client has its answer before it is added.
func (m *members[C]) all() []C {
	m.missing.Wait()
	return m.list
}

// crowd is a sender that has each message written to all, one by one, by GOMAXPROCS goroutines. It waits when they are 64
// messages behind.
func (m *members[C]) crowd(write func(C, []byte) error) sender {
	queues := make([]chan []byte, runtime.GOMAXPROCS(0))
	for i := range queues {
		queues[i] = make(chan []byte, 64)
		go func() {
			for p := range queues[i] {
				list := m.all()
				for k := i; k < len(list); k += len(queues) {
					_ = write(list[k], p) // the client of one that has ended says so
				}
			}
		}()
	}
	return func(p []byte) error {
		for _, q := range queues {
			q <- p
		}
		return nil
	}
}
