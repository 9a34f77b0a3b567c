package offsetmap

import (
	"context"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

// records are state records in memory.
type records map[string][]byte

func (r records) ScanState(_ context.Context, from, to string, fn func(string, []byte) bool) error {
	keys := make([]string, 0, len(r))
	for k := range r {
		if k >= from && (to == "" || k < to) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, r[k]) {
			break
		}
	}
	return nil
}

func drawPairs(t *rapid.T, n int) []Pair {
	pairs := make([]Pair, n)
	var p Pair
	for i := range pairs {
		p.From += rapid.Uint64Range(1, 5).Draw(t, "from")
		p.To += rapid.SampledFrom([]uint64{1, 1, 1, 2, 1 << 40}).Draw(t, "to")
		pairs[i] = p
	}
	return pairs
}

// TestPlace compares places with a search over all pairs, however they are cut into chunks.
func TestPlace(t *testing.T) {
	ctx, log := context.Background(), LogID{1}
	rapid.Check(t, func(t *rapid.T) {
		state := records{}
		pairs := drawPairs(t, rapid.IntRange(0, 60).Draw(t, "pairs"))
		before := uint64(0)
		for rest := pairs; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			state[ChunkKey(log, 7, 3, rest[n-1].From)] = AppendChunk(nil, before, rest[:n])
			before, rest = rest[n-1].To, rest[n:]
		}
		state[ChunkKey(log, 7, 4, 1000)] = AppendChunk(nil, 0, []Pair{{1000, 1}}) // a neighbour
		m := New(state, log)
		for range 20 {
			offset := rapid.Uint64Range(0, 320).Draw(t, "offset")
			got, err := m.Place(ctx, 7, 3, offset)
			if err != nil {
				t.Fatal(err)
			}
			var want Place
			i := sort.Search(len(pairs), func(i int) bool { return pairs[i].From >= offset })
			if i < len(pairs) {
				want = Place{Found: true, Exact: pairs[i].From == offset, Next: pairs[i].To}
			}
			if i > 0 {
				want.Before = pairs[i-1].To
			}
			if got != want {
				t.Fatalf("place of %d is %+v, want %+v", offset, got, want)
			}
		}
		var all []Pair
		if err := m.Pairs(ctx, 7, 3, func(p []Pair) error { all = append(all, p...); return nil }); err != nil || !slices.Equal(all, pairs) {
			t.Fatalf("pairs %v, %v", all, err)
		}
	})
}

// TestChunkIsSmall: what is dense takes next to nothing.
func TestChunkIsSmall(t *testing.T) {
	dense, sparse := make([]Pair, ChunkPairs), make([]Pair, ChunkPairs)
	for i := range dense {
		dense[i] = Pair{uint64(i + 1), uint64(i)}
		sparse[i] = Pair{uint64(8*i + i*i%7), uint64(i)}
	}
	if n := len(AppendChunk(nil, 0, dense)); n > 20 {
		t.Errorf("a dense chunk has %d bytes", n)
	}
	if n := len(AppendChunk(nil, 0, sparse)); n > ChunkPairs+20 {
		t.Errorf("a chunk of 8 partitions has %d bytes for %d pairs", n, ChunkPairs)
	}
}

func FuzzParseChunk(f *testing.F) {
	f.Add(AppendChunk(nil, 3, []Pair{{1, 2}, {2, 4}, {3, 6}, {4, 8}, {9, 9}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		before, pairs, err := ParseChunk(b)
		if err != nil {
			return
		}
		before2, again, err := ParseChunk(AppendChunk(nil, before, pairs))
		if err != nil || before2 != before || !slices.Equal(again, pairs) {
			t.Fatalf("%v read again is %v, %v", pairs, again, err)
		}
	})
}
