package delivery

import (
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// Attempted is an attempt that is a span of the trace of its event, or a request with several of them, which is a span of a trace of its own. One
// that a client pulls is none.
type Attempted struct {
	Event        *tandem.Record // nil: it had several
	Attempts     []string       // then the traceparents of their attempts
	Subscription string
	TraceParent  string // that the endpoint was told
	Attempt      int    // from 1
	At           time.Time
	Took         time.Duration
	Status       int    // of the answer; zero when there was none
	Result       string // as in the metrics; of a request with several events empty
	Failed       bool
}

// enter makes an attempt a span.
func (m *Manager) enter(j *job) {
	if m.opts.Attempted != nil && !j.leased && tracecontext.Sampled(j.rec.Meta.TraceParent) {
		j.trace = m.opts.Sampling.Enter(j.rec.Meta.TraceParent, tracecontext.NewSpan())
	}
}

// left tells of an attempt that is a span and over.
func (m *Manager) left(j *job, r *result) {
	if j.trace == "" || r.at.IsZero() || int(r.verdict) >= len(resultNames) {
		return
	}
	m.opts.Attempted(&Attempted{Event: j.rec, Subscription: j.name, TraceParent: j.trace, Attempt: j.attempt, At: r.at, Took: r.took, Status: r.status,
		Result: resultNames[r.verdict], Failed: r.verdict != delivered})
}

// enterBatch returns the traceparent of a request with the events of jobs. If there are several it is in none of their traces: it links to all.
func (m *Manager) enterBatch(jobs []*job) string {
	if len(jobs) == 1 || !slices.ContainsFunc(jobs, (*job).isSpan) {
		return jobs[0].trace
	}
	return tracecontext.Begin(tandem.NewID())
}

func (j *job) isSpan() bool { return j.trace != "" }

// leftBatch tells of a request with several events.
func (m *Manager) leftBatch(jobs []*job, trace string, began time.Time, a *webhook.Answer) {
	if len(jobs) == 1 || trace == "" {
		return
	}
	request := &Attempted{Subscription: jobs[0].name, TraceParent: trace, Attempt: 1, At: began, Took: a.Took, Status: a.Status, Failed: !isSuccess(a.Status)}
	for _, j := range jobs {
		if j.isSpan() {
			request.Attempts = append(request.Attempts, j.trace)
		}
	}
	m.opts.Attempted(request)
}
