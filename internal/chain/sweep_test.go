package chain_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// TestRecordsAreRemoved: what was remembered for a day is removed, and what is younger stays.
func TestRecordsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, memlog.Options{}, chain.Options{}, tree()...)
		b.chain.Start()
		records := func() (n int) {
			if err := b.log.ScanState(t.Context(), chain.Prefix, func(string, []byte) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, id := range []string{"1", "2", ""} { // an id that Tandem gives cannot come again
			if _, err := b.publish(placed(id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(23 * time.Hour)
		if _, err := b.publish(placed("3")); err != nil {
			t.Fatal(err)
		}
		if n := records(); n != 3 {
			t.Errorf("%d records", n)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := records(); n != 1 {
			t.Errorf("%d records after a day", n)
		}
		b.trace.take()
		if res, err := b.publish(placed("3")); err != nil || res.Receipt.Duplicate != tandem.DuplicateYes {
			t.Errorf("%+v %v", res.Receipt, err)
		}
		b.calls()
	})
}
