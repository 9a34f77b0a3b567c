package waiting

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/kitchen/wait"
)

// control is a way in which nobody waits: one look now and then, for all, at how many orders were delivered. It tells when everything is
// done and nothing of when a single order was.
type control struct {
	api *client.Client

	mu                sync.Mutex // guards what follows; who holds it looks
	placed, delivered uint64
}

const lookEvery = 100 * time.Millisecond

func (c *control) Wait(ctx context.Context, _ string, place wait.Place) (n wait.Notice, err error) {
	if _, err := place(ctx); err != nil {
		return n, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.placed++; c.delivered < c.placed; {
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
		s, err := c.api.Subscription(ctx, kitchenName)
		if err != nil {
			return n, err
		}
		c.delivered = s.Status.Delivered
	}
	return n, nil
}
