package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Server is one Tandem process. Several may run in one program, each on a data directory and addresses of its own. All
// methods are safe for concurrent use.
type Server struct {
	mu   sync.Mutex // orders Start, Stop and Reload, and guards what follows
	opts Options
	run  *running // nil unless started
}

// New checks what can be checked without opening anything. Code: Invalid.
func New(opts Options) (*Server, error) {
	opts.setDefaults()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Secrets == nil {
		opts.Secrets = func(ref string) (string, error) {
			return "", tandem.Errorf(tandem.CodeInvalid, "no secrets are configured, so %q cannot be resolved", ref)
		}
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	return &Server{opts: opts}, nil
}

// setDefaults sets where the server is.
func (o *Options) setDefaults() {
	if o.Data == "" {
		o.Data = DefaultData
	}
	if o.PublicAddr == "" {
		o.PublicAddr = DefaultDevPublicAddr
	}
	if o.APIAddr == "" {
		o.APIAddr = DefaultAPIAddr
	}
}

// Start returns when both listeners answer. ctx bounds the start only. Starting a started server does nothing. Codes:
// Invalid (also a directory that cannot be one), Conflict (another process has the directory), Unavailable (an address
// cannot be had, the disk is full).
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		return nil
	}
	run, err := start(ctx, s.opts, s)
	if err != nil {
		return err
	}
	s.run = run
	return nil
}

// Stop drains: it stops taking requests, tells streams to reconnect, lets requests and deliveries under way finish until
// ctx is done, then cuts them off, for which each room has two seconds, and closes the log. Nothing of the server runs
// when it returns, or the error names what does. Stopping a stopped server does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return nil
	}
	err := s.run.stop(ctx)
	s.run = nil
	return err
}

// Reload takes the declarations of Options.Load: all of them or none. Open requests and streams go on. What a reload
// cannot change (directory, addresses, limits, streams) keeps its value until the next start, and is named in the log. Codes: Conflict (nothing to reload, the
// file is gone, or a start, stop or reload is under way), and those of what is wrong with the configuration.
func (s *Server) Reload(ctx context.Context) error {
	// It does not wait: Stop holds the lock while it waits for open requests, of which this may be one.
	if !s.mu.TryLock() {
		return tandem.Errorf(tandem.CodeConflict, "a start, stop or reload is under way").WithHint("try again when it is done")
	}
	defer s.mu.Unlock()
	if s.run == nil {
		return tandem.Errorf(tandem.CodeUnavailable, "the server is not running")
	}
	if s.opts.Load == nil {
		return tandem.Errorf(tandem.CodeConflict, "there is no configuration file to reload")
	}
	last := &reloaded{at: time.Now()}
	last.later, last.err = s.reload(ctx)
	s.run.declarations.reload.Store(last)
	return last.err
}

// reload takes the declarations of the file, and returns the keys of it that have to wait for the next start.
func (s *Server) reload(ctx context.Context) (later []string, err error) {
	loaded, err := s.opts.Load(ctx)
	if tandem.CodeOf(err) == tandem.CodeNotFound { // it is the file that is not there, and not what was asked for
		return nil, &tandem.Error{Code: tandem.CodeConflict, Op: "reload", Err: err, Hint: "the last good configuration holds"}
	}
	if err != nil {
		return nil, tandem.Wrap("reload", err)
	}
	next := s.opts.with(loaded)
	if err := next.check(); err != nil {
		return nil, tandem.Wrap("reload", err)
	}
	if err := s.run.declare(ctx, next); err != nil {
		// What was applied before the failure is taken back, so that the last good configuration holds as a whole.
		if back := s.run.declare(context.WithoutCancel(ctx), s.opts); back != nil {
			err = errors.Join(err, back)
		}
		return nil, tandem.Wrap("reload", err)
	}
	later = s.opts.later(loaded)
	if len(later) > 0 {
		s.opts.Logger.Warn("the configuration file has other values for keys that are read at the start only", "keys", later)
	}
	s.opts = next
	s.opts.Logger.Info("configuration reloaded", "topics", len(next.Topics), "routes", len(next.Routes), "subscriptions", len(next.Subscriptions))
	return later, nil
}

// PublicAddr returns the address of the public listener as host:port, "" unless started.
func (s *Server) PublicAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return ""
	}
	return s.run.public.Addr().String()
}

// APIAddr returns the address of the API listener as host:port, "" unless started.
func (s *Server) APIAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return ""
	}
	return s.run.api.Addr().String()
}
