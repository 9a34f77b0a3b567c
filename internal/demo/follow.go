package demo

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/fleet/stream"
)

// slowPause is the wait of a slow reader after each position.
const slowPause = 5 * time.Millisecond

// follower is a reader of the map's stream.
type follower struct {
	cursor string // empty: from now on
	slow   string // empty: what the route says
	tally  *tally
	hurry  <-chan struct{} // set for a reader that is slow until it is closed
	begun  chan<- struct{} // is sent to once the stream is open; has a place for each reader
}

// follow reads the map's stream, over restarts of the server, until ctx is done.
func (f *Fleet) follow(ctx context.Context, r follower) error {
	for ctx.Err() == nil {
		err := r.read(ctx, strings.TrimPrefix(f.Public, "http://"))
		var refused *stream.StatusError
		if e := (*tandem.Error)(nil); errors.As(err, &e) || errors.As(err, &refused) && refused.ForGood() {
			return tandem.Wrap("follow the positions", err)
		}
		select {
		case <-time.After(50 * time.Millisecond): // on loopback, and what is measured must not wait for a backoff
		case <-ctx.Done():
		}
	}
	return nil
}

// read reads one connection to its end. A *tandem.Error says that another one is of no use.
func (r *follower) read(ctx context.Context, addr string) error {
	query := url.Values{}
	if r.cursor != "" {
		query.Set("cursor", r.cursor)
	}
	if r.slow != "" {
		query.Set("slow", r.slow)
	}
	conn, err := stream.Dial(ctx, addr, "/positions?"+query.Encode())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		f, err := conn.Next()
		switch {
		case err != nil:
			return err
		case f.Gap != nil:
			return tandem.Errorf(tandem.CodeConflict, "positions are missing: %s", f.Gap)
		case f.Event != nil:
			r.tally.take(f.Event.Subject, f.Event.Data)
		}
		if f.Cursor != "" {
			r.cursor = f.Cursor
		}
		if r.begun != nil {
			r.begun <- struct{}{}
			r.begun = nil
		}
		if r.hurry == nil {
			continue
		}
		pause.Reset(slowPause)
		select {
		case <-pause.C:
		case <-r.hurry:
		case <-ctx.Done():
		}
	}
}
