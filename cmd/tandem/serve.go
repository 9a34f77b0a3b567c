package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/server"
)

type serveCmd struct {
	Config    string        `placeholder:"FILE" help:"Configuration (default: $$TANDEM_CONFIG, else tandem.yaml if there is one)."`
	Data      string        `placeholder:"DIR" help:"Directory of the log (default: $$TANDEM_DATA, the file, ${data})."`
	Public    string        `placeholder:"ADDR" help:"Public listener (default: $$TANDEM_PUBLIC, the file, ${public} without a file)."`
	API       string        `name:"api" placeholder:"ADDR" help:"API listener (default: $$TANDEM_API, the file, ${api})."`
	Engine    string        `placeholder:"URL" help:"Where events are stored: embedded, kafka://HOST:PORT or nats://HOST:PORT (default: $$TANDEM_ENGINE, the file, embedded)."`
	LogFormat string        `enum:"text,json" default:"text" help:"text or json."`
	LogLevel  slog.Level    `default:"info" help:"debug, info, warn or error."`
	Drain     time.Duration `default:"25s" help:"How long requests and deliveries under way may take to finish when the server is told to stop. Keep it below what the supervisor waits, 30s for Kubernetes."`
}

func (c *serveCmd) Help() string {
	return `Without a configuration it is a developer's set-up on loopback, where a topic comes into being when it is first published to.

SIGHUP reads the configuration again: all of it takes effect, or none and the log says why. SIGTERM and Ctrl-C let what is under way finish and exit with 0; a second one ends the process at once.

Examples:
  tandem serve
  tandem serve --config shop/tandem.yaml
  tandem serve --engine kafka://127.0.0.1:9092
  TANDEM_DATA=/var/lib/tandem tandem serve --public :80 --log-format json`
}

func (c *serveCmd) Run(a *app) error {
	logger := c.logger(a)
	file, err := c.read(logger, c.Config)
	if err != nil {
		return err
	}
	opts := file.Options
	if file.Path != "" {
		opts.Load = func(context.Context) (server.Options, error) {
			f, err := c.read(logger, file.Path)
			return f.Options, err
		}
	}
	srv, err := server.New(opts)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if err := srv.Start(a.ctx); err != nil {
		return err
	}
	c.greet(a, logger, srv, &file)
	for {
		select {
		case <-hup:
			if err := srv.Reload(a.ctx); err != nil {
				logger.Error("the configuration was not reloaded; the last good one holds", "error", explain(err))
			}
		case <-a.ctx.Done():
			return c.stop(logger, srv)
		}
	}
}

// read reads the configuration and puts the flags over it.
func (c *serveCmd) read(logger *slog.Logger, path string) (config.File, error) {
	f, err := config.Read(path, os.LookupEnv)
	if err != nil {
		return f, err
	}
	for _, w := range f.Warnings {
		logger.Warn(w.Text, "at", w.Place)
	}
	o := &f.Options
	for _, flag := range []struct {
		into  *string
		value string
	}{{&o.Data, c.Data}, {&o.PublicAddr, c.Public}, {&o.APIAddr, c.API}} {
		if flag.value != "" {
			*flag.into = flag.value
		}
	}
	if c.Engine != "" {
		if o.Engine, err = server.ParseEngine(c.Engine); err != nil {
			return f, err
		}
	}
	o.Logger, o.Version = logger, version()
	return f, nil
}

func (c *serveCmd) logger(a *app) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(a.stderr, opts))
}

// greet says where the server is: to people on stdout, to collectors of logs as a record.
func (c *serveCmd) greet(a *app, logger *slog.Logger, srv *server.Server, file *config.File) {
	from := file.Path
	if from == "" {
		from = "none: a developer's set-up, topics are created when first published to"
	}
	engine := file.Options.Engine.Name()
	if where := file.Options.Engine.Where(); where != "" {
		engine += " at " + where
	}
	if c.LogFormat == "json" {
		logger.Info("serving", "public", srv.PublicAddr(), "api", srv.APIAddr(), "engine", engine, "data", file.Options.Data, "config", from, "version", version())
		return
	}
	a.printf("tandem %s\n  public  http://%s\n  api     http://%s\n  engine  %s\n  data    %s\n  config  %s\n", version(), srv.PublicAddr(), srv.APIAddr(), engine, file.Options.Data, from)
}

func (c *serveCmd) stop(logger *slog.Logger, srv *server.Server) error {
	logger.Info("stopping: waiting for what is under way", "at most", c.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), c.Drain)
	defer cancel()
	err := srv.Stop(ctx)
	if tandem.CodeOf(err) == tandem.CodeTimeout || ctx.Err() != nil {
		logger.Warn("what had not finished in time was cut off", "error", err)
		return nil
	}
	if err == nil {
		logger.Info("stopped")
	}
	return err
}
