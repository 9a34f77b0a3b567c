package server

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem/internal/gateway"
)

// noRoute labels requests that match no route. No route can be named so.
const noRoute = "(none)"

// answers are the classes of answers that requests are counted by; the first are those whose client left early.
var answers = [...]string{"left", "1xx", "2xx", "3xx", "4xx", "5xx"}

// requests counts what the public listener answers. Its series are bounded by the routes of the configuration.
type requests struct {
	seconds *prometheus.HistogramVec
	// handles are resolved when routes change, so that a request looks up no labels.
	handles atomic.Pointer[map[string]*[len(answers)]prometheus.Observer]
}

func newRequests(registry *prometheus.Registry) *requests {
	r := &requests{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tandem_gateway_request_seconds",
		Help:    "Time to answer a request of the public listener, without streams that take over their connection.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "answer"})}
	registry.MustRegister(r.seconds)
	r.apply(nil)
	return r
}

// apply resolves the handles of routes. Series of routes that are gone are dropped.
func (r *requests) apply(routes []gateway.Route) {
	handles := make(map[string]*[len(answers)]prometheus.Observer, len(routes)+1)
	for _, route := range append([]gateway.Route{{Match: noRoute}}, routes...) {
		var byClass [len(answers)]prometheus.Observer
		for i, class := range answers {
			byClass[i] = r.seconds.WithLabelValues(route.Match, class)
		}
		handles[route.Match] = &byClass
	}
	if old := r.handles.Swap(&handles); old != nil {
		for name := range *old {
			if handles[name] == nil {
				r.seconds.DeletePartialMatch(prometheus.Labels{"route": name})
			}
		}
	}
}

// observe is a part of the gateway's hook.
func (r *requests) observe(o *gateway.Observed) {
	byClass := (*r.handles.Load())[o.Route]
	if byClass == nil {
		byClass = (*r.handles.Load())[noRoute]
	}
	byClass[min(max(o.Status, 0)/100, len(answers)-1)].Observe(o.Took.Seconds())
}
