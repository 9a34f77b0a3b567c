package demo

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
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/fleet/page"
	"github.com/tandem-hybrid/tandem/examples/shop/accounts"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
	"github.com/tandem-hybrid/tandem/examples/shop/notifications"
	"github.com/tandem-hybrid/tandem/examples/shop/orders"
	"github.com/tandem-hybrid/tandem/examples/shop/payments"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/server"
)

// childEnv is the variable in which a child finds its settings.
const childEnv = "TANDEM_DEMO_CHILD"

// ready is what a child prints when it answers.
const ready = "ready"

// serverName is the child that is Tandem; the others are services of an example.
const serverName = "server"

// settings is what the parent tells a child.
type settings struct {
	Listen string `json:"listen,omitempty"` // services
	Data   string `json:"data,omitempty"`   // services: where the database is
	API    string `json:"api,omitempty"`    // orders: the base URL of Tandem's API
	Seed   uint64 `json:"seed,omitempty"`   // inventory, payments
	Config string `json:"config,omitempty"` // server: path of tandem.yaml
}

// Child is the hidden command "demo-service NAME": one process of the demo. It runs until standard input ends, which it
// does when the parent is gone, or ctx is done. Code: Invalid.
func Child(ctx context.Context, name string) error {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &s); err != nil {
		return tandem.Errorf(tandem.CodeInvalid, "demo-service is started by tandem demo").WithHint("run: tandem demo")
	}
	// Ctrl-C on a terminal, and its end, go to all processes of the group. The parent decides in which order they end.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, the parent is gone
		cancel()
	}()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("child", name)
	if name == serverName {
		return runServer(ctx, s, logger)
	}
	return runService(ctx, name, s, logger)
}

func runServer(ctx context.Context, s settings, logger *slog.Logger) error {
	opts, err := config.Load(s.Config, func(name string) (string, bool) {
		if name != config.EnvEngine {
			return "", false // addresses and data are the demo's own
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

// service is what each of the examples' packages gives.
type service interface {
	http.Handler
	io.Closer
}

// stateless is a service that has nothing to close.
type stateless struct{ http.Handler }

func (stateless) Close() error { return nil }

func openService(ctx context.Context, name string, s settings, logger *slog.Logger) (service, error) {
	switch name {
	case "accounts":
		return accounts.Open(ctx, s.Data)
	case "inventory":
		return inventory.Open(ctx, s.Data, inventory.Rule{Seed: s.Seed})
	case "payments":
		return payments.Open(ctx, s.Data, payments.Rule{Seed: s.Seed})
	case "notifications":
		return notifications.Open(ctx, s.Data)
	case "map":
		return stateless{page.Handler()}, nil
	case "orders":
		// The outbox decides when to try again; a second layer below it would only multiply the attempts.
		c, err := client.New(s.API, client.Options{Retries: -1, Timeout: 5 * time.Second})
		if err != nil {
			return nil, err
		}
		return orders.Open(ctx, s.Data, c, orders.Options{Logger: logger})
	}
	return nil, tandem.Errorf(tandem.CodeInvalid, "no example has a service %q", name)
}

func runService(ctx context.Context, name string, s settings, logger *slog.Logger) error {
	svc, err := openService(ctx, name, s, logger)
	if err != nil {
		return err
	}
	defer svc.Close()
	l, err := listen(ctx, s.Listen)
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
