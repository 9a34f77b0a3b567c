package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/server"
)

// childEnv is the variable in which a child finds its settings.
const childEnv = "TANDEM_CHILD"

// ready is what a child prints when it answers.
const ready = "ready"

// Server is the child that is Tandem; the others are services.
const Server = "server"

// Settings is what the parent tells a child.
type Settings struct {
	Listen string `json:"listen,omitempty"` // services: the address, set by Launch
	Data   string `json:"data,omitempty"`   // services: the directory for what they keep
	API    string `json:"api,omitempty"`    // services that publish: the base URL of Tandem's API
	Seed   uint64 `json:"seed,omitempty"`   // services that follow a seeded rule
	Config string `json:"config,omitempty"` // server: path of tandem.yaml
	// Embedded keeps the server on the embedded log, whatever TANDEM_ENGINE says.
	Embedded bool `json:"embedded,omitempty"`
	// More is what a service of no example wants to know.
	More json.RawMessage `json:"more,omitempty"`
}

// Service is what a child serves until it ends; Close is called then.
type Service interface {
	http.Handler
	io.Closer
}

// Stateless is a service that has nothing to close.
type Stateless struct{ http.Handler }

// Close does nothing.
func (Stateless) Close() error { return nil }

// Opener opens the service of a kind, in the child. Code: Invalid for a kind that it does not know.
type Opener func(ctx context.Context, kind string, s Settings, logger *slog.Logger) (Service, error)

// Child is one process of a group: Tandem for the kind Server, and otherwise what open returns. It runs until standard
// input ends, which it does when the parent is gone, or ctx is done. Code: Invalid when no Group started this process.
func Child(ctx context.Context, kind string, open Opener) error {
	var s Settings
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &s); err != nil {
		return tandem.Errorf(tandem.CodeInvalid, "this command is started by tandem itself").WithHint("run: tandem demo, or tandem compare")
	}
	// Ctrl-C on a terminal, and its end, go to all processes of the group. The parent decides in which order they end.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, the parent is gone
		cancel()
	}()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("child", kind)
	if kind == Server {
		return runServer(ctx, s, logger)
	}
	svc, err := open(ctx, kind, s, logger)
	if err != nil {
		return err
	}
	defer svc.Close()
	return runService(ctx, svc, s.Listen, logger)
}

func runServer(ctx context.Context, s Settings, logger *slog.Logger) error {
	opts, err := config.Load(s.Config, func(name string) (string, bool) {
		if name != config.EnvEngine || s.Embedded {
			return "", false // addresses and data are the parent's choice
		}
		return os.LookupEnv(name)
	})
	if err != nil {
		return err
	}
	opts.Logger = logger
	srv, err := server.New(opts)
	if err != nil {
		return err
	}
	if err := srv.Start(ctx); err != nil {
		return err
	}
	fmt.Println(ready)
	<-ctx.Done()
	stopCtx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Stop(stopCtx)
}

func runService(ctx context.Context, svc Service, addr string, logger *slog.Logger) error {
	l, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: svc, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Println(ready)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	// A connection that never carried a request counts as busy for five seconds: too long to wait for.
	stopCtx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(stopCtx); err != nil {
		_ = srv.Close() // those who hold on are cut off
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen waits a little for an address that a process before it may still have.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	for attempt := 0; ; attempt++ {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err == nil || attempt == 50 {
			return l, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
