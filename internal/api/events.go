package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// readTopic answers GET /v1/topics/{topic}/events.
func (a *API) readTopic(c *call) error { return a.readEvents(c, []string{c.arg}) }

// readTopics answers GET /v1/events.
func (a *API) readTopics(c *call) error { return a.readEvents(c, nil) }

// maxSelected bounds the names and patterns of one request.
const maxSelected = 100

// readEvents hands a GET over to the streams, which read the parameters about place and waiting.
func (a *API) readEvents(c *call, topics []string) error {
	values, err := c.query("cursor", "from", "last", "limit", "wait", "slow", "credit", "filter", "type", "source", "subject", "topic")
	if err != nil {
		return err
	}
	switch given := values["topic"]; {
	case topics == nil && len(given) == 0:
		return tandem.Errorf(tandem.CodeInvalid, "no topic is selected").
			WithField("topic", "must be there at least once: a name, or a pattern such as orders.* or **")
	case topics == nil && len(given) > maxSelected:
		return tandem.Errorf(tandem.CodeInvalid, "too many topics are selected").
			WithField("topic", "may be there %d times", maxSelected).WithHint("use a pattern")
	case topics == nil:
		topics = given
	case len(given) > 0:
		return tandem.Errorf(tandem.CodeInvalid, "the path names the topic").WithField("topic", "is for /v1/events")
	}
	ask := tandem.StreamRequest{Topics: topics, Principal: c.who.Name}
	if ask.Filter, err = a.parseFilter(values); err != nil {
		return err
	}
	if c.arg != "" && c.who.Can(auth.RolePublish) && !strings.HasPrefix(c.arg, "_") {
		ask.Publish = a.publishEach(c)
	}
	a.opts.Streams.Serve(&c.w, c.r, ask)
	return nil
}

// publishEach returns what stores the events that the client of a stream sends. It outlives the call and keeps nothing of it.
func (a *API) publishEach(c *call) func(context.Context, []tandem.Event) []tandem.Stored {
	o := options{topic: c.arg, producer: c.who.Name}
	o.traceParent, o.traceState = tracecontext.FromHeader(c.r.Header)
	return func(ctx context.Context, events []tandem.Event) []tandem.Stored {
		for i := range events {
			o.stamp(&events[i], i, tandem.NewID())
		}
		out := a.opts.Chain.AppendEach(ctx, o.topic, events)
		for i := range out {
			if out[i].Err == nil {
				a.metrics.published(o.topic, events[i:i+1])
			}
		}
		return out
	}
}

// parseFilter reads filter=, JSON, and its short forms type=, source= and subject=, all of which must match.
func (a *API) parseFilter(values url.Values) (tandem.Filter, error) {
	var all []tandem.Filter
	for _, name := range []string{"type", "source", "subject"} {
		if v := values.Get(name); v != "" {
			f, err := tandem.FilterOf(map[string]any{"exact": map[string]any{name: v}})
			if err != nil {
				return f, tandem.Errorf(tandem.CodeInvalid, "the filter is invalid").WithField(name, "%s", detail(err))
			}
			all = append(all, f)
		}
	}
	if v := values.Get("filter"); v != "" {
		f, err := tandem.ParseFilter([]byte(v))
		if err == nil {
			f, err = f.Bind(a.opts.Conditions)
		}
		if err != nil {
			bad := tandem.Errorf(tandem.CodeOf(err), "the filter cannot be read")
			fields := tandem.ProblemOf(err).Errors
			for _, field := range fields {
				bad.WithField("filter", "%s %s", field.Pointer, field.Detail)
			}
			if len(fields) == 0 {
				bad.WithField("filter", "%s", detail(err))
			}
			return f, bad.WithHint(`a filter is JSON such as {"type":"order.placed"} or {"prefix":{"subject":"eu-"}}`)
		}
		all = append(all, f)
	}
	return tandem.AllOf(all...)
}

func detail(err error) string { return tandem.ProblemOf(err).Detail }

// query parses the query and refuses parameters that the resource does not know: one that is misspelled would otherwise
// do nothing. Only topic may be there more than once.
func (c *call) query(known ...string) (url.Values, error) {
	if c.r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, tandem.Errorf(tandem.CodeInvalid, "the query cannot be read: %w", err)
	}
	bad := faults{text: "the query is invalid"}
	for name, list := range values {
		switch {
		case !slices.Contains(known, name):
			bad.add(shorten(name), "is not a parameter here")
		case len(list) > 1 && name != "topic":
			bad.add(name, "must be there once")
		}
	}
	if bad.err == nil {
		return values, nil
	}
	slices.SortFunc(bad.err.Fields, func(a, b tandem.FieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
	if len(known) == 0 {
		return nil, bad.err.WithHint("there are none here")
	}
	return nil, bad.err.WithHint("parameters here are %s", strings.Join(known, ", "))
}
