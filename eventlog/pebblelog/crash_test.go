package pebblelog

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// The crash test runs writers against an engine on a file system that forgets what was not synced, cuts at random moments,
// opens what is left of each cut, and compares it with what had been confirmed before the cut.

const (
	crashWriters    = 8
	crashPartitions = 3
)

// ledger is what writers know. A batch of a writer has three events and a state record that holds its number.
type ledger struct {
	// pace is held while a cut is looked at, so that the log does not grow meanwhile.
	pace sync.RWMutex

	mu    sync.Mutex
	acked map[int]map[int][]driver.Record // writer, batch
}

func (l *ledger) add(writer, batch int, r []driver.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[writer][batch] = r
}

func (l *ledger) snapshot() map[int]map[int][]driver.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := map[int]map[int][]driver.Record{}
	for w, b := range l.acked {
		c[w] = maps.Clone(b)
	}
	return c
}

func crashRecord(topic driver.ID, writer, batch, i int) driver.Record {
	r := driver.Record{Topic: topic, Partition: (writer + i) % crashPartitions, Dedup: i != 1, Sum: uint64(batch)}
	binary.BigEndian.PutUint32(r.Identity[:], uint32(writer))
	binary.BigEndian.PutUint32(r.Identity[4:], uint32(batch))
	r.Identity[8] = byte(i)
	r.Event = &tandem.Event{ID: fmt.Sprintf("%d/%d/%d", writer, batch, i), Source: "/crash", Type: "t", Data: make([]byte, 50+batch%200),
		Meta: tandem.Meta{Accepted: time.Now()}}
	return r
}

// crashRound runs writers on a new engine, makes some cuts, and returns what was wrong with them.
func crashRound(t *testing.T, seed uint64, cuts int, noSync bool) (faults []string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	mem := vfs.NewCrashableMem()
	opts := Options{FS: mem, SegmentBytes: 16 << 10, RetentionEvery: -1, MemTableBytes: 256 << 10, noSync: noSync}
	e, err := Open("log", opts)
	if err != nil {
		t.Fatal(err)
	}
	top := create(t, e, "t", crashPartitions)
	side, err := e.CreateTopic(t.Context(), tandem.Topic{Name: "side", Partitions: 1, Retention: -1, RetentionBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	led := &ledger{acked: map[int]map[int][]driver.Record{}}
	for w := range crashWriters {
		led.acked[w] = map[int][]driver.Record{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() { crashWrite(ctx, t, e, led, w, top.ID, side.ID) })
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := e.RunRetention(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			select {
			case e.saveNow <- struct{}{}:
			default:
			}
			time.Sleep(time.Millisecond) // leaves the processor to the writers
		}
	})
	for range cuts {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond) // a random moment
		before := led.snapshot()
		keep := 0
		if !noSync && rng.IntN(2) == 0 {
			keep = rng.IntN(100)
		}
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng})
		led.pace.Lock()
		found := checkCut(t, clone, before, top, side)
		led.pace.Unlock()
		if len(found) > 3 {
			found = append(found[:3], fmt.Sprintf("and %d more", len(found)-3))
		}
		for _, f := range found {
			faults = append(faults, fmt.Sprintf("cut with %d %% of unsynced data: %s", keep, f))
		}
	}
	cancel()
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	return faults
}

// keepPace waits while writing is paused.
func (l *ledger) keepPace() {
	l.pace.RLock()
	defer l.pace.RUnlock()
}

func crashWrite(ctx context.Context, t *testing.T, e *Engine, led *ledger, w int, topic, side driver.ID) {
	for n := 1; ctx.Err() == nil; n++ {
		led.keepPace()
		b := driver.Batch{State: []driver.StateOp{{Key: fmt.Sprint("w", w), Value: strconv.AppendInt(nil, int64(n), 10)}}}
		for i := range 3 {
			b.Records = append(b.Records, crashRecord(topic, w, n, i))
		}
		s := crashRecord(side, w, n, 1)
		s.Partition = 0
		b.Records = append(b.Records, s)
		if err := e.Append(context.Background(), &b); err != nil {
			t.Error(err)
			return
		}
		led.add(w, n, b.Records[:3])
	}
}

// checkCut opens a cut and returns what is wrong.
func checkCut(t *testing.T, fs vfs.FS, acked map[int]map[int][]driver.Record, top, side driver.Topic) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	e, err := Open("log", Options{FS: fs, RetentionEvery: -1})
	if err != nil {
		return []string{err.Error()}
	}
	defer e.Close()
	found := map[string]tandem.Record{}
	batches := map[int]map[int]int{}
	for p := range crashPartitions {
		recs, err := e.Read(t.Context(), top.ID, p, 0, 1<<30, 1<<30, nil)
		if err != nil {
			return []string{err.Error()}
		}
		last := map[int]int{}
		for i, r := range recs {
			if r.Seq != uint64(i+1) {
				fault("partition %d: seq %d at index %d", p, r.Seq, i)
			}
			if i > 0 && r.Position.Offset <= recs[i-1].Position.Offset {
				fault("partition %d: offset %d after %d", p, r.Position.Offset, recs[i-1].Position.Offset)
			}
			var w, n, k int
			fmt.Sscanf(r.ID, "%d/%d/%d", &w, &n, &k)
			if n != last[w]+1 {
				fault("partition %d: batch %d of writer %d after %d", p, n, w, last[w])
			}
			last[w] = n
			if batches[w] == nil {
				batches[w] = map[int]int{}
			}
			batches[w][n]++
			found[r.ID] = r
		}
	}
	for w, all := range batches {
		for n, k := range all {
			if k != 3 {
				fault("batch %d of writer %d has %d of 3 events", n, w, k)
			}
		}
		state := ""
		e.ScanState(t.Context(), fmt.Sprint("w", w), "", func(_ string, v []byte) bool { state = string(v); return false })
		if state != strconv.Itoa(len(all)) {
			fault("state of writer %d is %q, its last batch %d", w, state, len(all))
		}
	}
	for w, all := range acked {
		for n, recs := range all {
			for i, r := range recs {
				if got, ok := found[r.Event.ID]; !ok || got.Position.Offset != r.Offset || got.Seq != r.Seq {
					fault("confirmed event %s at %d, seq %d: found %v at %d, seq %d", r.Event.ID, r.Offset, r.Seq, ok, got.Position.Offset, got.Seq)
				}
				if n%7 != 0 || i == 1 {
					continue
				}
				again := driver.Batch{Records: []driver.Record{crashRecord(top.ID, w, n, i)}}
				if err := e.Append(t.Context(), &again); err != nil || !again.Records[0].Duplicate || again.Records[0].Offset != r.Offset {
					fault("repeat of %s: %v, %+v", r.Event.ID, err, again.Records[0])
				}
			}
		}
	}
	b, err := e.Bounds(t.Context(), side.ID, 0)
	recs, err2 := e.Read(t.Context(), side.ID, 0, 0, 1<<30, 1<<30, nil)
	if err != nil || err2 != nil || uint64(len(recs)) != b.EndSeq-b.StartSeq || len(recs) > 0 && (recs[0].Seq != b.StartSeq || recs[0].Position.Offset != b.Start) {
		fault("side topic: %d events in %+v, %v, %v", len(recs), b, err, err2)
	}
	return faults
}

func TestCrash(t *testing.T) {
	rounds := 20
	if os.Getenv("TANDEM_SOAK") != "" {
		rounds = 400
	}
	for i := range rounds {
		for _, f := range crashRound(t, uint64(i), 15, false) {
			t.Error(f)
		}
		if t.Failed() {
			t.Fatalf("in round %d", i)
		}
	}
}

// TestCrashIsNoticed shows that the crash test would find lost events: without syncs it does.
func TestCrashIsNoticed(t *testing.T) {
	for i := range 5 {
		if faults := crashRound(t, uint64(i), 5, true); len(faults) > 0 {
			t.Logf("found as expected: %s", faults[0])
			return
		}
	}
	t.Error("no loss was found with syncing off")
}
