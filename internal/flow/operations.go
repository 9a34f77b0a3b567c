package flow

import (
	"context"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// addOperations adds the operations that the flow began, and their ends.
func (g *graph) addOperations(ctx context.Context, _ []flowindex.Key) error {
	ids, causes := []string{}, map[string]string{}
	note := func(id, cause string) {
		if id != "" && causes[id] == "" {
			ids, causes[id] = append(ids, id), cause
		}
	}
	for i := range g.flow.Nodes {
		if n := &g.flow.Nodes[i]; n.Kind == tandem.NodeRequest {
			note(n.Request.Operation, n.ID)
		}
	}
	for i := range g.events {
		if e := &g.events[i]; e.rec != nil {
			note(e.rec.Meta.Operation, e.node.ID)
		}
	}
	if g.f.opts.Operations == nil {
		return nil
	}
	for _, id := range ids {
		op, err := g.f.opts.Operations.Get(ctx, id)
		if tandem.CodeOf(err) == tandem.CodeNotFound {
			g.lack("the operation %s is forgotten: it ended some time ago, or never began", id)
			continue
		}
		if err != nil {
			return err
		}
		g.addOperation(&op, causes[id])
	}
	return nil
}

func (g *graph) addOperation(op *tandem.Operation, cause string) {
	result := op.Result
	op.Result = nil
	n := tandem.FlowNode{ID: "operation/" + op.ID, Kind: tandem.NodeOperation, Causes: []string{cause}, State: string(tandem.OperationRunning), Operation: op}
	n.At, _ = tandem.ParseTime(op.Created)
	end, _ := tandem.ParseTime(op.Ended)
	g.open = g.open || !op.State.Final()
	if end.After(n.At) {
		n.Took = tandem.Duration(end.Sub(n.At))
	}
	g.add(n)
	if !op.State.Final() {
		return
	}
	last := tandem.FlowNode{ID: n.ID + "/end", Kind: tandem.NodeOperation, Causes: []string{n.ID}, At: end, State: string(op.State), Operation: op}
	if op.Problem != nil {
		last.Reason = op.Problem.Detail
	}
	for i := range g.events {
		if e := &g.events[i]; result != nil && e.rec != nil && e.rec.ID == result.ID && e.rec.Source == result.Source {
			last.Causes = []string{e.node.ID, n.ID} // first what ended it
		}
	}
	g.failed = g.failed || op.State == tandem.OperationFailed
	g.add(last)
}
