package amqp

import (
	"context"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Pool. The zero value works.
type Options struct {
	// Name names the connections to whoever looks at the broker; empty means "tandem".
	Name string
	Use  string // labels the metrics: "delivery" or "source"
	// Dial makes connections; nil means a net.Dialer. Tests bring their own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Pool has the connections to brokers, one for each that has users. All methods are safe for concurrent use.
type Pool struct {
	opts     Options
	made     prometheus.Counter
	failures prometheus.Counter

	mu      sync.Mutex // guards what follows
	brokers map[Address]*broker
}

// NewPool returns a Pool that is connected to nothing. It has nothing to close: its users have.
func NewPool(opts Options) *Pool {
	if opts.Name == "" {
		opts.Name = "tandem"
	}
	if opts.Dial == nil {
		opts.Dial = (&net.Dialer{}).DialContext
	}
	label := prometheus.Labels{"use": opts.Use}
	p := &Pool{opts: opts, brokers: map[Address]*broker{},
		made: prometheus.NewCounter(prometheus.CounterOpts{Name: "tandem_amqp_connections_total", ConstLabels: label,
			Help: "Connections to RabbitMQ that were made; all but the first of each broker are reconnects."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "tandem_amqp_connect_failures_total", ConstLabels: label,
			Help: "Attempts to connect to RabbitMQ that failed."}),
	}
	return p
}

// Describe implements prometheus.Collector.
func (p *Pool) Describe(out chan<- *prometheus.Desc) {
	p.made.Describe(out)
	p.failures.Describe(out)
}

// Collect implements prometheus.Collector.
func (p *Pool) Collect(out chan<- prometheus.Metric) {
	p.made.Collect(out)
	p.failures.Collect(out)
}

// take returns the broker of an address to one more user.
func (p *Pool) take(a Address) *broker {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.brokers[a]
	if b == nil {
		b = newBroker(p, a)
		p.brokers[a] = b
	}
	b.users++
	return b
}

// release ends the use of a broker. With the last one its connection ends.
func (p *Pool) release(b *broker) {
	p.mu.Lock()
	b.users--
	last := b.users == 0
	if last {
		delete(p.brokers, b.addr)
	}
	p.mu.Unlock()
	if last {
		b.close()
	}
}
