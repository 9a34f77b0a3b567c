package compare

import (
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"
)

// proxy stands before a service: it counts what goes through it, and can be slow, answer errors, or be down. It does so for
// any service, whoever started it, and in both styles alike.
type proxy struct {
	name    string // of the process behind it
	target  string // its base URL
	addr    string
	wire    *wire
	forward http.Handler
	idle    func() // closes the connections to the service

	mu    sync.Mutex // guards what follows
	slow  time.Duration
	share float64 // of calls that are answered 500
	rng   *rand.Rand
	srv   *http.Server // nil while it is down
}

// newProxy listens on addr, on loopback, for a service at target. seed decides whom a share of errors hits.
func newProxy(ctx context.Context, name, addr, target string, w *wire, seed uint64) (*proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 20_000, IdleConnTimeout: 5 * time.Second, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	p := &proxy{name: name, target: target, addr: addr, wire: w, idle: transport.CloseIdleConnections, rng: rand.New(rand.NewPCG(seed, 0x70726f7879))}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		// The caller sees what it would see without a proxy: a connection that breaks off.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return p, p.up(ctx)
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.wire.requests.Add(1)
	p.mu.Lock()
	slow, fail := p.slow, p.share > 0 && p.rng.Float64() < p.share
	p.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if fail {
		_, _ = io.Copy(io.Discard, r.Body) // or the connection could not be used again
		http.Error(w, "fault: this call was chosen to fail", http.StatusInternalServerError)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// fault makes calls slow or fail from now on; zeros end it.
func (p *proxy) fault(slow time.Duration, share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow, p.share = slow, share
}

// up listens, again after down.
func (p *proxy) up(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	p.mu.Lock()
	p.srv = srv
	p.mu.Unlock()
	go func() { _ = srv.Serve(countingListener{l, &p.wire.bytes}) }() // until it is closed
	return nil
}

// down refuses connections and cuts those that are open, as a process does that is killed.
func (p *proxy) down() {
	p.mu.Lock()
	srv := p.srv
	p.srv = nil
	p.mu.Unlock()
	if srv != nil {
		_ = srv.Close() // its listener is closed in any case
	}
	p.idle()
}

// answers waits until the service accepts connections.
func answers(ctx context.Context, base string) error {
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// proxies are those of a trial. Safe for concurrent use.
type proxies struct {
	mu  sync.RWMutex
	all []*proxy
}

func (l *proxies) add(p *proxy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, p)
}

// find returns the first that is so, or nil.
func (l *proxies) find(is func(*proxy) bool) *proxy {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if i := slices.IndexFunc(l.all, is); i >= 0 {
		return l.all[i]
	}
	return nil
}

// before returns the proxy before a process, or nil.
func (l *proxies) before(name string) *proxy {
	return l.find(func(p *proxy) bool { return p.name == name })
}

func (l *proxies) len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.all)
}

func (l *proxies) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.all {
		p.down()
	}
}
