package consumer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Opener opens consumers of a kind in children.
func Opener(kind string) process.Opener {
	return func(_ context.Context, name string, s process.Settings, _ *slog.Logger) (process.Service, error) {
		if err := os.MkdirAll(s.Data, 0o700); err != nil {
			return nil, err
		}
		return Open(kind, filepath.Join(s.Data, name))
	}
}

// Crowd is the consumers of a trial.
type Crowd struct {
	URLs []string // their own base URLs
	// API is that of the Tandem server that delivers to them, empty when there is none.
	API string
}

// Settle waits until every consumer had so many units, or Tandem has nothing left for them and so nothing more will come. It gives up
// when nothing has come for long (compare.Await); what is missing then is in the ledger.
func (c Crowd) Settle(ctx context.Context, units int) error {
	if c.API == "" {
		return nil // whoever called them has its answers
	}
	var idle time.Time // since when; zero while it is not
	return compare.Await(ctx, func(ctx context.Context) (left int, state string, err error) {
		for _, url := range c.URLs {
			var n int
			if err := get(ctx, url+"/count", &n); err != nil {
				return 0, "", err
			}
			left, state = left+max(units-n, 0), state+strconv.Itoa(n)+" "
		}
		quiet, err := c.quiet(ctx)
		// Idle once may be idle before what ack=accepted took is stored, and becomes a delivery.
		switch {
		case !quiet:
			idle = time.Time{}
		case idle.IsZero():
			idle = time.Now()
		case time.Since(idle) >= 500*time.Millisecond:
			left = 0
		}
		return left, state, err
	})
}

// quiet reports whether no subscription has anything left to deliver.
func (c Crowd) quiet(ctx context.Context) (bool, error) {
	api, err := client.New(c.API, client.Options{})
	if err != nil {
		return false, err
	}
	subs, err := api.Subscriptions(ctx)
	if err != nil {
		return false, tandem.Wrap("ask how far deliveries are", err)
	}
	for i := range subs {
		if s := subs[i].Status; s == nil || s.Lag > 0 || s.InFlight > 0 || s.Retrying > 0 || s.Waiting > 0 {
			return false, nil
		}
	}
	return true, nil
}

// Ledger asks every consumer what it took. A unit is done when all of them had it, at the time of the last.
func (c Crowd) Ledger(ctx context.Context) (map[string]compare.Work, error) {
	ledger, had := map[string]compare.Work{}, map[string]int{}
	for _, url := range c.URLs {
		var taken []Taken
		if err := get(ctx, url+"/taken", &taken); err != nil {
			return nil, err
		}
		for _, t := range taken {
			w := ledger[t.Unit]
			w.State, w.Twice = compare.Half, w.Twice || t.Times > 1
			if at := time.Unix(0, t.At); at.After(w.At) {
				w.At = at
			}
			if had[t.Unit]++; had[t.Unit] == len(c.URLs) {
				w.State = compare.Done
			}
			ledger[t.Unit] = w
		}
	}
	return ledger, nil
}

// get reads JSON from a consumer, which may be on its way back from a fault.
func get(ctx context.Context, url string, into any) (err error) {
	for range 50 {
		if err = getOnce(ctx, url, into); err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return tandem.Wrap("ask a consumer", err)
}

func getOnce(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
