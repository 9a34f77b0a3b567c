package server

import (
	"context"
	"log/slog"
	"math/rand/v2"

	"github.com/tandem-hybrid/tandem/internal/gateway"
)

// accessLog writes a line for requests of the public listener. A nil one writes none.
type accessLog struct {
	logger *slog.Logger
	share  float64 // of the requests that do not fail
}

func newAccessLog(opts *Options) *accessLog {
	if !opts.AccessLog {
		return nil
	}
	share := opts.AccessSample
	if share == 0 {
		share = 1
	}
	return &accessLog{opts.Logger, share}
}

// observe is a part of the gateway's hook. The query is left out, as are headers: both may hold tokens.
func (l *accessLog) observe(o *gateway.Observed) {
	if l == nil {
		return
	}
	level := slog.LevelInfo
	if o.Status == 0 || o.Status >= 500 {
		level = slog.LevelWarn
	} else if rand.Float64() >= l.share {
		return
	}
	ctx := context.Background()
	if !l.logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("flow", o.Flow), slog.String("trace", o.Trace), slog.String("method", short(o.Method)), slog.String("path", short(o.Path)),
		slog.String("route", o.Route), slog.Int("status", o.Status), slog.Duration("took", o.Took)}
	for _, a := range [...]slog.Attr{slog.String("service", o.Service), slog.String("principal", short(o.Principal)), slog.String("operation", o.Operation)} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	l.logger.LogAttrs(ctx, level, "request", attrs...)
}

// short bounds what a client can put into a line.
func short(s string) string {
	const most = 500
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
