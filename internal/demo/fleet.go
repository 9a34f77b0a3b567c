package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/fleet"
	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Fleet is the running demo of examples/fleet: the server, the page's service, and the vehicles.
type Fleet struct {
	*system
	o      FleetOptions
	tracks []vehicle.Track
	total  int // positions of the tracks
	sent   *sent

	began, ended   time.Time
	stored         *tally // read from the log at the end
	page, slowPage *tally // what two readers of the map's stream see, the second of which is too slow
}

// RunFleet starts the fleet and lets vehicles send their positions: with Once until all are stored and seen, otherwise lap after lap until ctx
// is done, which is then no error. It returns after all that it started is gone. The summary is valid beside an error as far
// as the run came.
//
// Codes: NotFound and Invalid for the file of positions; Unavailable when something could not be started; Conflict when, with Once, what was
// stored or seen is not what was sent: the summary says where.
func RunFleet(ctx context.Context, o FleetOptions) (sum FleetSummary, err error) {
	if err := o.check(); err != nil {
		return sum, err
	}
	o = o.withDefaults()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // as in Run
	defer stop()
	tracks, err := o.tracks()
	if err != nil {
		return sum, err
	}
	dir, err := prepare(o.Data)
	if err != nil {
		return sum, tandem.Wrap("make a directory for the demo", err)
	}
	if o.Data == "" {
		defer func() { _ = os.RemoveAll(dir) }() // what cannot be removed is left to the system
	}
	began := time.Now()
	s, err := startSystem(ctx, dir, o.Command, process.Plan{Config: fleet.Config, Services: fleet.Services(), Public: o.Public, API: o.API})
	if err != nil {
		return sum, err
	}
	defer s.stop()
	f := newFleet(s, o, tracks)
	f.announce(dir, time.Since(began))

	if o.Once {
		err = f.once(ctx)
	} else if err = f.forever(ctx); errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how it ends
	}
	sum = f.summary()
	switch {
	case o.Once && err != nil && ctx.Err() != nil:
		err = fmt.Errorf("broken off when %d of %d positions had a receipt: %w", sum.Receipts, sum.Positions, context.Cause(ctx))
	case o.Once && err == nil && !sum.OK:
		err = tandem.Errorf(tandem.CodeConflict, "%d of %d positions have a receipt, and the counts disagree in %d places",
			sum.Receipts, sum.Positions, len(sum.Disagreements))
	}
	return sum, err
}

func newFleet(s *system, o FleetOptions, tracks []vehicle.Track) *Fleet {
	return &Fleet{system: s, o: o, tracks: tracks, total: vehicle.Count(tracks), sent: newSent(),
		stored: newTally(tracks, true), page: newTally(tracks, true), slowPage: newTally(tracks, false)}
}

// WaitStored waits until so many positions have a receipt. It returns an error when the run ends before.
func (f *Fleet) WaitStored(n int) error { return f.sent.wait(n) }

// once sends every position once, and looks at what came of it.
func (f *Fleet) once(ctx context.Context) error {
	f.began = time.Now()
	defer func() {
		if f.ended.IsZero() {
			f.ended = time.Now()
		}
	}()
	// From here on every position is counted.
	start, err := f.latest(ctx)
	if err != nil {
		return err
	}
	readers, stopReaders := context.WithCancel(ctx)
	defer stopReaders()
	g, ctx := errgroup.WithContext(readers)
	begun, hurry := make(chan struct{}, 2), make(chan struct{})
	g.Go(func() error {
		return f.follow(ctx, follower{slow: "catchup", tally: f.page, begun: begun})
	})
	g.Go(func() error {
		return f.follow(ctx, follower{tally: f.slowPage, begun: begun, hurry: hurry})
	})
	for range cap(begun) {
		select {
		case <-begun:
		case <-ctx.Done():
			return g.Wait()
		}
	}
	f.began = time.Now()
	controlled := make(chan struct{})
	g.Go(func() error {
		defer close(controlled)
		if f.o.Control == nil {
			return nil
		}
		return f.o.Control(f)
	})
	g.Go(func() error {
		defer f.sent.close()
		f.draw()
		if err := f.drive(ctx, tandem.NewID()); err != nil {
			return err
		}
		f.ended = time.Now()
		close(hurry)
		select {
		case <-controlled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for _, t := range []*tally{f.page, f.slowPage} {
			if err := t.await(ctx, f.o.Patience); err != nil {
				return err
			}
		}
		err := f.readStored(ctx, start)
		stopReaders()
		return err
	})
	return g.Wait()
}

// latest returns the cursor of the end of the map's stream.
func (f *Fleet) latest(ctx context.Context) (string, error) {
	var page struct{ Cursor string }
	if err := getJSON(ctx, f.Public+"/positions", &page); err != nil {
		return "", tandem.Wrap("read the stream of positions", err)
	}
	return page.Cursor, nil
}

// drive lets all vehicles go over their tracks once.
func (f *Fleet) drive(ctx context.Context, trip string) error {
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	var when func(vehicle.Position) time.Time
	if f.o.Speed > 0 {
		when = func(p vehicle.Position) time.Time {
			return began.Add(time.Duration(float64(p.At()) / f.o.Speed))
		}
	}
	for _, t := range f.tracks {
		v := vehicle.Vehicle{Addr: strings.TrimPrefix(f.Public, "http://"), Trip: trip, Track: t, When: when, Stored: f.sent.stored, Again: f.sent.again}
		g.Go(func() error { return v.Drive(ctx) })
	}
	return g.Wait()
}

// forever lets the vehicles go over their tracks again and again, and says now and then how it goes.
func (f *Fleet) forever(ctx context.Context) error {
	f.began = time.Now()
	defer func() { f.ended = time.Now() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	if f.o.Control != nil {
		g.Go(func() error { return f.o.Control(f) })
	}
	g.Go(func() error {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for last := 0; ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			n := f.sent.count()
			fmt.Fprintf(f.o.Out, "%s  %d positions stored, %d in the last five seconds\n", time.Now().Format("15:04:05"), n, n-last)
			last = n
		}
	})
	g.Go(func() error {
		defer f.sent.close()
		for {
			if err := f.drive(ctx, tandem.NewID()); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// readStored reads from the log, over the API, what was stored behind a cursor.
func (f *Fleet) readStored(ctx context.Context, from string) error {
	c, err := client.New(f.API, client.Options{Retries: 20})
	if err != nil {
		return err
	}
	q := client.Query{Topics: []string{"positions"}, Start: tandem.Start{Cursor: tandem.Cursor(from)}, Limit: 1000}
	for {
		page, err := c.Read(ctx, q)
		switch {
		case err != nil:
			return tandem.Wrap("read the topic positions", err)
		case page.Gap != nil:
			return tandem.Errorf(tandem.CodeConflict, "positions are missing: %s", page.Gap.Reason)
		case len(page.Events) == 0:
			return nil
		}
		q.Start.Cursor = page.Cursor
		for i := range page.Events {
			f.stored.take(page.Events[i].Subject, page.Events[i].Data)
		}
	}
}

// draw shows the progress on a terminal.
func (f *Fleet) draw() {
	if f.o.Bar == nil {
		return
	}
	bar := progressbar.NewOptions(f.total, progressbar.OptionSetWriter(f.o.Bar), progressbar.OptionSetDescription("positions that are stored"),
		progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())
	f.sent.onProgress = func(n int) { _ = bar.Set(n) } // a terminal that is gone: nobody to tell
}

// announce prints what runs where.
func (f *Fleet) announce(dir string, took time.Duration) {
	p := func(format string, args ...any) { fmt.Fprintf(f.o.Out, format+"\n", args...) }
	p("The fleet is out (started in %d ms, data in %s).", took.Milliseconds(), dir)
	p("")
	p("  map           %s/", f.Public)
	p("  console       %s/", f.API)
	p("  API           %s/v1/streams", f.API)
	f.list(f.o.Out)
	p("")
	p("  vehicles      %d, %d positions within %s", len(f.tracks), f.total, vehicle.Duration(f.tracks).Round(time.Second))
	p("")
	if !f.o.Once {
		p("Kill any of these with kill -9: it comes back, and no position is lost. Ctrl-C ends everything.")
		p("")
	}
}
