package console

import (
	"slices"

	"github.com/tandem-hybrid/tandem"
)

// step is a node of a flow in the tree of its causes.
type step struct {
	*tandem.FlowNode
	Depth    int
	cause    *step   // the first; nil: it began the flow
	effects  []*step // that have it as their first cause
	attempts []*step // those effects that are attempts
}

// treeOf returns the nodes of a flow as they are listed: each below its first cause.
func treeOf(f *tandem.Flow) []*step {
	byID := make(map[string]*step, len(f.Nodes))
	var roots []*step
	for i := range f.Nodes {
		n := &step{FlowNode: &f.Nodes[i]}
		if len(n.Causes) > 0 { // one that comes later, which a circle of causes has, does not count
			n.cause = byID[n.Causes[0]]
		}
		byID[n.ID] = n
		if n.cause == nil {
			roots = append(roots, n)
			continue
		}
		n.cause.effects = append(n.cause.effects, n)
		if n.Kind == tandem.NodeAttempt {
			n.cause.attempts = append(n.cause.attempts, n)
		}
	}
	all := make([]*step, 0, len(f.Nodes))
	var list func([]*step, int)
	list = func(steps []*step, depth int) {
		for _, n := range steps {
			n.Depth = depth
			all = append(all, n)
			list(n.effects, depth+1)
		}
	}
	list(roots, 0)
	return all
}

// is reports whether a node goes by a name: its id, the reference of its event, or the id of its dead letter.
func (n *step) is(name string) bool {
	return n.ID == name || n.Event != nil && n.Event.Ref == name || n.Delivery != nil && n.Delivery.DeadLetter != "" && n.Delivery.DeadLetter == name
}

func (n *step) isDelivery() bool { return n.Kind == tandem.NodeDelivery || n.Kind == tandem.NodeCall }

// decided reports whether a delivery is none, by a decision.
func (n *step) decided() bool {
	return n.State == tandem.DeliverySkipped || n.State == tandem.DeliveryPassed
}

// open reports whether a node goes on.
func (n *step) open() bool {
	switch n.Kind {
	case tandem.NodeDelivery, tandem.NodeCall:
		return slices.Contains([]string{tandem.DeliveryUnread, tandem.DeliveryQueued, tandem.DeliverySending, tandem.DeliveryRetrying, tandem.DeliveryWaiting}, n.State)
	case tandem.NodeOperation:
		return n.State == string(tandem.OperationRunning) && n.Took == 0
	}
	return false
}

// Name says which node it is, without its kind.
func (n *step) Name() string {
	switch {
	case n.Request != nil && n.Request.Method != "":
		return n.Request.Method + " " + n.Request.Path
	case n.Request != nil:
		return n.Request.Route
	case n.Event != nil && n.Event.Type != "":
		return n.Event.Type
	case n.Event != nil:
		return n.Event.Position.String()
	case n.Delivery != nil:
		return n.Delivery.Subscription
	case n.Attempt != nil && n.Attempt.Number == 0:
		return "probe"
	case n.Attempt != nil:
		return "attempt " + count(n.Attempt.Number)
	case n.Operation != nil:
		return "operation"
	}
	return n.ID
}

// Word is the kind of a node where Name does not say it.
func (n *step) Word() string {
	switch n.Kind {
	case tandem.NodeAttempt, tandem.NodeOperation:
		return ""
	case tandem.NodeDelivery:
		return "delivery to"
	case tandem.NodeCall:
		return "call of"
	}
	return n.Kind
}
