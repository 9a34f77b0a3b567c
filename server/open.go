package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/api"
)

// openTimeout bounds how long a start waits for an engine over a network.
const openTimeout = 30 * time.Second

// OpenEngine opens the engine that opts name: of them it uses Data, Engine, FreeBytes, Secrets and Logger. The caller closes it, or hands it to
// eventlog.Open. Codes: Invalid (a setting), Unavailable (it cannot be reached, or another process has it).
func OpenEngine(ctx context.Context, opts Options) (driver.Driver, error) {
	if opts.Data == "" {
		opts.Data = DefaultData
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var (
		drv   driver.Driver
		err   error
		where = "open " + opts.Engine.Name() + " at " + opts.Engine.Where()
	)
	switch e := &opts.Engine; {
	case e.Kafka != nil:
		var o kafkalog.Options
		if o, err = e.Kafka.options(&opts); err == nil {
			drv, err = kafkalog.Open(ctx, o)
		}
	case e.NATS != nil:
		var o natslog.Options
		if o, err = e.NATS.options(&opts); err == nil {
			drv, err = natslog.Open(ctx, o)
		}
	default:
		where = "open " + opts.Data
		drv, err = pebblelog.Open(opts.Data, pebblelog.Options{FreeBytes: opts.FreeBytes, Logger: opts.Logger})
	}
	if err != nil {
		return nil, tandem.Wrap(where, err)
	}
	return drv, nil
}

// Declares is what the engine declares before it is opened.
func (e *Engine) Declares() driver.Info {
	switch {
	case e.Kafka != nil:
		return kafkalog.Declared()
	case e.NATS != nil:
		return natslog.Declared()
	}
	return pebblelog.Declared()
}

func (k *Kafka) options(opts *Options) (kafkalog.Options, error) {
	s := secrets{get: opts.Secrets}
	o := kafkalog.Options{Brokers: k.Brokers, Prefix: opts.Engine.Prefix(), Replication: k.Replication, MinInSync: k.MinInSync, TLS: s.tlsOf(k.TLS),
		Dir: filepath.Join(opts.Data, "kafka-state"), Logger: opts.Logger}
	if k.SASL != nil {
		ref := k.SASL.Password
		if k.SASL.Mechanism == "OAUTHBEARER" {
			ref = k.SASL.Token
		}
		s.value(ref, "sasl") // what is missing is better known at the start
		o.SASL = kafkalog.SASL{Mechanism: strings.ToLower(k.SASL.Mechanism), User: k.SASL.User,
			Secret: func(context.Context) (string, error) { return opts.Secrets(ref) }}
	}
	return o, s.err
}

func (n *NATS) options(opts *Options) (natslog.Options, error) {
	s := secrets{get: opts.Secrets}
	o := natslog.Options{URL: n.URL, Prefix: n.Prefix, Replicas: n.Replicas, SyncAlways: n.SyncAlways, DuplicateWindow: n.Repeats,
		Credentials: strings.TrimPrefix(n.Credentials, "file:"), NKey: strings.TrimPrefix(n.NKey, "file:"), User: n.User,
		Password: natslog.Secret(s.value(n.Password, "password")), Token: natslog.Secret(s.value(n.Token, "token")), TLS: s.tlsOf(n.TLS),
		Dir: filepath.Join(opts.Data, "nats-state"), Logger: opts.Logger}
	return o, s.err
}

// openLog opens the engine and the log over it, and returns also what the status says of the window of repeated ids.
func openLog(ctx context.Context, opts *Options, stored func(*tandem.Event, tandem.Position)) (*eventlog.Log, driver.Driver, func() api.Window, error) {
	drv, err := OpenEngine(ctx, *opts)
	if err != nil {
		return nil, nil, nil, err
	}
	info := drv.Info()
	for _, w := range info.Warnings {
		opts.Logger.Warn("the engine weakens a promise: "+w, "engine", info.Engine)
	}
	if most := info.MaxEventBytes; most > 0 && opts.MaxEventBytes > most {
		drv.Close()
		return nil, nil, nil, tandem.Errorf(tandem.CodeInvalid, "limits.maxEventBytes is %d, and the engine %s takes events of at most %d", opts.MaxEventBytes, info.Engine, most).
			WithHint("lower limits.maxEventBytes, or raise the limit of the server")
	}
	log, err := eventlog.Open(ctx, drv, eventlog.Options{Logger: opts.Logger, MaxEventBytes: opts.MaxEventBytes, AutoCreate: opts.AutoCreate,
		Dir: filepath.Join(opts.Data, "ids"), Sampling: opts.sampling(), Stored: stored})
	if err != nil {
		return nil, nil, nil, err
	}
	return log, drv, func() api.Window {
		if e, ok := drv.(*pebblelog.Engine); ok {
			w := e.DedupWindow()
			return api.Window{Entries: w.Entries, Max: w.Max, Bytes: w.Bytes, Keep: w.Keep, Oldest: w.Oldest}
		}
		w, _ := log.RepeatWindow()
		return api.Window{Entries: w.Entries, Max: w.Max, Bytes: w.Bytes, Keep: w.Keep, Oldest: w.Oldest}
	}, nil
}
