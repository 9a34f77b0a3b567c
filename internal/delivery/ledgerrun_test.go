package delivery

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Every offset that ended is found, and no other, however out of order they ended, over blocks, runs, segments and epochs.
func TestLedgerFindsEveryOffset(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.LedgerBytes = 1 << 20
		b.start(sub("s"))
		s, err := b.m.find("s")
		if err != nil {
			t.Fatal(err)
		}
		info, _ := b.m.topic("orders")
		rng := rand.New(rand.NewPCG(1, 1))
		var ended, open []where
		next := uint64(1)<<runBlock - 500
		for len(ended) < 20_000 {
			for range 50 {
				next += 1 + uint64(rng.IntN(30))
				if rng.IntN(500) == 0 {
					next += 1 << runBlock
				}
				open = append(open, where{info.ID, rng.IntN(2), next})
			}
			s.mu.Lock()
			for len(open) > 30 || len(open) > 0 && rng.IntN(8) > 0 {
				i := rng.IntN(min(len(open), 64)) // the first of them stays for long
				if i == 0 && rng.IntN(50) > 0 {
					i = len(open) - 1
				}
				d := &delivery{where: open[i], topicName: "orders", attempts: 1, epoch: uint64(len(ended) / 15_000), status: 200 + i%3,
					took: time.Duration(rng.IntN(1e9)), ended: time.Now(), stage: stageSettled}
				s.recordOutcome(d, nil, tandem.DeliveryDelivered, "")
				ended = append(ended, open[i])
				open = slices.Delete(open, i, i+1)
			}
			s.mu.Unlock()
			b.wait(time.Duration(rng.IntN(4000)) * time.Millisecond)
		}
		if err := s.flush(b.ctx); err != nil {
			t.Fatal(err)
		}
		for i, w := range ended {
			if i%7 != 0 {
				continue
			}
			got, err := s.lookup(b.ctx, w)
			if err != nil || len(got) != 1 || got[0].Position.Offset != w.offset || got[0].Position.Partition != w.part || got[0].Epoch != uint64(i/15_000) {
				t.Fatalf("%d: %+v: %+v %v", i, w, got, err)
			}
			w.part = 1 - w.part
			if got, err := s.lookup(b.ctx, w); err != nil || len(got) != 0 {
				t.Fatalf("found in the other partition: %+v %v", got, err)
			}
		}
		t.Logf("%d records, %d segments", b.records("s", kindLedger), len(s.ledger.segments))
	})
}

func FuzzLedgerRun(f *testing.F) {
	var last runEntry
	f.Add([]byte{formatVersion, 1, 'x', 0}, uint64(1), int64(1), uint32(0), uint16(204))
	f.Add(appendRunEntry([]byte{formatVersion, 0, 0}, &last, runEntry{5, 7, 9, 204}), uint64(math.MaxUint64), int64(math.MinInt64), uint32(math.MaxUint32), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, offset uint64, at int64, took uint32, status uint16) {
		r, err := readRun(b, offset)
		n := 0
		for ok := true; ok && err == nil; n++ {
			_, ok, err = r.next()
		}
		if err != nil {
			return
		}
		// What can be read can be added to.
		want := runEntry{offset, at, took & (1<<31 - 1), status}
		last := r.last
		b = appendRunEntry(slices.Clone(b), &last, want)
		if r, err = readRun(b, offset); err != nil {
			t.Fatal(err)
		}
		var got runEntry
		for range n {
			got, _, err = r.next()
			if err != nil {
				t.Fatal(err)
			}
		}
		if got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func FuzzLedgerPlace(f *testing.F) {
	p := place{Query: "x", Phase: phaseLedger, Seg: 7, Key: "run/", Skip: 3}
	f.Add(p.String())
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err != nil {
			return
		}
		if again, err := parsePlace(p.String()); err != nil || again != p {
			t.Fatalf("%+v, then %+v: %v", p, again, err)
		}
	})
}

func FuzzLedgerSegment(f *testing.F) {
	g := newSegment(12)
	f.Add("00c", g.append(nil))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		g, err := parseSegment(name, b)
		if err != nil {
			return
		}
		if again, err := parseSegment(name, g.append(nil)); err != nil || again != g {
			t.Fatalf("%+v, then %+v: %v", g, again, err)
		}
	})
}
