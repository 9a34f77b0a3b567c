package compare

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// wire counts what goes over HTTP: bytes in both directions, headers included, and requests.
type wire struct{ bytes, requests atomic.Int64 }

// countingConn counts what one side of a connection reads and writes. Only one end of each connection is counted.
type countingConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// countingListener counts its connections.
type countingListener struct {
	net.Listener
	bytes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c, l.bytes}, nil
}

// countingTransport sends each request once, and counts them, but for those to hosts that count by themselves.
type countingTransport struct {
	*http.Transport
	wire   *wire
	counts func(host string) bool
}

func (t countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.counts(r.URL.Host) {
		t.wire.requests.Add(1)
	}
	// With a GetBody, net/http sends a request with an Idempotency-Key again when a connection that it had kept dies: its effects would happen
	// twice, by the generator's doing.
	once := *r
	once.GetBody = nil
	return t.Transport.RoundTrip(&once)
}

// newClient returns a client that counts, but for hosts that count by themselves. It follows no redirects, keeps as many
// connections as it needs, and asks for no compression.
func newClient(w *wire, counts func(host string) bool) *http.Client {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Transport: countingTransport{&http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := dialer.DialContext(ctx, network, addr)
				if err != nil || counts(addr) {
					return c, err
				}
				return countingConn{c, &w.bytes}, nil
			},
			MaxIdleConnsPerHost: 20_000,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		}, w, counts},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
