package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
	"github.com/tandem-hybrid/tandem/examples/shop/invoices"
	"github.com/tandem-hybrid/tandem/examples/shop/payments"
)

// Run starts the shop and lets customers order: with Once until every invoice's order has ended, otherwise until ctx is
// done, which is then no error. It returns after all that it started is gone. The Summary is valid beside an error as far
// as the run came.
//
// Codes: NotFound and Invalid for the file of orders; Unavailable when something could not be started; Conflict when, with
// Once, orders have not ended or the books do not agree: Summary says which.
func Run(ctx context.Context, o Options) (sum Summary, err error) {
	if err := o.check(); err != nil {
		return sum, err
	}
	o = o.withDefaults()
	// A terminal that is closed ends the demo as Ctrl-C does, and leaves no temporary directory.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	list, err := invoices.Load(o.Orders)
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
	s, err := startShop(ctx, dir, o)
	if err != nil {
		return sum, err
	}
	defer s.stop()
	r := &run{o: o, shop: s, list: list, progress: newProgress(o.Once)}
	s.progress = r.progress
	r.crowd = newCrowd(s.Public, o.Customers, r.progress)
	defer r.crowd.close()
	s.announce(o, dir, time.Since(began))

	err = r.do(ctx)
	sum = r.summary()
	if err != nil && o.Once && ctx.Err() != nil {
		err = fmt.Errorf("broken off when %d of %d orders were placed, and %d had ended: %w",
			sum.Orders, len(list)*o.Repeat, sum.Ended, context.Cause(ctx))
	}
	if err == nil && o.Once && !sum.OK {
		err = tandem.Errorf(tandem.CodeConflict, "%d of %d orders have ended, and the books disagree in %d places",
			sum.Ended, sum.Orders, len(sum.Disagreements))
	}
	return sum, err
}

// prepare makes the directory, which children need as an absolute path.
func prepare(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "tandem-demo-")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// run is one run of the demo.
type run struct {
	o        Options
	shop     *Shop
	list     []*invoices.Invoice
	progress *progress
	crowd    *crowd

	began    time.Time
	took     time.Duration
	before   books // when nobody had ordered yet: with Data given, of earlier runs
	books    books
	subs     map[string]tandem.SubscriptionStatus
	wrong    []string
	invoices map[string]*invoices.Invoice // by order
}

func (r *run) do(ctx context.Context) error {
	c, err := client.New(r.shop.API, client.Options{Retries: 20})
	if err != nil {
		return err
	}
	// From here on every event is counted.
	start, err := c.Read(ctx, client.Query{Topics: []string{"orders"}, Limit: 1})
	if err != nil {
		return tandem.Wrap("read the topic orders", err)
	}
	if r.before, err = r.shop.readBooks(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.watch(ctx, start.Cursor) })
	controlled := make(chan struct{})
	if r.o.Control != nil {
		g.Go(func() error { defer close(controlled); return r.o.Control(r.shop) })
	} else {
		close(controlled)
	}
	g.Go(func() error {
		defer cancel()
		defer r.progress.close()
		r.began = time.Now()
		defer func() { r.took = time.Since(r.began) }()
		if err := r.crowd.logIn(ctx, r.list); err != nil {
			return err
		}
		r.began = time.Now()
		if !r.o.Once {
			return r.forever(ctx)
		}
		if err := r.place(ctx); err != nil {
			return err
		}
		select {
		case <-controlled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.await(ctx)
		r.took = time.Since(r.began)
		return r.settle(ctx)
	})
	err = g.Wait()
	if !r.o.Once && errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how it ends
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		r.books, _ = r.shop.readBooks(last) // only to be shown
		r.subs, _ = r.shop.subscriptions(last)
	}
	return err
}

// watch follows the topic, over restarts of the server, until the run is over.
func (r *run) watch(ctx context.Context, from tandem.Cursor) error {
	// Its own pace, on loopback, instead of the client's: what is measured here must not wait for a backoff.
	c, err := client.New(r.shop.API, client.Options{Retries: -1})
	if err != nil {
		return err
	}
	q := client.Query{Topics: []string{"orders"}, Start: tandem.Start{Cursor: from}, Limit: 500, Wait: 10 * time.Second}
	for ctx.Err() == nil {
		page, err := c.Read(ctx, q)
		switch code := tandem.CodeOf(err); {
		case ctx.Err() != nil:
			continue
		case code == tandem.CodeUnavailable, code == tandem.CodeTimeout, code == tandem.CodeOverloaded:
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		case err != nil:
			return tandem.Wrap("follow the orders", err)
		case page.Gap != nil:
			return tandem.Errorf(tandem.CodeConflict, "events are missing: %s", page.Gap.Reason)
		}
		q.Start.Cursor = page.Cursor
		for i := range page.Events {
			r.progress.event(page.Events[i].Subject, page.Events[i].Type)
		}
	}
	return nil
}

// place orders every invoice, some customers at the same time.
func (r *run) place(ctx context.Context) error {
	total := len(r.list) * r.o.Repeat
	r.draw(total)
	type placed struct {
		id string
		v  *invoices.Invoice
	}
	all := make(chan placed, total)
	id := tandem.NewID() // of the run: another run's orders are others
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range r.o.Customers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= total {
					return nil
				}
				v := r.list[i%len(r.list)]
				order, err := r.crowd.order(ctx, v, reference(v, i/len(r.list)), fmt.Sprintf("%s-%d", id, i))
				if err != nil {
					return err
				}
				all <- placed{order.ID, v}
			}
		})
	}
	err := g.Wait()
	close(all)
	r.invoices = make(map[string]*invoices.Invoice, total)
	for p := range all {
		r.invoices[p.id] = p.v
	}
	return err
}

// reference is what the customer calls the order: the number of the invoice, and which time it is ordered.
func reference(v *invoices.Invoice, round int) string {
	if round == 0 {
		return v.Number
	}
	return fmt.Sprintf("%s/%d", v.Number, round+1)
}

// draw shows the progress on a terminal.
func (r *run) draw(total int) {
	if r.o.Bar == nil {
		return
	}
	bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(r.o.Bar), progressbar.OptionSetDescription("orders that have ended"),
		progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	r.progress.onProgress = func(_, ended int) { _ = bar.Set(ended) } // a terminal that is gone: nobody to tell
}

// await waits until all orders have ended, or nothing has happened for too long.
func (r *run) await(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		open := r.progress.unended()
		if len(open) == 0 {
			return
		}
		r.progress.mu.Lock()
		idle := time.Since(r.progress.lastEvent)
		r.progress.mu.Unlock()
		if idle > r.o.Patience {
			return
		}
		// An order whose event was refused for good ends without an event: only the shop can tell.
		if idle > 2*time.Second && n%8 == 0 {
			for _, id := range open[:min(len(open), 50)] {
				if o, err := r.crowd.look(ctx, r.invoices[id].Customer, id); err == nil && o.Status == "failed" {
					r.progress.failed(id)
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settle waits for the deliveries that no order waits for, and compares the books.
func (r *run) settle(ctx context.Context) error {
	r.progress.mu.Lock()
	outcomes := maps.Clone(r.progress.outcomes)
	r.progress.mu.Unlock()
	deadline := time.Now().Add(r.o.Patience)
	for {
		b, err := r.shop.readBooks(ctx)
		if err == nil {
			r.subs, err = r.shop.subscriptions(ctx)
		}
		if err == nil {
			r.books, r.wrong = b, slices.Concat(b.compare(), b.account(&r.before, r.invoices, outcomes), unquiet(r.subs))
			if len(r.wrong) == 0 {
				break
			}
		}
		if time.Now().After(deadline) {
			if err != nil {
				return err
			}
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return r.verify(ctx)
}

// verify asks the shop, over the public listener, for every order: it is what the customer ordered, and has ended as the
// events said.
func (r *run) verify(ctx context.Context) error {
	r.progress.mu.Lock()
	outcomes, steps := maps.Clone(r.progress.outcomes), maps.Clone(r.progress.steps)
	r.progress.mu.Unlock()
	for id, v := range r.invoices {
		o, err := r.crowd.look(ctx, v.Customer, id)
		if err != nil {
			return tandem.Wrap("look at order "+id, err)
		}
		switch {
		case outcomes[id] == "":
			r.wrong = append(r.wrong, fmt.Sprintf("order %s (%s) has not ended: it is %s", id, v.Number, o.Status))
		case o.Status != outcomes[id]:
			r.wrong = append(r.wrong, fmt.Sprintf("order %s (%s) is %s, its events say %s", id, v.Number, o.Status, outcomes[id]))
		case o.TotalPence != v.Total():
			r.wrong = append(r.wrong, fmt.Sprintf("order %s (%s) is over %d pence, the invoice over %d", id, v.Number, o.TotalPence, v.Total()))
		}
	}
	for id, v := range r.invoices {
		if outcomes[id] != "" && outcomes[id] != "failed" && !slices.Contains(ways, steps[id]) {
			r.wrong = append(r.wrong, fmt.Sprintf("order %s (%s) went%s", id, v.Number, steps[id]))
		}
	}
	return nil
}

// ways are the events of an order that has ended, in order, each once: however often something was delivered.
var ways = []string{
	" order.placed stock.reserved payment.processed order.confirmed",
	" order.placed stock.short order.cancelled",
	" order.placed stock.reserved payment.declined stock.released order.cancelled",
	" order.placed stock.returned payment.credited order.returned",
}

// forever lets some customers order one invoice after another, at leisure.
func (r *run) forever(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	id := tandem.NewID()
	var next atomic.Int64
	for range r.o.Customers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				v := r.list[i%len(r.list)]
				o, err := r.crowd.order(ctx, v, reference(v, i/len(r.list)), fmt.Sprintf("%s-%d", id, i))
				if err != nil {
					return err
				}
				fmt.Fprintf(r.o.Out, "%s  %-8s orders %-12s £%d.%02d\n", time.Now().Format("15:04:05"), v.Customer,
					reference(v, i/len(r.list)), o.TotalPence/100, o.TotalPence%100)
				select {
				case <-time.After(r.o.Pause):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		})
	}
	return g.Wait()
}

// announce prints what runs where.
func (s *Shop) announce(o Options, dir string, took time.Duration) {
	p := func(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }
	p("The shop is open (started in %d ms, data in %s).", took.Milliseconds(), dir)
	p("")
	p("  storefront    %s/", s.Public)
	p("  console       %s/", s.API)
	p("  API           %s/v1/topics", s.API)
	s.list(o.Out)
	p("")
	p("  stock         %s", inventory.Rule{Seed: o.Seed})
	p("  payments      %s", payments.Rule{Seed: o.Seed})
	p("")
	if !o.Once {
		p("Kill any of these with kill -9: it comes back, and no order is lost. Ctrl-C ends everything.")
		p("")
	}
}
