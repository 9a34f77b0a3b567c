package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// flowHref is where a flow is shown, with one of its nodes unfolded. The node is named as step.is says; "" is for
// the first event.
func flowHref(id, node string) string {
	to := "/flows/" + url.PathEscape(id) + query("node", node)
	if node != "" {
		to += "#node"
	}
	return to
}

// flowOfEvent is where the flow of an event of a topic is shown.
func flowOfEvent(topic string, e *tandem.Event) string {
	if e.Meta.Flow == "" {
		return "/flows" + query("event", e.ID, "source", e.Source)
	}
	return flowHref(e.Meta.Flow, tandem.Ref(topic, e.Source, e.ID))
}

// flowsAsk is which flows are looked for, as the form says it.
type flowsAsk struct {
	Flow, Event, Source, Operation, Trace string // one flow, or a few
	Key, Type, State, Since               string
	After                                 string
}

// exact reports whether what is looked for has its flow, or its few.
func (a *flowsAsk) exact() bool { return a.Event != "" || a.Operation != "" || a.Trace != "" }

// query is what the API is asked. Since is a time, or how long ago it was.
func (a *flowsAsk) query(now time.Time) (tandem.FlowQuery, error) {
	q := tandem.FlowQuery{Event: a.Event, Source: a.Source, Operation: a.Operation, Trace: a.Trace, Key: a.Key, Type: a.Type, State: a.State, After: a.After, Limit: eventsPerPage}
	if a.Since == "" {
		return q, nil
	}
	at, ok := tandem.ParseTime(a.Since)
	if ago, err := time.ParseDuration(a.Since); err == nil && ago > 0 {
		at, ok = now.Add(-ago), true
	}
	if !ok {
		return q, tandem.Errorf(tandem.CodeInvalid, "%q is neither a time nor how long ago one was", clean(a.Since, 60)).WithHint("write 2h, or a time in UTC such as 2026-01-31T09:30:00Z")
	}
	q.Since = at
	return q, nil
}

// flowsPage is a list of flows, the newest first.
type flowsPage struct {
	Ask     flowsAsk
	States  []string
	Rows    []flowsRow
	Next    string
	Problem *tandem.Problem
}

type flowsRow struct {
	tandem.FlowSummary
	Href string
}

// Took is how long the flow went on; nothing while it does.
func (r *flowsRow) Took() string {
	if r.Ended.IsZero() {
		return "–"
	}
	return durationText(r.Ended.Sub(r.Started))
}

// flows looks for flows. What leads to one flow alone leads there.
func (v *visit) flows() error {
	values := v.r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	p := flowsPage{States: []string{tandem.FlowRunning, tandem.FlowDone, tandem.FlowFailed},
		Ask: flowsAsk{get("flow"), get("event"), get("source"), get("operation"), get("trace"), get("key"), get("type"), get("state"), get("since"), get("after")}}
	if p.Ask.Flow != "" {
		v.see(flowHref(p.Ask.Flow, ""), nil)
		return nil
	}
	q, err := p.Ask.query(time.Now())
	var page tandem.FlowPage
	if err == nil {
		page, err = v.api.Flows(v.r.Context(), q)
	}
	if err != nil {
		p.Problem = tandem.ProblemOf(err)
	}
	for _, f := range page.Flows {
		row := flowsRow{f, flowHref(f.ID, "")}
		if f.First != nil {
			row.Href = flowHref(f.ID, f.First.Ref)
		}
		p.Rows = append(p.Rows, row)
	}
	if len(p.Rows) == 1 && p.Ask.exact() {
		v.see(p.Rows[0].Href, nil)
		return nil
	}
	if page.Next != "" {
		p.Next = "/flows" + query("key", p.Ask.Key, "type", p.Ask.Type, "state", p.Ask.State, "since", p.Ask.Since, "after", page.Next)
	}
	v.show(http.StatusOK, "flows", "Flows", &p)
	return nil
}
