package chain_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

const (
	crashPublishers = 4
	crashCuts       = 20
	crashSoakCuts   = 1000
	crashRoundCuts  = 20 // on one log
)

// TestCrash cuts the power while chains run: in the middle of a call, and at any moment. Of what is left of each cut, every chain must be
// there whole or not at all, and whole if its publisher was told so; when all are repeated each takes effect once, and those that were
// whole call nobody.
func TestCrash(t *testing.T) {
	cuts := crashCuts
	if os.Getenv("TANDEM_SOAK") != "" {
		cuts = crashSoakCuts
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var all, none int
	for done := 0; done < cuts; done += crashRoundCuts {
		whole, nothing := crashRound(t, seed+uint64(done), crashRoundCuts)
		all, none = all+whole, none+nothing
		if t.Failed() {
			break
		}
	}
	t.Logf("%d cuts: %d chains were whole, %d had left nothing", cuts, all, none)
	if all == 0 || none == 0 {
		t.Errorf("the cuts met no chain: %d whole, %d nothing", all, none)
	}
}

// crashLog opens a log on a file system and the chain over it, whose links are those of tree.
func crashLog(t *testing.T, fs vfs.FS, hook func()) (*eventlog.Log, *bed) {
	eng, err := pebblelog.Open("log", pebblelog.Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, FreeBytes: -1, RetentionEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(t.Context(), eng, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, log: log, trace: &trace{}, chain: chain.New(log, chain.Options{})}
	links := tree()
	for _, l := range links {
		inner := l.call
		l.call = func(ctx context.Context, rec *tandem.Record) chain.Answer {
			hook()
			if inner == nil {
				return chain.Answer{Status: 204}
			}
			return inner(ctx, rec)
		}
	}
	b.use(links...)
	return log, b
}

func crashRound(t *testing.T, seed uint64, cuts int) (whole, nothing int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	mem := vfs.NewCrashableMem()
	var wanted atomic.Bool
	inCall := make(chan chan struct{})
	log, b := crashLog(t, mem, func() {
		if wanted.CompareAndSwap(true, false) { // this call is the one to be cut in
			resume := make(chan struct{})
			inCall <- resume
			<-resume
		}
	})
	for _, name := range []string{"orders", "results"} {
		if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: name, Partitions: 4}); err != nil {
			t.Fatal(err)
		}
	}
	var pace sync.RWMutex // held while a cut is looked at, so that the log does not grow meanwhile
	var mu sync.Mutex     // guards what follows
	begun, told := map[string]bool{}, map[string]bool{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for p := range crashPublishers {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprint(p, "-", n)
				pace.RLock()
				mu.Lock()
				begun[id] = true
				mu.Unlock()
				_, err := b.publish(crashEvent(id))
				pace.RUnlock()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				told[id] = true
				mu.Unlock()
			}
		})
	}
	for range cuts {
		var resume chan struct{}
		if rng.IntN(2) == 0 {
			wanted.Store(true)
			resume = <-inCall
		} else {
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond) // any moment
		}
		mu.Lock()
		sure := maps.Clone(told)
		mu.Unlock()
		keep := rng.IntN(2) * rng.IntN(100)
		cut := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng})
		mu.Lock()
		may := maps.Clone(begun)
		mu.Unlock()
		if resume != nil {
			close(resume)
		}
		pace.Lock()
		all, none := checkCut(t, cut, sure, may)
		pace.Unlock()
		whole, nothing = whole+all, nothing+none
		if t.Failed() {
			t.Logf("with %d %% of unsynced data", keep)
			break
		}
	}
	cancel()
	wg.Wait()
	b.chain.Stop(context.Background())
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	return whole, nothing
}

func crashEvent(id string) tandem.Event {
	e := placed(id)
	e.Subject = id
	return e
}

// checkCut counts the chains that a cut has whole, and those that it has nothing of.
func checkCut(t *testing.T, fs vfs.FS, sure, may map[string]bool) (whole, nothing int) {
	log, b := crashLog(t, fs, func() {})
	defer log.Close()
	defer b.chain.Stop(context.Background())
	has := chainsOf(b)
	for id := range may {
		switch got := has[id]; {
		case got == 5:
			whole++
		case got != 0:
			t.Errorf("%s has %d of 5 events", id, got)
		case sure[id]:
			t.Errorf("%s was confirmed, and is lost", id)
		default:
			nothing++
		}
	}
	// Not all: what was begun last is what a cut meets, and there may be thousands.
	repeated := 0
	for id := range may {
		if has[id] == 5 && repeated > 8 {
			continue
		}
		repeated++
		b.trace.take()
		res, err := b.publish(crashEvent(id))
		if err != nil || types(res.Replies) != "a1 b1 a2 c1" {
			t.Errorf("repeat of %s: %v, replies %q", id, err, types(res.Replies))
		}
		if n := len(b.trace.take()); n != 0 && has[id] == 5 || n != 5 && has[id] == 0 {
			t.Errorf("repeat of %s, of which %d were stored, made %d calls", id, has[id], n)
		}
	}
	for id, n := range chainsOf(b) {
		if n != 5 {
			t.Errorf("%s has %d events after its repeat", id, n)
		}
	}
	return whole, nothing
}

// chainsOf counts the events of each chain, which share a subject.
func chainsOf(b *bed) map[string]int {
	n := map[string]int{}
	for _, name := range []string{"orders", "results"} {
		info, err := b.log.Topic(b.t.Context(), name)
		if err != nil {
			if !strings.Contains(err.Error(), "no topic") {
				b.t.Error(err)
			}
			continue
		}
		for part := range info.Partitions {
			recs, err := b.log.ReadPartition(b.t.Context(), info.ID, part, 0, 1<<20, nil)
			for err == nil && len(recs) > 0 {
				for i := range recs {
					n[recs[i].Subject]++
				}
				recs, err = b.log.ReadPartition(b.t.Context(), info.ID, part, recs[len(recs)-1].Position.Offset+1, 1<<20, nil)
			}
			if err != nil {
				b.t.Error(err)
			}
		}
	}
	return n
}
