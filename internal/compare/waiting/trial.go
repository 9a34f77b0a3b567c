package waiting

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/kitchen"
	"github.com/tandem-hybrid/tandem/examples/kitchen/cook"
	"github.com/tandem-hybrid/tandem/examples/kitchen/wait"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Names in the kitchen's configuration.
const (
	kitchenName = "kitchen" // the service, and its subscription
	boardName   = "board"
	boardURL    = "http://127.0.0.1:9021"
	cooks       = 1000 // concurrency of the kitchen's subscription
)

const (
	placers  = 64               // orders that are placed at the same time
	patience = time.Minute      // for all to wait, and again for the last to know after it could have
	hold     = 30 * time.Second // of a long poll
	// A single waiter waits again and again, so that there is a distribution: at least so often.
	leastTimes = 5
	singleDish = time.Second
	enough     = 0.95 // of the polls that are due must begin
)

// trial is one way with so many who wait.
type trial struct {
	name    string
	waiting int
	lasts   time.Duration // over which notices are spread

	env   *compare.Env
	line  *wait.Line
	board *wait.Board
	way   wait.Way
	base  string // of the public listener
	api   *client.Client
	place chan struct{} // has one for each order that is being placed
}

// run measures one cell. What it returns beside an error is nil.
func (t trial) run(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
	t.env, t.line, t.place = env, &wait.Line{}, make(chan struct{}, placers)
	stop, err := t.start(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	c := &compare.Cell{MustBeUp: []string{compare.Tandem, kitchenName}}
	delays := compare.NewHistogram()
	began, meter := time.Now(), env.Measure()
	var knew, total int
	if t.waiting == 1 {
		knew, total, err = t.again(ctx, delays)
	} else {
		total = t.waiting
		knew, c.NotReachable, err = t.together(ctx, delays)
	}
	if err != nil {
		return nil, err
	}
	c.Took = time.Since(began)
	if c.NotReachable != "" {
		if polls := notKept(t.line, c.Took); polls != "" {
			c.NotReachable += ": " + polls
		}
		return c, nil
	}
	meter.Stop(c, int64(total))
	c.Outcome = compare.Outcome{Accepted: int64(total), Lost: new(int64(total - knew))}
	c.Load.Units = int64(total) // no rate: they are ready as the kitchen cooks
	if t.name == nobody {
		c.PerUnit.Requests, c.PerUnit.WireBytes = nil, nil
		return c, nil
	}
	// What the services say to each other is the same in all cells. What counts is what waiting puts on the wire.
	per := func(n int64) *float64 { f := float64(n) / float64(total); return &f }
	c.PerUnit.Requests, c.PerUnit.WireBytes = per(t.line.Requests.Load()), per(t.line.Bytes.Load())
	if t.board != nil {
		c.Outcome.Twice = new(t.board.Repeats())
	}
	if c.NotReachable = notKept(t.line, c.Took); c.NotReachable == "" {
		c.Answered = delays.Latency()
	}
	return c, nil
}

// notKept says that not enough of the polls that were due began, or nothing.
func notKept(line *wait.Line, took time.Duration) string {
	due, begun := float64(line.Due.Load()), float64(line.Begun.Load())
	if begun >= enough*due {
		return ""
	}
	return fmt.Sprintf("%.0f polls a second were due, and this machine, which is client and server, came to %.0f", due/took.Seconds(), begun/took.Seconds())
}

// start starts the kitchen, and opens the board if that is what they look at. stop closes it.
func (t *trial) start(ctx context.Context) (stop func(), err error) {
	stop = func() {}
	config := kitchen.Config
	switch every := interval(t.name); {
	case every > 0:
		t.way = wait.Poll{Line: t.line, Every: every, ETag: t.name == pollETag}
	case t.name == longPoll:
		t.way = wait.LongPoll{Line: t.line, Hold: hold}
	case t.name == sse:
		t.way = wait.SSE{Line: t.line}
	case t.name == webSocket:
		t.way = wait.WebSocket{Line: t.line}
	case t.name == webhook:
		t.board = wait.NewBoard(t.line)
		t.way = t.board
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return stop, tandem.Wrap("open the board", err)
		}
		srv := &http.Server{Handler: t.board, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = srv.Serve(t.line.Count(l)) }() // until it is closed
		stop = func() { _ = srv.Close() }
		// Straight to the board: a proxy in between would take its time from this way alone.
		config = bytes.Replace(config, []byte(boardURL), []byte("http://"+l.Addr().String()), 1)
	}
	system, err := t.env.Start(ctx, process.Plan{Config: config, Services: []string{kitchenName}})
	if err != nil {
		return stop, err
	}
	t.base, t.line.Addr = system.Public, strings.TrimPrefix(system.Public, "http://")
	if t.api, err = client.New(system.API, client.Options{}); err != nil {
		return stop, err
	}
	if t.name == nobody {
		t.way = &control{api: t.api}
	}
	if t.board == nil {
		_, err = t.api.Pause(ctx, boardName) // nobody looks at it
	}
	return stop, err
}

// together lets all wait at the same time, while nothing is cooked, and lets the cooks begin then. notReachable says why they could not.
func (t *trial) together(ctx context.Context, delays *compare.Histogram) (knew int, notReachable string, err error) {
	if _, err := t.api.Pause(ctx, kitchenName); err != nil {
		return 0, "", err
	}
	// So many are cooked at the same time: of more orders each takes shorter, so that the last is ready when lasts is over.
	dish := t.lasts
	if t.waiting > cooks {
		dish = t.lasts * 2 * cooks / time.Duration(t.waiting)
	}
	waits, cancel := context.WithCancel(ctx)
	defer cancel()
	var placed, all sync.WaitGroup
	var mu sync.Mutex // guards knew and err
	placed.Add(t.waiting)
	for i := range t.waiting {
		all.Go(func() {
			done := sync.OnceFunc(placed.Done)
			defer done()
			n, werr := t.wait(waits, i, dish, done)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case werr == nil:
				knew++
				delays.Record(n.Known.Sub(n.Ready))
			case waits.Err() == nil && err == nil:
				err = werr
				cancel() // the cell means nothing
			}
		})
	}
	waiting := make(chan struct{})
	go func() { placed.Wait(); close(waiting) }()
	select {
	case <-waiting:
		if _, rerr := t.api.Resume(waits, kitchenName); rerr != nil {
			cancel()
			all.Wait()
			return 0, "", errors.Join(err, rerr)
		}
	case <-time.After(patience):
		notReachable = fmt.Sprintf("not all %d could be made to wait within %s, and %d connections failed", t.waiting, patience, t.line.Broken.Load())
		cancel()
	case <-ctx.Done():
	}
	late := time.AfterFunc(t.lasts+interval(t.name)+patience, cancel) // who does not know by then never will
	defer late.Stop()
	all.Wait()
	return knew, notReachable, errors.Join(err, context.Cause(ctx))
}

// again lets one wait again and again.
func (t *trial) again(ctx context.Context, delays *compare.Histogram) (knew, times int, err error) {
	for began := time.Now(); times < leastTimes || time.Since(began) < t.lasts; times++ {
		once, cancel := context.WithTimeout(ctx, singleDish+interval(t.name)+patience)
		n, err := t.wait(once, times, singleDish, func() {})
		late := once.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return knew, times, context.Cause(ctx)
		case err == nil:
			knew++
			delays.Record(n.Known.Sub(n.Ready))
		case !late:
			return knew, times, err
		}
	}
	return knew, times, nil
}

// wait orders a dish and waits for it. placed is called when it is ordered.
func (t *trial) wait(ctx context.Context, i int, dish time.Duration, placed func()) (wait.Notice, error) {
	order := fmt.Sprintf("%d-%d", t.env.Seed, i)
	return t.way.Wait(ctx, order, func(ctx context.Context) (string, error) {
		t.place <- struct{}{}
		operation, err := t.put(ctx, order, dish)
		<-t.place
		placed()
		return operation, err
	})
}

// put places an order, and returns the path of its operation.
func (t *trial) put(ctx context.Context, order string, dish time.Duration) (string, error) {
	body, err := json.Marshal(cook.Order{Dish: "soup", Within: dish.String()})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, "PUT", t.base+"/orders/"+order, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := t.env.Client.Do(req)
	if err != nil {
		return "", tandem.Wrap("place order "+order, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("answered %s: %s", res.Status, answer)
	}
	return res.Header.Get("Location"), tandem.Wrap("place order "+order, err)
}
