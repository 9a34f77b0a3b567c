// Package wait is the ways in which somebody who ordered learns that the order is ready: by asking now and then, by asking once and being
// kept waiting, or by being told. It is plain HTTP over connections of its own, so that what goes over the wire can be counted.
package wait

import (
	"context"
	"sync/atomic"
	"time"
)

// Way is a way of waiting. It is safe for concurrent use: one serves all who wait in this way.
type Way interface {
	// Wait makes ready, places the order, and returns what it was told as soon as it knows that the order is ready. It begins again when a
	// connection breaks. Errors are those of place and of ctx.
	Wait(ctx context.Context, order string, place Place) (Notice, error)
}

// Place places an order and returns the path of its operation.
type Place func(ctx context.Context) (operation string, err error)

// Notice is what somebody knows of an order that is ready.
type Notice struct {
	Ready time.Time // by the kitchen's clock
	Known time.Time // by the clock of who waited
}

// Line is how all who wait reach the server. It counts what their waiting costs; placing orders is not part of it.
type Line struct {
	// Addr is the host and port of the public listener.
	Addr string

	// Due and Begun count the times at which polls were due and those at which one began: one that was still under way, or that this
	// machine had no time for, is due and never begins.
	Due, Begun atomic.Int64
	// Requests are those that were sent, for a webhook those that were received.
	Requests atomic.Int64
	// Bytes are those on the wire above TCP, in both directions.
	Bytes atomic.Int64
	// Broken counts connections that failed, and could not be made.
	Broken atomic.Int64
}

// again is how long to wait after a connection broke.
const again = time.Second

// insist calls once, which reports whether it knows, until it does. An error is a broken connection.
func (l *Line) insist(ctx context.Context, once func() (Notice, bool, error)) (Notice, error) {
	for {
		n, known, err := once()
		if known {
			return n, nil
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		if err == nil {
			continue
		}
		l.Broken.Add(1)
		if err := sleep(ctx, again); err != nil {
			return n, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
