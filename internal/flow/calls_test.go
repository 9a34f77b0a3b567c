package flow_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/flow"
)

// calling is a ledger with a call that failed in each flow, and many more before a time.
type calling struct {
	measuring
	flows  []string
	enough time.Time // who asks for earlier calls does not get all of them
	asked  int
}

func (c *calling) FailedCalls(_ context.Context, since time.Time, of func(string) bool) (calls []tandem.Delivery, all bool, err error) {
	c.asked++
	for _, f := range c.flows {
		if of(f) {
			calls = append(calls, tandem.Delivery{Subscription: "s", Flow: f, State: tandem.DeliveryFailed})
		}
	}
	return calls, !since.Before(c.enough), nil
}

// TestCallsOfAPage: the ledgers are read once for all flows of a page. Where they have too many calls for that, it is once for each flow, and a flow
// says that it may lack some.
func TestCallsOfAPage(t *testing.T) {
	ledger := &calling{}
	w := newWorld(t, flow.Options{Ledger: ledger})
	for range 5 {
		id := tandem.NewID()
		ledger.flows = append(ledger.flows, id)
		w.put("a", id, id)
	}
	slices.Sort(ledger.flows) // of one millisecond, in any order
	list := func(q tandem.FlowQuery, asked, n int) tandem.FlowPage {
		t.Helper()
		ledger.asked = 0
		p, err := w.flows.List(t.Context(), q)
		if err != nil || ledger.asked != asked || len(p.Flows) != n {
			t.Fatalf("%d scans, %d flows, %v", ledger.asked, len(p.Flows), err)
		}
		for i := range p.Flows {
			if p.Flows[i].State != tandem.FlowFailed {
				t.Errorf("%+v", p.Flows[i])
			}
		}
		return p
	}
	for _, q := range []tandem.FlowQuery{{Limit: 2}, {Limit: 2, State: tandem.FlowFailed}} {
		var ids []string
		for _, n := range []int{2, 2, 1} {
			p := list(q, 1, n)
			for i := range p.Flows {
				ids = append(ids, p.Flows[i].ID)
			}
			q.After = p.Next
		}
		slices.Reverse(ids)
		if !slices.Equal(ids, ledger.flows) || q.After != "" {
			t.Errorf("%q, want %q; the next is %q", ids, ledger.flows, q.After)
		}
	}
	ledger.enough = time.Now().Add(time.Hour)
	list(tandem.FlowQuery{}, 6, 5)
	if f := w.get(ledger.flows[0]); len(f.Missing) != 1 || f.State != tandem.FlowFailed {
		t.Errorf("%+v", f)
	}
}
