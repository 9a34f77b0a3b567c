package amqp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

const (
	// connectTime bounds a connection with its handshakes, and each call on a channel.
	connectTime = 10 * time.Second
	// heartbeat is how often each side shows that it is there; a broker that is silent for a few of them is gone.
	heartbeat = 10 * time.Second
	// writeTime is how long a write may be stuck before the connection is given up.
	writeTime = 20 * time.Second
	// closeTime bounds the goodbye.
	closeTime = 2 * time.Second
	// The waits between attempts to connect, with jitter of a half.
	firstWait = 200 * time.Millisecond
	lastWait  = 5 * time.Second
)

// broker is one connection, made when it is asked for. It belongs to a Pool.
type broker struct {
	pool  *Pool
	addr  Address
	users int // guarded by Pool.mu

	connecting chan struct{} // holds one element while somebody connects

	mu       sync.Mutex // guards what follows
	link     *link
	closed   bool
	failures int       // in a row
	again    time.Time // before it nobody tries
	err      error     // of the last attempt
}

// link is one connection that was made.
type link struct {
	conn    *amqp091.Connection
	socket  net.Conn
	shown   string
	blocked atomic.Pointer[string] // why the broker takes nothing now; nil when it does
	done    sync.WaitGroup
}

func newBroker(p *Pool, a Address) *broker {
	return &broker{pool: p, addr: a, connecting: make(chan struct{}, 1)}
}

// connect returns the connection, and makes it if there is none. While an attempt failed not long ago it returns the error of that
// one. Code: Unavailable, with RetryAfter, or that of ctx.
func (b *broker) connect(ctx context.Context) (*link, error) {
	select {
	case b.connecting <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-b.connecting }()
	b.mu.Lock()
	l, wait, err, closed := b.link, time.Until(b.again), b.err, b.closed
	b.mu.Unlock()
	switch {
	case closed:
		return nil, tandem.Errorf(tandem.CodeUnavailable, "the connection to %s was given up", b.addr)
	case l != nil && !l.conn.IsClosed():
		return l, nil
	case wait > 0 && err != nil:
		return nil, unavailable(err, wait)
	}
	if l != nil {
		l.close()
	}
	l, err = b.dial(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // which says nothing of the broker
	}
	return b.noted(l, err)
}

// unavailable is the error of an attempt that failed not long ago, for one more user.
func unavailable(err error, wait time.Duration) error {
	return (&tandem.Error{Code: tandem.CodeUnavailable, Err: err}).WithRetryAfter(wait)
}

// noted keeps what became of an attempt.
func (b *broker) noted(l *link, err error) (*link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.pool.made.Inc()
		b.link, b.failures, b.err, b.again = l, 0, nil, time.Time{}
		return l, nil
	}
	b.failures++
	b.pool.failures.Inc()
	wait := jitter(b.failures)
	b.link, b.err, b.again = nil, err, time.Now().Add(wait)
	return nil, unavailable(err, wait)
}

// jitter returns the wait after the n-th failure in a row, n from 1.
func jitter(n int) time.Duration {
	wait := lastWait
	if n < 8 {
		wait = min(lastWait, firstWait<<(n-1))
	}
	return wait/2 + rand.N(wait/2+1)
}

// dial connects, logs in and opens the virtual host.
func (b *broker) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	config := amqp091.Config{Heartbeat: heartbeat, Properties: amqp091.NewConnectionProperties()}
	config.Properties.SetClientConnectionName(b.pool.opts.Name)
	var err error
	if config.TLSClientConfig, err = b.addr.certs.config(); err != nil {
		return nil, err
	}
	var conn net.Conn
	stop := func() bool { return true }
	config.Dial = func(network, address string) (net.Conn, error) {
		c, err := b.pool.opts.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn = &boundedConn{Conn: c}
		stop = context.AfterFunc(ctx, func() { c.Close() }) // the handshakes know no context
		return conn, nil
	}
	raw, err := amqp091.DialConfig(b.addr.url, config)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, b.whyNot(ctx, err)
	}
	l := &link{conn: raw, socket: conn, shown: b.addr.String()}
	blocks := raw.NotifyBlocked(make(chan amqp091.Blocking, 1))
	l.done.Go(func() { l.watch(blocks) })
	return l, nil
}

// watch notes whether the broker takes anything, until the connection ends.
func (l *link) watch(blocks <-chan amqp091.Blocking) {
	for s := range blocks {
		if s.Active {
			l.blocked.Store(&s.Reason)
		} else {
			l.blocked.Store(nil)
		}
	}
}

// whyNot says why there is no connection. Nothing in it comes from the URL but host, port and virtual host.
func (b *broker) whyNot(ctx context.Context, err error) error {
	var refused *amqp091.Error
	switch {
	case errors.Is(err, amqp091.ErrVhost) || errors.As(err, &refused) && refused.Code == amqp091.NotAllowed:
		return tandem.Errorf(tandem.CodeUnavailable, "RabbitMQ at %s has no such virtual host, or the user may not use it", b.addr)
	case errors.As(err, &refused) && refused.Code == amqp091.AccessRefused:
		return tandem.Errorf(tandem.CodeUnavailable, "RabbitMQ at %s ended the connection at the login: the user or the password is wrong", b.addr).
			WithHint("look at the URL that the reference names; the user guest may only come from the broker's own machine")
	case ctx.Err() != nil:
		return tandem.Errorf(tandem.CodeUnavailable, "RabbitMQ at %s did not answer in time", b.addr)
	}
	return tandem.Errorf(tandem.CodeUnavailable, "cannot connect to RabbitMQ at %s: %w", b.addr, err)
}

// call makes a call on a connection that knows no context. A broker that does not answer it in time has lost the connection: while it is
// low on memory it reads nothing from one that publishes, and goes on to send heartbeats.
func (l *link) call(fn func() error) error {
	t := time.AfterFunc(connectTime, l.end)
	defer t.Stop()
	return fn()
}

// end says goodbye and ends the connection, within closeTime. The library's own deadline does not hold: it sets it anew with each heartbeat, and a
// broker that is low on memory sends those while it reads nothing.
func (l *link) end() {
	t := time.AfterFunc(closeTime, func() { l.socket.Close() })
	defer t.Stop()
	_ = l.conn.Close() // that it is closed already is no news
}

// close ends the connection and waits for its goroutine.
func (l *link) close() {
	l.end()
	l.done.Wait()
}

// close is for the last user.
func (b *broker) close() {
	b.connecting <- struct{}{}
	defer func() { <-b.connecting }()
	b.mu.Lock()
	l := b.link
	b.link, b.closed = nil, true
	b.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// boundedConn gives up writes that are stuck, since the library waits for them without end.
type boundedConn struct{ net.Conn }

func (c *boundedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
