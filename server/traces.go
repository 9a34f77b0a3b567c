package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/otlp"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// sampling is how traces begin.
func (o *Options) sampling() tracecontext.Sampling {
	s := tracecontext.Sampling{Exports: o.Traces != "", Share: o.TracesSample}
	if s.Share == 0 {
		s.Share = 1
	}
	return s
}

// tracer makes spans of what the rooms tell: a request, under it the event that it became, under that the attempts to deliver it, and under these the
// replies. Names and attributes follow the OpenTelemetry conventions for HTTP, messaging and CloudEvents. A nil one makes none.
type tracer struct{ to *otlp.Exporter }

func newTracer(opts *Options) *tracer {
	if opts.Traces == "" {
		return nil
	}
	return &tracer{otlp.New(otlp.Options{URL: opts.Traces, Service: "tandem", Version: opts.Version, Logger: opts.Logger})}
}

func (t *tracer) stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.to.Stop(ctx)
}

func (t *tracer) register(metrics *prometheus.Registry) {
	if t != nil {
		metrics.MustRegister(t.to)
	}
}

// request is a part of the gateway's hook.
func (t *tracer) request(o *gateway.Observed) {
	if t == nil || !tracecontext.Sampled(o.TraceParent) {
		return
	}
	s := otlp.Span{Trace: o.Trace, ID: tracecontext.Span(o.TraceParent), Parent: o.Parent, Name: o.Method, Kind: otlp.Server, Began: o.Began, Ended: o.Began.Add(o.Took),
		Attributes: []otlp.Attribute{otlp.Text("http.request.method", o.Method), otlp.Text("url.path", o.Path), otlp.Text("tandem.flow", o.Flow),
			otlp.Text("tandem.service", o.Service), otlp.Text("tandem.operation", o.Operation)}}
	if i := strings.Index(o.Route, "/"); i >= 0 {
		path := o.Route[i:]
		s.Name += " " + path
		s.Attributes = append(s.Attributes, otlp.Text("http.route", path))
	}
	switch {
	case o.Status == 0:
		s.Failed = "the client left before there was an answer"
	case o.Status >= 500:
		s.Failed = http.StatusText(o.Status)
		s.Attributes = append(s.Attributes, otlp.Text("error.type", strconv.Itoa(o.Status)))
	}
	if o.Status != 0 {
		s.Attributes = append(s.Attributes, otlp.Number("http.response.status_code", int64(o.Status)))
	}
	t.to.Add(s)
}

// stored is the hook of the log.
func (t *tracer) stored() func(*tandem.Event, tandem.Position) {
	if t == nil {
		return nil
	}
	return func(ev *tandem.Event, at tandem.Position) {
		parent := ev.Meta.TraceParent
		if !tracecontext.Sampled(parent) {
			return
		}
		s := otlp.Span{Trace: tracecontext.ID(parent), ID: tracecontext.EventSpan(at.Topic, ev.Source, ev.ID), Parent: tracecontext.Span(parent),
			Name: "publish " + at.Topic, Kind: otlp.Producer, Began: ev.Meta.Accepted, Ended: time.Now(),
			Attributes: append(messaging(ev, at.Topic, "publish", "send"),
				otlp.Text("messaging.destination.partition.id", strconv.Itoa(at.Partition)),
				otlp.Number("messaging.message.body.size", int64(len(ev.Data))))}
		if s.Parent == s.ID {
			s.Parent = "" // the trace began with the event
		}
		t.to.Add(s)
	}
}

// attempted is the hook of deliveries.
func (t *tracer) attempted() func(*delivery.Attempted) {
	if t == nil {
		return nil
	}
	return func(a *delivery.Attempted) {
		if a.Event == nil {
			t.to.Add(batchSpan(a))
			return
		}
		ev, topic := &a.Event.Event, a.Event.Position.Topic
		s := otlp.Span{Trace: tracecontext.ID(a.TraceParent), ID: tracecontext.Span(a.TraceParent), Parent: tracecontext.EventSpan(topic, ev.Source, ev.ID),
			Name: "deliver " + topic, Kind: otlp.Consumer, Began: a.At, Ended: a.At.Add(a.Took),
			Attributes: append(messaging(ev, topic, "deliver", "process"),
				otlp.Text("messaging.destination.subscription.name", a.Subscription), otlp.Number("tandem.attempt", int64(a.Attempt)), otlp.Text("tandem.result", a.Result))}
		if a.Status != 0 {
			s.Attributes = append(s.Attributes, otlp.Number("http.response.status_code", int64(a.Status)))
		}
		if a.Failed {
			s.Failed = a.Result
			s.Attributes = append(s.Attributes, otlp.Text("error.type", a.Result))
		}
		t.to.Add(s)
	}
}

// batchSpan is that of a request with several events, of which each attempt is a span, too.
func batchSpan(a *delivery.Attempted) otlp.Span {
	s := otlp.Span{Trace: tracecontext.ID(a.TraceParent), ID: tracecontext.Span(a.TraceParent), Name: "deliver batch", Kind: otlp.Consumer, Began: a.At, Ended: a.At.Add(a.Took),
		Attributes: []otlp.Attribute{otlp.Text("messaging.system", "tandem"), otlp.Text("messaging.operation.name", "deliver"), otlp.Text("messaging.operation.type", "process"),
			otlp.Text("messaging.destination.subscription.name", a.Subscription), otlp.Number("messaging.batch.message_count", int64(len(a.Attempts)))}}
	for _, parent := range a.Attempts {
		s.Links = append(s.Links, otlp.Link{Trace: tracecontext.ID(parent), ID: tracecontext.Span(parent)})
	}
	if a.Status != 0 {
		s.Attributes = append(s.Attributes, otlp.Number("http.response.status_code", int64(a.Status)))
	}
	if a.Failed {
		s.Failed = "the request failed"
	}
	return s
}

func messaging(ev *tandem.Event, topic, name, kind string) []otlp.Attribute {
	return []otlp.Attribute{otlp.Text("messaging.system", "tandem"), otlp.Text("messaging.destination.name", topic), otlp.Text("messaging.operation.name", name),
		otlp.Text("messaging.operation.type", kind), otlp.Text("messaging.message.id", ev.ID), otlp.Text("cloudevents.event_id", ev.ID),
		otlp.Text("cloudevents.event_source", ev.Source), otlp.Text("cloudevents.event_type", ev.Type), otlp.Text("tandem.flow", ev.Meta.Flow)}
}
