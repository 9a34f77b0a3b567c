package process

import (
	"context"
	"log/slog"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/fleet/page"
	"github.com/tandem-hybrid/tandem/examples/kitchen/cook"
	"github.com/tandem-hybrid/tandem/examples/shop/accounts"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
	"github.com/tandem-hybrid/tandem/examples/shop/notifications"
	"github.com/tandem-hybrid/tandem/examples/shop/orders"
	"github.com/tandem-hybrid/tandem/examples/shop/payments"
)

// OpenExample is the Opener of the services of examples.
func OpenExample(ctx context.Context, name string, s Settings, logger *slog.Logger) (Service, error) {
	switch name {
	case "accounts":
		return accounts.Open(ctx, s.Data)
	case "inventory":
		return inventory.Open(ctx, s.Data, inventory.Rule{Seed: s.Seed})
	case "payments":
		return payments.Open(ctx, s.Data, payments.Rule{Seed: s.Seed})
	case "notifications":
		return notifications.Open(ctx, s.Data)
	case "kitchen":
		return Stateless{cook.Handler()}, nil
	case "map":
		return Stateless{page.Handler()}, nil
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
