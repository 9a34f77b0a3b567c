package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// flowNode is what is known of one node.
type flowNode struct {
	Facts   []fact
	Causes  []jump // of this flow and of others
	Effects []jump
	More    int // effects that are not shown
	Curl    string

	Payload *payload        // of an event that is still stored
	Whole   string          // where it can be downloaded
	Problem *tandem.Problem // why the event is not shown
}

type fact struct {
	Name, Text string
	Href       string    // where Text leads; "" is nowhere
	At         time.Time // in place of Text
}

func (n *flowNode) add(name, text, href string) {
	if text != "" {
		n.Facts = append(n.Facts, fact{Name: name, Text: clean(text, 2000), Href: href})
	}
}

func (n *flowNode) at(name string, v any) {
	t, ok := v.(time.Time)
	if s, isText := v.(string); isText {
		t, ok = tandem.ParseTime(s)
	}
	if ok && !t.IsZero() {
		n.Facts = append(n.Facts, fact{Name: name, At: t})
	}
}

func (n *flowNode) took(d tandem.Duration) {
	if d > 0 {
		n.add("took", durationText(time.Duration(d)), "")
	}
}

// flowNode gathers what is known of a node. Of an event it reads the data.
func (v *visit) flowNode(f *tandem.Flow, of *step, all []*step) *flowNode {
	n := &flowNode{}
	n.at("at", of.At)
	n.took(of.Took)
	switch {
	case of.Request != nil:
		n.request(of.Request)
	case of.Event != nil:
		n.event(of.Event)
		v.readEvent(n, of)
	case of.Delivery != nil:
		v.delivery(n, f, of)
	case of.Attempt != nil:
		n.attempt(of.Attempt)
	case of.Operation != nil:
		n.operation(of.Operation)
	}
	n.jumps(f, of, all)
	return n
}

func (n *flowNode) request(r *tandem.FlowRequest) {
	n.add("request", r.Method+" "+r.Path, "")
	n.add("route", r.Route, "/configuration#routes")
	if r.Service != "" {
		n.add("service", r.Service, serviceHref(r.Service))
	}
	n.add("principal", r.Principal, "")
	if r.Status > 0 {
		n.add("status", strconv.Itoa(r.Status), "")
	}
	n.trace(r.Trace)
	n.ofOperation(r.Operation)
}

func (n *flowNode) event(e *tandem.FlowEvent) {
	n.add("position", e.Position.String(), "/topics/"+url.PathEscape(e.Position.Topic))
	n.add("type", e.Type, "")
	n.add("id", e.ID, "")
	n.add("source", e.Source, "")
	n.add("key", e.Key, "")
	n.add("from", e.Producer, "")
	n.add("through", e.Route, "")
	if e.Hops > 0 {
		n.add("hops", strconv.Itoa(e.Hops), "")
	}
	if len(e.TraceParent) >= 35 {
		n.trace(e.TraceParent[3:35])
	}
	n.ofOperation(e.Operation)
}

func (n *flowNode) trace(id string) {
	if id != "" {
		n.add("trace", id, "/flows"+query("trace", id))
	}
}

func (n *flowNode) ofOperation(id string) {
	if id != "" {
		n.add("operation", id, "/operations"+query("id", id))
	}
}

// readEvent reads the event itself, from its time on.
func (v *visit) readEvent(n *flowNode, of *step) {
	e := of.Event
	if e.ID == "" {
		return // it is not stored any more
	}
	found, err := v.find(e.Position.Topic, e.ID, e.Source, client.Query{Start: tandem.Start{Time: of.At.UTC().Format(time.RFC3339Nano)}})
	if err != nil {
		n.Problem = tandem.ProblemOf(err)
		return
	}
	p := payloadOf(found, wholeBytes)
	n.Payload, n.Whole = &p, eventHref(e.Position.Topic, found, "")+"&raw=1"
	n.Curl = v.curlEvent(e.Position.Topic, found)
}

func (v *visit) delivery(n *flowNode, f *tandem.Flow, of *step) {
	d := of.Delivery
	n.add("subscription", d.Subscription, "/subscriptions/"+url.PathEscape(d.Subscription))
	n.add("ledger", "deliveries of this flow", "/subscriptions/"+url.PathEscape(d.Subscription)+query("flow", f.ID)+"#deliveries")
	if of.Time != nil {
		n.add("time", dividedText(of.Time), "")
	}
	if d.Attempts > 0 {
		n.add("attempts", count(d.Attempts), "")
	}
	if d.Probes > 0 {
		n.add("did not count", count(d.Probes)+", since the endpoint failed", "")
	}
	n.at("next attempt", d.NextAttempt)
	if d.Behind != nil {
		n.add("behind", d.Behind.String(), flowHref(f.ID, d.Behind.String()))
	}
	if d.DeadLetter != "" {
		n.add("dead letter", d.DeadLetter, "/dead-letters/"+url.PathEscape(d.Subscription)+"/"+url.PathEscape(d.DeadLetter))
	}
	if d.Version > 0 {
		n.add("judged by", "version "+strconv.Itoa(d.Version)+" of the declaration, epoch "+strconv.FormatUint(d.Epoch, 10), "")
	}
	if d.Position.Topic != "" {
		n.Curl = v.curl(http.MethodGet, "/v1/subscriptions/"+url.PathEscape(d.Subscription)+"/deliveries"+query("position", d.Position.String()))
	}
}

func (n *flowNode) attempt(a *tandem.Attempt) {
	n.add("waited", durationText(time.Duration(a.Wait)), "")
	if a.Status > 0 {
		n.add("status", strconv.Itoa(a.Status), "")
	}
	n.add("what came back", a.Detail, "")
	if a.Number == 0 {
		n.add("counts", "no, since the endpoint failed and not this event", "")
	}
}

func (n *flowNode) operation(op *tandem.Operation) {
	n.ofOperation(op.ID)
	n.add("state", string(op.State), "")
	n.at("ended", op.Ended)
	n.at("time is out", op.Expires)
}

// jumps leads to what caused a node, and to what it caused.
func (n *flowNode) jumps(f *tandem.Flow, of *step, all []*step) {
	here := func(other *step) jump {
		return jump{What: other.Word(), Name: other.Name(), Href: flowHref(f.ID, other.ID)}
	}
	for _, other := range all {
		if slices.Contains(of.Causes, other.ID) {
			n.Causes = append(n.Causes, here(other))
		}
		if slices.Contains(other.Causes, of.ID) {
			n.Effects = append(n.Effects, here(other))
		}
	}
	for _, l := range f.Links {
		if l.Node != of.ID {
			continue
		}
		j := jumpsOf([]tandem.FlowLink{l})[0]
		j.What = "in another flow"
		if l.Kind == tandem.FlowCause {
			n.Causes = append(n.Causes, j)
		} else {
			n.Effects = append(n.Effects, j)
		}
	}
	n.More = max(0, len(n.Effects)-maxJumps)
	n.Effects = n.Effects[:len(n.Effects)-n.More]
}
