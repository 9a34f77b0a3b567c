package idindex_test

import (
	"path/filepath"
	"testing"

	"github.com/tandem-hybrid/tandem/eventlog/idindex"
)

// BenchmarkLook: pages of 256 events with new ids, and with ids that came before, for each event; with a million remembered.
func BenchmarkLook(b *testing.B) {
	for name, again := range map[string]bool{"new": false, "repeats": true} {
		b.Run(name, func(b *testing.B) {
			x := open(b, filepath.Join(b.TempDir(), "ids"), idindex.Options{})
			defer x.Close()
			page := make([]idindex.Entry, 256)
			next := 0
			fill := func(from int) {
				for i := range page {
					page[i] = idindex.Entry{Identity: id((from + i) * 7919), Sum: 1, Accepted: start, Offset: uint64(next)}
					next++
				}
				if err := x.Look(1, 0, uint64(next), page); err != nil {
					b.Fatal(err)
				}
			}
			for i := 0; i < 1_000_000; i += len(page) {
				fill(i)
			}
			b.ResetTimer()
			for i := 0; i < b.N; i += len(page) {
				if again {
					fill(i % 999_000)
				} else {
					fill(1_000_000 + i)
				}
			}
		})
	}
}
