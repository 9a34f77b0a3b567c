package source

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp"
)

// Options configure Sources. The zero value works.
type Options struct {
	// Secrets resolves a reference such as env:NAME. Nil refuses sources that have one.
	Secrets func(ref string) (string, error)
	// Metrics takes the metrics of all sources, once. Nil means none.
	Metrics prometheus.Registerer
	// Name names the connections to whoever looks at the broker; empty means "tandem".
	Name   string
	Logger *slog.Logger // nil means slog.Default
	// Dial makes connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Sources run the sources that are declared. All methods are safe for concurrent use.
type Sources struct {
	log     Publisher
	opts    Options
	brokers *amqp.Pool
	metrics metrics

	mu       sync.Mutex // one change at a time; guards what follows
	running  bool
	declared []Source
	takers   map[string]*taker
}

// New returns Sources that take nothing before Start.
func New(log Publisher, opts Options) *Sources {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Name == "" {
		opts.Name = "tandem"
	}
	s := &Sources{log: log, opts: opts, takers: map[string]*taker{}, metrics: newMetrics(),
		brokers: amqp.NewPool(amqp.Options{Name: opts.Name + " source", Use: "source", Dial: opts.Dial})}
	if opts.Metrics != nil {
		opts.Metrics.MustRegister(s.brokers)
		s.metrics.register(opts.Metrics)
	}
	return s
}

// secret resolves a reference.
func (s *Sources) secret(ref string) (string, error) {
	if s.opts.Secrets == nil {
		return "", tandem.Errorf(tandem.CodeInvalid, "secrets are not available here")
	}
	return s.opts.Secrets(ref)
}

// Check reports what is wrong with declarations, their secrets included. It connects to nothing. Code: Invalid.
func (s *Sources) Check(declared []Source) error {
	seen := map[string]bool{}
	for i := range declared {
		d := &declared[i]
		err := CheckDeclared(*d)
		if err == nil && seen[d.Name] {
			err = tandem.Errorf(tandem.CodeInvalid, "it is declared twice")
		}
		if err == nil {
			if _, e := amqp.Resolve(d.AMQP.URL, d.AMQP.TLS, s.secret); e != nil {
				err = tandem.Errorf(tandem.CodeInvalid, "the source is invalid").WithField("/sources/"+d.Name+"/amqp/url", "%s", tandem.ProblemOf(e).Detail)
			}
		}
		if err != nil {
			return tandem.Wrap("source "+d.Name, err)
		}
		seen[d.Name] = true
	}
	return nil
}

// Apply makes declarations, which Check has found right, those in force. Sources whose declaration has not changed go on undisturbed; others stop
// and begin anew. Before Start it only notes them.
func (s *Sources) Apply(declared []Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declared = slices.Clone(declared)
	if s.running {
		s.apply()
	}
}

func (s *Sources) apply() {
	want := map[string]*Source{}
	for i := range s.declared {
		want[s.declared[i].Name] = &s.declared[i]
	}
	for name, t := range s.takers {
		if d := want[name]; d != nil && d.equal(&t.decl) {
			continue
		}
		t.drain()
		t.wait(nil)
		delete(s.takers, name)
		if want[name] == nil {
			s.metrics.remove(name)
		}
	}
	for name, d := range want {
		if s.takers[name] == nil {
			s.takers[name] = startTaker(s, *d)
		}
	}
}

// Start begins to take. It waits for no broker. Repeating it does nothing.
func (s *Sources) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		s.running = true
		s.apply()
	}
}

// Stop takes nothing new, lets what is being stored finish until ctx is done, then cancels it, and returns when no goroutine is left. What was not
// acknowledged RabbitMQ hands out again. Repeating it does nothing.
func (s *Sources) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	for _, t := range s.takers {
		t.drain()
	}
	var errs []error
	for name, t := range s.takers {
		if !t.wait(ctx.Done()) {
			errs = append(errs, tandem.Errorf(tandem.CodeTimeout, "source %s was cut off", name))
		}
	}
	clear(s.takers)
	return errors.Join(errs...)
}
