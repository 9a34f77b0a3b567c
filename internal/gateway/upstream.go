package gateway

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Figures of the connections to one service.
const (
	defaultTimeout = 30 * time.Second
	dialTimeout    = 5 * time.Second
	maxIdleConns   = 256
	// idleTimeout is shorter than the five seconds after which the common Node.js server closes: a request that meets a
	// closing connection can be sent again only if it has no body.
	idleTimeout       = 4 * time.Second
	maxResponseHeader = 256 << 10
)

// upstream is a service with its connections. It lives as long as its declaration does not change.
type upstream struct {
	service   tandem.Service
	url       *url.URL
	timeout   time.Duration
	transport *http.Transport   // its connections
	carrier   http.RoundTripper // through which requests go
	proxy     *httputil.ReverseProxy
}

func newUpstream(g *Gateway, s tandem.Service) (*upstream, error) {
	u, err := parseServiceURL(s.URL)
	if err != nil {
		return nil, err
	}
	up := &upstream{service: s, url: u, timeout: time.Duration(s.Timeout)}
	if up.timeout == 0 {
		up.timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: min(dialTimeout, up.timeout), KeepAlive: 15 * time.Second}
	up.transport = &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true, // what the client accepts is between it and the service
	}
	up.carrier = g.opts.Through(s, up.transport)
	up.proxy = &httputil.ReverseProxy{
		Rewrite:        up.rewrite,
		Transport:      up.carrier,
		BufferPool:     &g.buffers,
		ModifyResponse: modifyResponse,
		ErrorHandler:   serviceFailed,
		ErrorLog:       g.proxyLog,
		// FlushInterval stays zero: event streams and answers of unknown length are flushed at once all the same.
	}
	return up, nil
}

func parseServiceURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, invalid("%q is not a URL", s)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, invalid("%q is not a URL such as http://127.0.0.1:9000", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, invalid("the URL of a service has no user, query or fragment")
	}
	return u, nil
}

// buffers lends the proxies what they copy bodies through.
type buffers struct{ pool sync.Pool }

const bufferBytes = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferBytes]byte); ok {
		return p[:]
	}
	return make([]byte, bufferBytes)
}

func (b *buffers) Put(buf []byte) {
	if len(buf) == bufferBytes {
		b.pool.Put((*[bufferBytes]byte)(buf))
	}
}

// patience ends a request when the service lets it wait for too long: until the header of its answer, not counting the
// time that the client takes to send the body.
type patience struct {
	mu    sync.Mutex
	d     time.Duration
	timer *time.Timer
	over  bool // the answer has come
}

var errServiceSlow = tandem.Errorf(tandem.CodeTimeout, "the service did not answer in time")

func (p *patience) start(d time.Duration, cancel context.CancelCauseFunc) {
	p.d = d
	p.timer = time.AfterFunc(d, func() { cancel(errServiceSlow) })
}

// hold stops the clock while the client is to act, goOn starts it anew.
func (p *patience) hold() { p.timer.Stop() }

func (p *patience) goOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(p.d)
	}
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}
