package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
	"github.com/tandem-hybrid/tandem/internal/compare/origin"
)

// atATime is how many changes are made at a time before the service is added: none of it is measured.
const atATime = 16

// later is the trial of a service that is added after some changes, which are the units of its cell, and wants all of them. What it never learns
// is lost for it.
func later(s style, before int) compare.Trial {
	return compare.Trial{Style: s.name, Params: s.params(1, before), Takes: 3 * time.Second,
		Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
			sys, err := start(ctx, env, s, 1, "egress: {allow: [\"127.0.0.1\"]}\n")
			if err != nil {
				return nil, err
			}
			if err := changes(ctx, env.Client, sys.Origin, before); err != nil {
				return nil, err
			}
			url, err := env.Launch(ctx, late, late, nil)
			if err != nil {
				return nil, err
			}
			crowd := consumer.Crowd{URLs: []string{"http://" + env.Group.Process(late).Addr}, API: sys.API}
			began, meter := time.Now(), env.Measure()
			if s.tell == origin.Publish {
				err = subscribe(ctx, sys.API, url)
			} else {
				err = call(ctx, sys, url)
			}
			if err != nil {
				return nil, err
			}
			// The next change is told of in every style; it is no unit of the cell.
			if told := change(ctx, env.Client, sys.Origin, "next", 0); told != compare.Accepted {
				return nil, tandem.Errorf(tandem.CodeUnavailable, "the change after the service was added was not accepted")
			}
			if err := crowd.Settle(ctx, before+1); err != nil {
				return nil, err
			}
			c := &compare.Cell{Took: time.Since(began), Load: compare.Load{Units: int64(before)}}
			meter.Stop(c, int64(before))
			return c, learned(ctx, c, crowd, began, before)
		}}
}

// learned puts into a cell what the service knows of the changes before it.
func learned(ctx context.Context, c *compare.Cell, crowd consumer.Crowd, began time.Time, before int) error {
	ledger, err := crowd.Ledger(ctx)
	if err != nil {
		return err
	}
	if ledger["next"].State != compare.Done {
		return tandem.Errorf(tandem.CodeConflict, "the service was not told of the change after it was added")
	}
	done := compare.NewHistogram()
	c.Outcome = compare.Outcome{Accepted: int64(before), Lost: new(int64), Twice: new(int64)}
	for i := range before {
		w := ledger[strconv.Itoa(i)]
		if w.State == compare.Done {
			done.Record(w.At.Sub(began))
		} else {
			*c.Outcome.Lost++
		}
		if w.Twice {
			*c.Outcome.Twice++
		}
	}
	c.Done = done.Latency()
	return nil
}

// changes makes changes 0 to n-1.
func changes(ctx context.Context, client *http.Client, base string, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	for i := range n {
		g.Go(func() error {
			if told := change(ctx, client, base, strconv.Itoa(i), i); told != compare.Accepted {
				return tandem.Errorf(tandem.CodeUnavailable, "change %d was not accepted", i)
			}
			return nil
		})
	}
	return g.Wait()
}

// subscribe adds the service to those that Tandem delivers to, from the beginning.
func subscribe(ctx context.Context, api, url string) error {
	c, err := client.New(api, client.Options{})
	if err != nil {
		return err
	}
	_, err = c.CreateSubscription(ctx, tandem.Subscription{Name: late, Topics: []string{origin.Topic}, URL: url + "/events", From: "earliest"})
	return err
}

// call adds the service to those that the owner calls: it has nothing to offer of what it told others before.
func call(ctx context.Context, sys *origin.System, url string) error {
	body, err := json.Marshal(append(slices.Clone(sys.To), url+"/events"))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, sys.Origin+"/to", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the owner was told of a service: %s", res.Status)
	}
	return nil
}
