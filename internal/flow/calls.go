package flow

import (
	"context"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// failedCalls are the calls of request chains that failed, by flow. Their events were not stored. Nil: they are not known.
type failedCalls map[string][]tandem.Delivery

// callsOf reads the ledgers once for many flows, whose keys have a time, the newest first. It returns nil where that is not enough for all of them.
func (f *Flows) callsOf(ctx context.Context, keys []flowindex.Key) (failedCalls, error) {
	calls := failedCalls{}
	if f.opts.Ledger == nil || len(keys) == 0 {
		return calls, nil
	}
	for _, k := range keys {
		calls[k.String()] = nil
	}
	rows, all, err := f.opts.Ledger.FailedCalls(ctx, callsSince(keys[len(keys)-1]), func(flow string) bool { _, ok := calls[flow]; return ok })
	if err != nil || !all {
		return nil, err
	}
	for i := range rows {
		calls[rows[i].Flow] = append(calls[rows[i].Flow], rows[i])
	}
	return calls, nil
}

// callsSince returns since when a flow may have calls, with room for clocks that differ.
func callsSince(k flowindex.Key) time.Time {
	since, _ := k.Time()
	return since.Add(-time.Minute)
}

// addCalls adds the calls of the flow that failed.
func (g *graph) addCalls(ctx context.Context, keys []flowindex.Key) error {
	if g.f.opts.Ledger == nil {
		return nil
	}
	rows := g.calls[g.flow.ID]
	if g.calls == nil {
		var all bool
		var err error
		if rows, all, err = g.f.opts.Ledger.FailedCalls(ctx, callsSince(keys[0]), func(flow string) bool { return flow == g.flow.ID }); err != nil {
			return err
		}
		if !all {
			g.lack("not all calls that failed since the flow began were looked at: there are too many")
		}
	}
	for i := range rows {
		d := &rows[i]
		at, _ := tandem.ParseTime(d.Ended)
		if len(d.History) > 0 {
			at = d.History[0].At
		}
		g.addDelivery(tandem.NodeCall, "call/"+d.Subscription+"/"+strconv.Itoa(i), g.requestBefore(at), d)
	}
	return nil
}
