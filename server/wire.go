package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/condition"
	"github.com/tandem-hybrid/tandem/internal/console"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/internal/flow"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/health"
	"github.com/tandem-hybrid/tandem/internal/operation"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// running is what a started server consists of, in the order that an event travels.
type running struct {
	log          *eventlog.Log
	declarations declarations
	operations   *operation.Operations
	streams      *stream.Streams
	health       *health.Services
	chain        *chain.Chain
	delivery     *delivery.Manager
	flows        *flow.Flows
	sources      *source.Sources
	auth         *auth.Auth
	gateway      *gateway.Gateway
	requests     *requests
	public, api  net.Listener

	undo []func(ctx context.Context) error // in the order of building; stop runs it backwards
}

// onStop adds a step of stop.
func (r *running) onStop(step func(ctx context.Context) error) { r.undo = append(r.undo, step) }

// lastMoment is what each step of stop has when the time of all is out: what was cut off is to be gone before the log
// below it closes.
const lastMoment = 2 * time.Second

// stop takes down what was built, last first, and reports everything that went wrong.
func (r *running) stop(ctx context.Context) error {
	var errs []error
	for i := len(r.undo) - 1; i >= 0; i-- {
		step, cancel := ctx, func() {}
		if ctx.Err() != nil {
			step, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
		}
		errs = append(errs, r.undo[i](step))
		cancel()
	}
	return errors.Join(errs...)
}

// start builds a running server. The order is that of an event, from where it is stored to where it comes in: a room is
// built after those that it hands on to, so that nothing comes in before it can be carried through to the end, and stop,
// backwards, closes the door first and the log last.
func start(ctx context.Context, opts Options, s *Server) (_ *running, err error) {
	r := &running{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop(ctx))
		}
	}()
	logger := opts.Logger

	// Addresses first: they are the likeliest thing to be missing, and taking one changes nothing.
	if r.public, err = listen(ctx, opts, opts.PublicAddr); err != nil {
		return nil, err
	}
	r.onStop(closeListener(r.public))
	if r.api, err = listen(ctx, opts, opts.APIAddr); err != nil {
		return nil, err
	}
	r.onStop(closeListener(r.api))

	var (
		engine driver.Driver
		window func() api.Window
	)
	if r.log, engine, window, err = openLog(ctx, &opts); err != nil {
		return nil, err
	}
	r.onStop(func(context.Context) error { return r.log.Close() })

	// Who reads: operations before deliveries, whose replies may end them.
	r.operations = operation.New(r.log, operation.Options{Logger: logger})
	streams := opts.Streams
	streams.Logger, streams.MaxEventBytes = logger, opts.MaxEventBytes
	r.streams = stream.New(r.log, streams)
	r.onStop(r.streams.Stop)
	conditions := condition.New(condition.Options{Logger: logger})
	metrics := prometheus.NewRegistry()

	// Who answers: services, as far as they are checked.
	r.health = health.New(health.Options{
		Changed: func(service string, healthy bool) {
			if healthy {
				r.delivery.Recovered(service)
			}
		},
		Metrics:   metrics,
		UserAgent: "Tandem/" + opts.Version + " health check",
		Logger:    logger,
	})
	r.onStop(r.health.Stop)

	// Who is asked before anything is stored: deliveries put their request links into it, and publish their replies through it.
	r.chain = chain.New(r.log, chain.Options{Timeout: opts.RequestTimeout, Logger: logger})
	r.delivery = delivery.New(r.log, delivery.Options{
		Services:    r.declarations.Service,
		Through:     r.health.Through,
		Healthy:     r.health.Healthy,
		Principal:   func(ctx context.Context) string { return auth.From(ctx).Name },
		Secrets:     opts.Secrets,
		Chain:       r.chain,
		Egress:      opts.Egress,
		Conditions:  conditions.Compile,
		LedgerAge:   opts.LedgerAge,
		LedgerBytes: opts.LedgerBytes,
		Metrics:     metrics,
		UserAgent:   "Tandem/" + opts.Version,
		Logger:      logger,
	})

	// Who explains: it reads what the others keep.
	if r.flows, err = flow.Open(r.log, flow.Options{
		Dir:        filepath.Join(opts.Data, "flows"),
		Age:        opts.FlowAge,
		Bytes:      opts.FlowBytes,
		Ledger:     r.delivery,
		Operations: r.operations,
		Metrics:    metrics,
		Logger:     logger,
	}); err != nil {
		return nil, err
	}
	r.onStop(r.flows.Stop)

	// Who writes, and the declarations that tell everybody what to do.
	r.auth = auth.New(opts.Tokens)
	r.requests = newRequests(metrics)
	r.gateway = gateway.New(r.log, gateway.Options{
		Operations:    r.operations,
		Streams:       r.streams,
		Chain:         r.chain,
		Conditions:    conditions.Compile,
		Through:       r.health.Through,
		MaxEventBytes: opts.MaxEventBytes,
		Observe:       r.observe,
		Logger:        logger,
	})
	r.onStop(r.gateway.Stop)
	r.sources = source.New(r.chain, source.Options{Secrets: opts.Secrets, Metrics: metrics, Name: "Tandem/" + opts.Version, Logger: logger})
	r.chain.Start()
	r.onStop(r.chain.Stop)
	if err := r.operations.Start(ctx); err != nil {
		return nil, err
	}
	r.onStop(r.operations.Stop)
	r.declarations.file = opts.Load != nil
	r.declarations.Store(&declared{})
	if err := r.declare(ctx, opts); err != nil {
		return nil, err
	}
	if err := r.delivery.Start(ctx); err != nil {
		return nil, err
	}
	r.onStop(r.delivery.Stop)
	r.onStop(mirrored(engine, opts.Engine.Prefix(), r.delivery, logger))
	r.flows.Start()
	r.sources.Start()
	r.onStop(r.sources.Stop)

	var draining atomic.Bool
	apiHandler := api.New(api.Options{
		Log:           r.log,
		Chain:         r.chain,
		Auth:          r.auth,
		Streams:       r.streams,
		Operations:    r.operations,
		Subscriptions: r.delivery,
		Tests:         r.delivery,
		Leases:        r.delivery,
		Ledger:        r.delivery,
		Replays:       r.delivery,
		Flows:         r.flows,
		Conditions:    conditions.Compile,
		Services:      r.health.Status,
		Config:        &configuration{declarations: &r.declarations, reload: s.Reload},
		MaxEventBytes: opts.MaxEventBytes,
		Window:        window,
		Ready: func() error {
			if draining.Load() {
				return tandem.Errorf(tandem.CodeUnavailable, "the server is stopping")
			}
			return nil
		},
		Metrics: metrics,
		Version: opts.Version,
		Logger:  logger,
	})
	r.onStop(func(context.Context) error { apiHandler.Close(); return nil })
	pages := console.New(console.Options{API: apiHandler, Auth: r.auth, Version: opts.Version, Logger: logger})

	// The doors. Who waits for something is let go before the doors wait for open requests.
	r.onStop(r.serve(r.api, pages, opts))
	r.onStop(r.serve(r.public, r.gateway, opts))
	r.onStop(r.operations.Drain)
	r.onStop(r.gateway.Drain)
	r.onStop(r.streams.Drain)
	r.onStop(func(context.Context) error { apiHandler.Drain(); return nil })
	r.onStop(func(context.Context) error { draining.Store(true); return nil })
	return r, nil
}

// observe tells of a request through the public listener.
func (r *running) observe(o *gateway.Observed) {
	r.requests.observe(o)
	r.flows.Note(flow.Request{Flow: o.Flow, Began: o.Began, Took: o.Took, FlowRequest: o.FlowRequest})
}

// configuration is what the API may know of, and do with, the configuration.
type configuration struct {
	*declarations
	reload func(context.Context) error
}

func (c *configuration) Reload(ctx context.Context) error { return c.reload(ctx) }

func listen(ctx context.Context, opts Options, addr string) (net.Listener, error) {
	open := opts.Listen
	if open == nil {
		open = func(network, addr string) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, network, addr)
		}
	}
	l, err := open("tcp", addr)
	if err != nil {
		return nil, tandem.Errorf(tandem.CodeUnavailable, "listen on %s: %w", addr, err).
			WithHint("another process may hold the address; choose one with --public or --api")
	}
	return l, nil
}

func closeListener(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// Limits of both listeners. Bodies and answers have limits of their own where they are read and written, since streams
// have no end.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 64 << 10
	freshGrace    = 200 * time.Millisecond // for the first request of a connection that is open when the server stops
)

// serve starts a listener and returns how to stop it: wait for requests under way until the context is done, then cut
// them off, and wait until their handlers have returned. Connections that a service took over, such as WebSockets, have
// no end to wait for: they are cut off with the rest.
func (r *running) serve(l net.Listener, h http.Handler, opts Options) (stop func(ctx context.Context) error) {
	life, end := context.WithCancel(context.Background())
	inside := &handlers{next: h, gone: make(chan struct{})}
	unused := &fresh{}
	srv := &http.Server{
		Handler:           inside,
		ConnState:         unused.state,
		BaseContext:       func(net.Listener) context.Context { return life },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          serverLog(opts.Logger),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	return func(ctx context.Context) error {
		grace := time.AfterFunc(freshGrace, unused.close)
		err := srv.Shutdown(ctx)
		grace.Stop()
		if err != nil {
			err = errors.Join(tandem.Errorf(tandem.CodeTimeout, "requests on %s were cut off", l.Addr()), srv.Close())
		}
		end()
		err = errors.Join(err, inside.stop())
		if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}
}
