package flow_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/flow"
)

// watched is an engine that tells of each read.
type watched struct {
	*memlog.Engine
	read func(from uint64)
}

func (w *watched) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	w.read(from)
	n := len(dst)
	dst, err := w.Engine.Read(ctx, id, part, from, max, maxBytes, dst)
	for i := range dst[n:] {
		dst[n+i].Data = bytes.Clone(dst[n+i].Data) // as an engine that keeps nothing in memory
	}
	return dst, err
}

// TestBuiltFromALargeLog: an index that is built anew reads no event that is older than it goes back, and never grows far beyond its size.
func TestBuiltFromALargeLog(t *testing.T) {
	var (
		f       *flow.Flows
		lowest  atomic.Uint64
		largest atomic.Int64
		now     atomic.Int64
	)
	lowest.Store(1 << 60)
	now.Store(time.Now().Add(-2 * time.Hour).UnixNano())
	engine := &watched{Engine: memlog.New(memlog.Options{}), read: func(from uint64) {
		lowest.Store(min(lowest.Load(), from))
		largest.Store(max(largest.Load(), f.Status(context.Background()).Bytes))
	}}
	log, err := eventlog.Open(t.Context(), engine, eventlog.Options{Now: func() time.Time { return time.Unix(0, now.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	put := func(first, n int) (offset uint64) {
		t.Helper()
		events := make([]tandem.Event, n)
		for i := range events {
			events[i] = tandem.Event{ID: fmt.Sprint(first + i), Source: "/s", Type: "t", Meta: tandem.Meta{Flow: tandem.NewID()}}
		}
		receipts, err := log.Append(t.Context(), "a", events)
		if err != nil {
			t.Fatal(err)
		}
		return receipts[0].Offset
	}
	const size = 64 << 10
	put(0, 10)
	now.Store(time.Now().Add(-time.Second).UnixNano())
	young := put(10, 1000)
	for i := range 9 {
		put(1010+i*1000, 1000)
	}
	now.Store(time.Now().UnixNano())
	last := tandem.NewID()
	if _, err := log.Append(t.Context(), "a", []tandem.Event{{ID: "last", Source: "/s", Type: "t", Meta: tandem.Meta{Flow: last}}}); err != nil {
		t.Fatal(err)
	}
	if f, err = flow.Open(log, flow.Options{Age: time.Hour, Bytes: size}); err != nil {
		t.Fatal(err)
	}
	defer f.Stop(context.Background())
	f.Start()
	for end := time.Now().Add(time.Minute); f.Status(t.Context()).Behind > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the index is behind after a minute")
		}
	}
	if got := lowest.Load(); got != young {
		t.Errorf("the first event that was read is %d, and that of the last hour %d", got, young)
	}
	const page = 1000 * 150 // of one page of events, at most
	if got := largest.Load(); got < size/2 || got > size+page {
		t.Errorf("the index grew to %d bytes, and may have %d", got, size)
	}
	if g, err := f.Get(t.Context(), last); err != nil || len(g.Nodes) != 1 || len(g.Missing) > 0 {
		t.Errorf("the last event: %+v, %v", g, err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// measuring is a ledger that knows nothing, and measures the heap when it is asked for a position.
type measuring struct {
	offset uint64
	heap   int64
}

func (*measuring) Explain(context.Context, tandem.Position, string) ([]tandem.Reason, error) {
	return nil, nil
}

func (*measuring) ExplainCalls(context.Context, string, string) ([]tandem.Reason, error) {
	return nil, nil
}

func (m *measuring) DeliveriesAt(_ context.Context, at tandem.Position) ([]tandem.Delivery, error) {
	if at.Offset == m.offset {
		m.heap = heap()
	}
	return nil, nil
}

func (m *measuring) FailedCalls(context.Context, time.Time, func(string) bool) ([]tandem.Delivery, bool, error) {
	return nil, true, nil
}

func (m *measuring) Called(*tandem.Record, string) bool { return false }

// TestLargeEvents: a graph does not hold the data of its events.
func TestLargeEvents(t *testing.T) {
	const n, size = 500, 64 << 10
	log, err := eventlog.Open(t.Context(), &watched{memlog.New(memlog.Options{}), func(uint64) {}}, eventlog.Options{AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ledger := &measuring{}
	f, err := flow.Open(log, flow.Options{Ledger: ledger})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop(context.Background())
	f.Start()
	id := tandem.NewID()
	for i := range n {
		receipts, err := log.Append(t.Context(), "a", []tandem.Event{{ID: fmt.Sprint(i), Source: "/s", Type: "t", Data: make([]byte, size), Encoding: tandem.DataBinary, Meta: tandem.Meta{Flow: id}}})
		if err != nil {
			t.Fatal(err)
		}
		ledger.offset = receipts[0].Offset
	}
	if _, err := f.Get(t.Context(), "none"); tandem.CodeOf(err) != tandem.CodeNotFound { // the index has them all
		t.Fatal(err)
	}
	before := heap()
	g, err := f.Get(t.Context(), id)
	if err != nil || len(g.Nodes) != n || g.Nodes[0].Event.DataBytes != size {
		t.Fatalf("%d nodes, %v", len(g.Nodes), err)
	}
	if got := ledger.heap - before; ledger.heap == 0 || got > n*size/4 {
		t.Errorf("the graph of %d bytes of data took %d", n*size, got)
	}
}

// TestRequestsOfAnySize: what is remembered of requests holds nothing more of what clients sent, and one trace leads to a bounded number.
func TestRequestsOfAnySize(t *testing.T) {
	w := newWorld(t, flow.Options{})
	trace := strings.Repeat("1", 32)
	before := heap()
	for range 4096 {
		line := "GET /" + strings.Repeat("x", 16<<10) + " HTTP/1.1" // as a server reads it
		w.flows.Note(flow.Request{Flow: tandem.NewID(), Began: time.Now(), FlowRequest: tandem.FlowRequest{Method: line[:3], Path: line[4 : len(line)-9], Route: "/", Status: 200, Trace: trace}})
	}
	if got := heap() - before; got > 16<<20 {
		t.Errorf("4,096 requests take %d bytes", got)
	}
	p, err := w.flows.List(t.Context(), tandem.FlowQuery{Trace: trace})
	if err != nil || len(p.Flows) != 100 {
		t.Errorf("a trace leads to %d flows: %v", len(p.Flows), err)
	}
}

// TestPageOfLargeFlows: a page of a list ends before it has looked at very many events, and the next one goes on there.
func TestPageOfLargeFlows(t *testing.T) {
	w := newWorld(t, flow.Options{})
	var flows []string
	for range 12 {
		flows = append(flows, tandem.NewID())
		events := make([]tandem.Event, 1000)
		for i := range events {
			events[i] = tandem.Event{ID: fmt.Sprint(len(flows), "/", i), Source: "/s", Type: "t", Meta: tandem.Meta{Flow: flows[len(flows)-1]}}
		}
		if _, err := w.log.Append(t.Context(), "a", events); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(flows) // of one millisecond, in any order
	q := tandem.FlowQuery{Type: "other"}
	p, err := w.flows.List(t.Context(), q)
	if err != nil || len(p.Flows) != 0 || p.Next != flows[2] {
		t.Errorf("%+v, %v: the next is not %s", p, err, flows[2])
	}
	q.After = p.Next
	if p, err = w.flows.List(t.Context(), q); err != nil || p.Next != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestStopInTime: a store that does not answer does not hold up a stop.
func TestStopInTime(t *testing.T) {
	reading, answer := make(chan bool, 1), make(chan bool)
	engine := &watched{Engine: memlog.New(memlog.Options{}), read: func(uint64) {
		select {
		case reading <- true:
		default:
		}
		<-answer
	}}
	log, err := eventlog.Open(t.Context(), engine, eventlog.Options{AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	defer close(answer)
	f, err := flow.Open(log, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.Start()
	if _, err := log.Append(t.Context(), "a", []tandem.Event{{ID: "1", Source: "/s", Type: "t"}}); err != nil {
		t.Fatal(err)
	}
	<-reading
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Stop(ctx); tandem.CodeOf(err) != tandem.CodeTimeout {
		t.Errorf("%v", err)
	}
}
