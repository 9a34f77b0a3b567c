package server

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
	"github.com/tandem-hybrid/tandem/internal/delivery"
)

// mirrorEvery is how far behind the groups of Kafka that show the progress of subscriptions may be.
const mirrorEvery = 5 * time.Second

// mirror shows the progress of subscriptions as groups of Kafka, for tools that show lags, until ctx is done. Nothing reads it back.
func mirror(ctx context.Context, e *kafkalog.Engine, prefix string, m *delivery.Manager, every time.Duration, logger *slog.Logger) {
	told := map[string]map[kafkalog.Place]bool{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.Places(func(name string, places []delivery.Place) {
			now := make(map[kafkalog.Place]bool, len(places))
			all := make([]kafkalog.Place, 0, len(places))
			for _, p := range places {
				at := kafkalog.Place{Topic: p.Topic, Partition: p.Partition, Next: p.Next}
				now[at] = true
				all = append(all, at)
			}
			if maps.Equal(now, told[name]) || ctx.Err() != nil {
				return
			}
			if err := e.Mirror(ctx, prefix+name, all); err != nil {
				if !failed[name] && ctx.Err() == nil {
					logger.Warn("the progress of a subscription is not shown in Kafka", "subscription", name, "group", prefix+name, "error", err)
				}
				failed[name] = true
				return
			}
			told[name] = now
			delete(failed, name)
		})
	}
}

// mirrored starts mirror if the engine has groups, and returns what stops it.
func mirrored(drv driver.Driver, prefix string, m *delivery.Manager, logger *slog.Logger) func(context.Context) error {
	e, ok := drv.(*kafkalog.Engine)
	if !ok {
		return func(context.Context) error { return nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		mirror(ctx, e, prefix, m, mirrorEvery, logger)
	}()
	return func(context.Context) error { cancel(); <-done; return nil }
}
