package server_test

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchstream"
)

// raceDetector says whether this is built with -race, which takes several times the memory.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// What a server may need for streams, beside what it needed before they were there, however far their clients are behind: a
// share for all that is waiting to be taken, and so much for each. RSS is given more, since the log's memory grows as well. A server
// that held for each slow client what it is behind would need 10 GiB at full length.
const (
	heapForAll  = 96 << 20
	rssForAll   = 192 << 20
	bytesForOne = 24 << 10
)

// TestStreamsAtLength: 1,000 clients of server-sent events and as many of WebSocket follow one topic, a tenth of them slowly. None
// misses an event or has one twice, also when the server is stopped and started again under them; the server's memory
// stays in bounds, and the publisher is refused nothing. With TANDEM_SOAK 10,000 of each.
func TestStreamsAtLength(t *testing.T) { streamsAtLength(t, false, true) }

// fleet is clients of one or two kinds.
type fleet struct {
	t     *testing.T
	loads []*benchstream.Clients
	n     int // clients altogether
}

// each calls fn with every load and adds up what is reported.
func (f *fleet) each(fn func(*benchstream.Clients) (benchstream.Report, error)) (sum benchstream.Report) {
	f.t.Helper()
	for _, load := range f.loads {
		r, err := fn(load)
		if err != nil {
			f.t.Fatal(err)
		}
		sum.Open += r.Open
		sum.Events += r.Events
		sum.Missing += r.Missing
		sum.Repeated += r.Repeated
		sum.Gaps += r.Gaps
		sum.Ended += r.Ended
		sum.Advised += r.Advised
		sum.Refused += r.Refused
		sum.Failed += r.Failed
		sum.Again = append(sum.Again, r.Again...)
		sum.Least = max(sum.Least, r.Least)
	}
	return sum
}

func (f *fleet) report() benchstream.Report { return f.each((*benchstream.Clients).Report) }

func streamsAtLength(t *testing.T, webSockets ...bool) {
	each := sized(1000, 10_000)
	each = min(each, mostStreams/len(webSockets), (benchstream.Files(2*each)-500)/len(webSockets))
	events := sized(400, 1000)
	batches, pace := sized(20, 50), time.Duration(sized(20, 500))*time.Millisecond
	s := startLoaded(t)
	p := &publisher{url: "http://" + s.opts.API}
	alone := p.many(t, 2000)
	p50, p99 := p.answers(t, batches, pace)
	before := s.usage()

	f := &fleet{t: t, n: each * len(webSockets)}
	for _, webSocket := range webSockets {
		f.loads = append(f.loads, connectClients(t, benchstream.Options{Addr: s.opts.API, Path: loadPath, N: each, WebSocket: webSocket,
			Verify: true, First: p.seq, Latency: true, Slow: each / 10, SlowBytes: 10_000, Resume: true}))
	}
	p50Beside, p99Beside := p.answers(t, batches, pace)
	beside := p.many(t, events)
	f.each(func(c *benchstream.Clients) (benchstream.Report, error) { return c.Await(p.seq, longer) })
	during := s.usage()
	t.Logf("%d clients: %.0f events/s published beside them, %.0f before; heap %d MiB, before %d; RSS %d MiB, before %d", f.n, beside, alone,
		during.Heap>>20, before.Heap>>20, during.RSS>>20, before.RSS>>20)
	t.Logf("a batch of %d every %s is answered after %s, p99 %s, beside them, %s, p99 %s, before", loadBatch, pace, p50Beside, p99Beside, p50, p99)
	events += batches * loadBatch
	if grown, bound := int(during.Heap)-int(before.Heap), heapForAll+bytesForOne*f.n; grown > bound {
		t.Errorf("the heap grew by %d KiB, more than %d", grown>>10, bound>>10)
	}
	if grown, bound := int(during.RSS-before.RSS), rssForAll+bytesForOne*f.n; grown > bound && !raceDetector() {
		t.Errorf("the resident memory grew by %d KiB, more than %d", grown>>10, bound>>10)
	}
	if p.refused > 0 {
		t.Errorf("%d of %d requests were refused", p.refused, p.requests)
	}
	f.each(func(c *benchstream.Clients) (benchstream.Report, error) {
		return benchstream.Report{}, c.Hurry()
	})
	f.each(func(c *benchstream.Clients) (benchstream.Report, error) { return c.AwaitAll(p.seq, longer) })
	if r := f.report(); r.Open != f.n || r.Events != uint64(f.n*events) || r.Missing+r.Repeated+r.Gaps+r.Ended+r.Failed+r.Refused != 0 {
		t.Errorf("before the restart: %s", summary(r))
	}
	f.restart(s, p)
}

// restart stops the server and starts it again while events are published.
func (f *fleet) restart(s *loaded, p *publisher) {
	t := f.t
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if p.batch(1, benchstream.Monotonic()) != nil { // the same ids again, until they are stored
				time.Sleep(10 * time.Millisecond) // a back-off
			}
			time.Sleep(5 * time.Millisecond) // a rate
		}
	}()
	begin := time.Now()
	s.terminate()
	stopped := time.Since(begin)
	s.start()
	f.each(func(c *benchstream.Clients) (benchstream.Report, error) { return c.Opened(patience) })
	close(stop)
	<-done
	p.many(t, loadBatch)
	f.each(func(c *benchstream.Clients) (benchstream.Report, error) { return c.AwaitAll(p.seq, longer) })
	r := f.report()
	t.Logf("stopped in %s, started after %s: %s", stopped.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond), summary(r))
	if r.Open != f.n || r.Missing+r.Repeated+r.Gaps != 0 {
		t.Errorf("not everybody has everything once: %s", summary(r))
	}
	if r.Ended != uint64(f.n) || r.Advised != r.Ended {
		t.Errorf("%d of %d connections ended, %d with advice when to come back", r.Ended, f.n, r.Advised)
	}
	if err := spreadOut(r.Again); err != nil {
		t.Error(err)
	}
}

// spreadOut says whether no tenth of the time in which clients came back has more than a quarter of them.
func spreadOut(ms []int) error {
	slices.Sort(ms)
	if len(ms) == 0 {
		return errors.New("nobody came back")
	}
	first, window := ms[0], ms[len(ms)-1]-ms[0]+1
	if window < 500 {
		return errors.New("all came back within half a second")
	}
	var tenths [10]int
	for _, at := range ms {
		tenths[(at-first)*10/window]++
	}
	if most := slices.Max(tenths[:]); most > len(ms)/4 {
		return fmt.Errorf("clients came back together: %d in the tenths of %d ms", tenths, window)
	}
	return nil
}

func TestSpreadOut(t *testing.T) {
	var even, heap, close []int
	for i := range 1000 {
		even, heap, close = append(even, i*2), append(heap, i%700*3), append(close, i/3)
	}
	for i := range 300 {
		heap[i] = 1000
	}
	if err := spreadOut(even); err != nil {
		t.Error(err)
	}
	for name, ms := range map[string][]int{"none": nil, "a heap": heap, "close": close} {
		if spreadOut(ms) == nil {
			t.Errorf("%s: taken for spread out", name)
		}
	}
}
