package consumer

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// A unit is done when all consumers had it, at the time of the last; half of it when some had; and done twice when one of them had it twice.
func TestLedger(t *testing.T) {
	var crowd Crowd
	for i, units := range [][]string{{"all", "some", "twice"}, {"all", "twice", "twice"}} {
		c, err := Open(Plain, filepath.Join(t.TempDir(), strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, unit := range units {
			post(t, c, `{"data":{"unit":"`+unit+`"}}`)
		}
		s := httptest.NewServer(c)
		defer s.Close()
		crowd.URLs = append(crowd.URLs, s.URL)
		if i == 1 {
			ledger, err := crowd.Ledger(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last := taken(t, c)
			if w := ledger["all"]; w.State != compare.Done || w.Twice || w.At.UnixNano() != last[0].At {
				t.Errorf("all: %+v, the last had it at %d", w, last[0].At)
			}
			if w := ledger["some"]; w.State != compare.Half || w.Twice {
				t.Errorf("some: %+v", w)
			}
			if w := ledger["twice"]; w.State != compare.Done || !w.Twice {
				t.Errorf("twice: %+v", w)
			}
			if len(ledger) != 3 {
				t.Errorf("%+v", ledger)
			}
		}
	}
	// Whoever called consumers has its answers: there is nothing to wait for.
	if err := crowd.Settle(t.Context(), 100); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := crowd.Ledger(ctx); err == nil {
		t.Error("a ledger was read after the run was broken off")
	}
}
