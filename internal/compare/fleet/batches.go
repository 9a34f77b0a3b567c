package fleet

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// A gateway sends what it has gathered after Linger, or once it is BatchSize reports.
const (
	Linger    = 100 * time.Millisecond
	BatchSize = 500
)

// Batches returns a reporter whose vehicles report to one of some gateways, which publish batches of CloudEvents to http://addr + path. What a
// vehicle sends its gateway goes over no wire here. Report returns when the batch is stored.
func Batches(addr, path string, gateways int) Reporter {
	ctx, cancel := context.WithCancel(context.Background())
	b := &batches{path: path, run: tandem.NewID(), cancel: cancel, gateways: make([]chan gathered, gateways)}
	for i := range b.gateways {
		b.gateways[i] = make(chan gathered)
		g := &gateway{b: b, in: b.gateways[i]}
		b.running.Go(func() { g.gather(ctx) })
	}
	b.ctx, b.addr = ctx, addr
	return b
}

type batches struct {
	wire
	addr, path string
	run        string
	ctx        context.Context // of the gateways: done when they are gone
	cancel     context.CancelFunc
	gateways   []chan gathered
	running    sync.WaitGroup
}

// gathered is a report that waits at a gateway.
type gathered struct {
	event json.RawMessage
	done  chan error // has room for one
}

func (b *batches) Report(ctx context.Context, vehicle int, r Report) error {
	event, err := json.Marshal(struct {
		SpecVersion string `json:"specversion"`
		ID          string `json:"id"`
		Source      string `json:"source"`
		Type        string `json:"type"`
		Subject     string `json:"subject"`
		Data        Report `json:"data"`
	}{"1.0", b.run + "/" + r.Unit, "/gateways", "vehicle.position", Name(vehicle), r})
	if err != nil {
		return err
	}
	g := gathered{event, make(chan error, 1)}
	select {
	case b.gateways[vehicle%len(b.gateways)] <- g:
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-g.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *batches) Close() {
	b.cancel()
	b.running.Wait()
}

// gateway gathers reports, and sends one batch while it gathers the next: as many at a time as are due.
type gateway struct {
	b       *batches
	in      chan gathered
	sending sync.WaitGroup

	mu   sync.Mutex // guards what follows
	idle []*caller
}

func (g *gateway) gather(ctx context.Context) {
	defer func() {
		g.sending.Wait()
		for _, c := range g.idle {
			c.close()
		}
	}()
	for {
		batch := make([]gathered, 0, BatchSize)
		var due <-chan time.Time // set by the first report of a batch
		for full := false; !full; {
			select {
			case r := <-g.in:
				if batch = append(batch, r); due == nil {
					due = time.After(Linger)
				}
				full = len(batch) == BatchSize
			case <-due:
				full = true
			case <-ctx.Done():
				for _, r := range batch {
					r.done <- ctx.Err()
				}
				return
			}
		}
		g.sending.Go(func() {
			err := g.send(ctx, batch)
			for _, r := range batch {
				r.done <- err
			}
		})
	}
}

func (g *gateway) send(ctx context.Context, batch []gathered) error {
	events := make([]json.RawMessage, len(batch))
	for i, r := range batch {
		events[i] = r.event
	}
	body, err := json.Marshal(events)
	if err != nil {
		return err
	}
	g.mu.Lock()
	c := &caller{addr: g.b.addr, wire: &g.b.wire}
	if n := len(g.idle); n > 0 {
		c, g.idle = g.idle[n-1], g.idle[:n-1]
	}
	g.mu.Unlock()
	err = c.post(ctx, g.b.path, tandem.MediaBatch, body)
	g.mu.Lock()
	g.idle = append(g.idle, c)
	g.mu.Unlock()
	return err
}
