package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/browser"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// stream hands out events.
func (x *exchange) stream(r *http.Request) error {
	filter, err := x.route.filter.Expand(x.param)
	if err != nil {
		return err
	}
	ask := tandem.StreamRequest{Topics: x.route.Stream.Topics, Filter: filter, Principal: x.principal, Slow: x.route.Stream.Slow, Public: true}
	if x.route.Stream.Publish != nil {
		// The stream outlives the request: it keeps no more of it than it needs. What it publishes is in the trace of the client, if it
		// has one; else each event is a flow and begins a trace of its own.
		own := &exchange{g: x.g, route: x.route, principal: x.principal, params: x.params}
		own.traceParent, own.traceState = tracecontext.FromHeader(r.Header)
		ask.Publish = own.publishEach
	}
	x.g.opts.Streams.Serve(x, r, ask)
	return nil
}

// publishEach stores events that the client of a stream sent.
func (x *exchange) publishEach(ctx context.Context, events []tandem.Event) []tandem.Stored {
	out := make([]tandem.Stored, len(events))
	good := make([]tandem.Event, 0, len(events))
	for i := range events {
		if out[i].Err = x.own(&events[i]); out[i].Err == nil {
			good = append(good, events[i])
		}
	}
	if len(good) == 0 {
		return out
	}
	stored := x.g.opts.Chain.AppendEach(ctx, x.route.Stream.Publish.Topic, good)
	for i := range out {
		if out[i].Err == nil {
			out[i], stored = stored[0], stored[1:]
			out[i].Err = x.topicGone(out[i].Err)
		}
	}
	return out
}

// own makes an event of a client an event of the route. Like Tandem-… headers of clients, attributes that begin so are not theirs.
func (x *exchange) own(ev *tandem.Event) (err error) {
	p := x.route.Stream.Publish
	if ev.Type != "" && ev.Type != p.Type {
		return tandem.Errorf(tandem.CodeInvalid, "the event is not of this route").WithField("/type", "must be %s, or absent", p.Type)
	}
	if len(ev.Data) > int(x.route.maxBody) {
		return tandem.Errorf(tandem.CodeTooLarge, "the data is larger than %d bytes", x.route.maxBody)
	}
	if ev.ID != "" {
		ev.ID = tandem.DerivedID(append([]string{"stream", x.principal, x.route.source, ev.ID}, x.params.v[:len(x.route.pattern.names)]...)...)
	}
	flow := tandem.NewID()
	ev.Type, ev.Source, ev.Subject = p.Type, x.route.source, ""
	ev.Extensions = slices.DeleteFunc(ev.Extensions, func(e tandem.Extension) bool { return strings.HasPrefix(e.Name, "tandem") })
	ev.Meta = tandem.Meta{Flow: flow, Producer: x.principal, Route: x.route.Match, TraceParent: x.traceParent, TraceState: x.traceState}
	if ev.Subject, err = x.route.subject.of(x, ev); err == nil {
		ev.Meta.Key, err = x.route.key.of(x, ev)
	}
	return below("/data", err)
}

// client answers with the browser module.
func (x *exchange) client(r *http.Request) error {
	browser.Serve(x, r)
	return nil
}
