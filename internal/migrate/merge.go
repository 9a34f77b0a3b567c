package migrate

import (
	"container/heap"
	"context"

	"github.com/tandem-hybrid/tandem"
)

// The bounds of what is read ahead, for all partitions together.
const (
	aheadEvents = 1 << 16
	aheadBytes  = 32 << 20
)

// merge brings the events of the source: in the order of its numbers, or of acceptance, over all partitions, or partition by partition.
type merge struct {
	m     *Migration
	total bool    // the source has one sequence
	queue []*part // those that are to be read one after the other, or
	heap  []*part // in order of their heads

	events, bytes int // to read ahead of a partition
}

// newMerge reads from where the partitions stand.
func (m *Migration) newMerge(ctx context.Context) (*merge, error) {
	g := &merge{m: m, total: m.from.Info().TotalOrder}
	var all []*part
	for _, t := range m.topics {
		for _, p := range t.parts {
			p.buf, p.head, p.over = nil, 0, p.next >= p.old.End
			if !p.over {
				all = append(all, p)
			}
		}
	}
	active := 1
	if m.to.Info().TotalOrder {
		active = max(1, len(all))
	}
	g.events, g.bytes = max(1, min(m.opts.BatchEvents, aheadEvents/active)), aheadBytes/active
	if !m.to.Info().TotalOrder {
		g.queue = all
		return g, nil
	}
	for _, p := range all {
		if err := g.fill(ctx, p); err != nil {
			return nil, err
		}
		if !p.over {
			g.heap = append(g.heap, p)
		}
	}
	heap.Init(g)
	return g, nil
}

// next returns the next event and its partition, nil at the end. The record is valid until the next call.
func (g *merge) next(ctx context.Context) (*part, *tandem.Record, error) {
	if g.m.to.Info().TotalOrder {
		return g.least(ctx)
	}
	for len(g.queue) > 0 {
		p := g.queue[0]
		if p.head == len(p.buf) {
			if err := g.fill(ctx, p); err != nil {
				return nil, nil, err
			}
			if p.over {
				g.queue = g.queue[1:]
				continue
			}
		}
		p.head++
		return p, &p.buf[p.head-1], nil
	}
	return nil, nil, nil
}

func (g *merge) least(ctx context.Context) (*part, *tandem.Record, error) {
	for len(g.heap) > 0 {
		p := g.heap[0]
		if p.head < len(p.buf) {
			rec := p.buf[p.head]
			p.head++
			if p.head < len(p.buf) {
				heap.Fix(g, 0)
			} // else it is filled when it is asked for next, since nothing else may come before what follows
			return p, &rec, nil
		}
		if err := g.fill(ctx, p); err != nil {
			return nil, nil, err
		}
		if p.over {
			heap.Pop(g)
		} else {
			heap.Fix(g, 0)
		}
	}
	return nil, nil, nil
}

// fill reads ahead. What retention removed meanwhile is left out.
func (g *merge) fill(ctx context.Context, p *part) error {
	if p.head > 0 && len(p.buf) > 0 {
		p.next = p.buf[len(p.buf)-1].Position.Offset + 1
	}
	clear(p.buf)
	var err error
	p.buf, err = g.m.read(ctx, p.topic.from.ID, p.index, p.next, g.events, g.bytes, p.buf[:0])
	p.head = 0
	if err != nil {
		return err
	}
	if len(p.buf) == 0 {
		p.over, p.buf = true, nil
	}
	return nil
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (g *merge) Len() int { return len(g.heap) }

// Less compares heads: a part whose buffer is empty is never compared, since it is filled first.
func (g *merge) Less(i, j int) bool {
	a, b := &g.heap[i].buf[g.heap[i].head], &g.heap[j].buf[g.heap[j].head]
	if g.total {
		return a.Position.Offset < b.Position.Offset
	}
	if !a.Meta.Accepted.Equal(b.Meta.Accepted) {
		return a.Meta.Accepted.Before(b.Meta.Accepted)
	}
	return g.heap[i].topic.from.Name < g.heap[j].topic.from.Name
}

func (g *merge) Swap(i, j int) { g.heap[i], g.heap[j] = g.heap[j], g.heap[i] }

// Push is not used: all parts are there from the start.
func (g *merge) Push(x any) { g.heap = append(g.heap, x.(*part)) }

// Pop takes the last one.
func (g *merge) Pop() any {
	n := len(g.heap) - 1
	p := g.heap[n]
	g.heap = g.heap[:n]
	return p
}
