package flow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// CheckExplain reports what is wrong with a question. Code: Invalid.
func CheckExplain(q *tandem.ExplainQuery) error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the question is invalid")
	switch {
	case (q.Position == nil) == (q.Event == ""):
		bad.WithField("event", "one of event and position is needed")
	case (q.Source == "") != (q.Event == ""):
		bad.WithField("source", "goes with event: an event is known by both")
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// Explain says why an event arrived or did not. It is an answer, too, that there is no such event, topic or subscription. Codes: Invalid, Unavailable,
// Unsupported (an event by its id, and no index is kept).
func (f *Flows) Explain(ctx context.Context, q tandem.ExplainQuery) (tandem.Explanation, error) {
	out := tandem.Explanation{Events: []tandem.FlowEvent{}, Reasons: []tandem.Reason{}}
	if err := CheckExplain(&q); err != nil {
		return out, err
	}
	if f.opts.Ledger == nil {
		return out, tandem.Errorf(tandem.CodeUnsupported, "no ledger is kept")
	}
	var places []tandem.Position
	if q.Position != nil {
		places = append(places, *q.Position)
	} else if err := f.find(ctx, &q, &places); err != nil {
		return out, err
	}
	for _, at := range places {
		reasons, err := f.opts.Ledger.Explain(ctx, at, q.Subscription)
		if err != nil {
			return out, err
		}
		out.Reasons = append(out.Reasons, reasons...)
		e, err := f.eventAt(ctx, at)
		if err != nil {
			return out, err
		}
		if e != nil {
			out.Events = append(out.Events, *e)
		}
	}
	if len(places) > 0 {
		return out, nil
	}
	return out, f.notFound(ctx, &q, &out)
}

// find returns where an event lies, in whichever topics it is.
func (f *Flows) find(ctx context.Context, q *tandem.ExplainQuery, places *[]tandem.Position) error {
	if err := f.kept(); err != nil {
		return err
	}
	f.fresh(ctx)
	for _, t := range f.log.Topics() {
		_, place, ok, err := f.index.Find(tandem.Fingerprint(t.Name, q.Source, q.Event))
		if err != nil {
			return errIndex(err)
		}
		if ok && place.Topic == t.ID { // else it was in a topic of that name that was deleted
			*places = append(*places, f.position(place))
		}
	}
	return nil
}

// eventAt describes the event at a position, nil when there is none any more.
func (f *Flows) eventAt(ctx context.Context, at tandem.Position) (*tandem.FlowEvent, error) {
	topics := f.log.Topics()
	i := slices.IndexFunc(topics, func(t eventlog.TopicInfo) bool { return t.Name == at.Topic })
	if i < 0 || at.Partition < 0 || at.Partition >= topics[i].Partitions {
		return nil, nil
	}
	rec, err := f.read(ctx, flowindex.Place{Topic: topics[i].ID, Partition: at.Partition, Offset: at.Offset})
	if rec == nil || err != nil {
		return nil, err
	}
	e := &tandem.FlowEvent{Position: at, Ref: tandem.Ref(at.Topic, rec.Source, rec.ID)}
	describe(e, rec)
	return e, nil
}

// notFound says why there is no event with an id and a source: a call failed before it was stored, or nobody knows of one.
func (f *Flows) notFound(ctx context.Context, q *tandem.ExplainQuery, out *tandem.Explanation) error {
	s := f.Status(ctx)
	out.Searched = &tandem.Searched{Topics: len(f.log.Topics()), Since: s.Since, Behind: s.Behind}
	calls, err := f.opts.Ledger.ExplainCalls(ctx, q.Source, q.Event)
	if err != nil {
		return err
	}
	if own := slices.DeleteFunc(slices.Clone(calls), func(r tandem.Reason) bool { return r.Subscription != q.Subscription }); len(own) > 0 {
		calls = own
	}
	if out.Reasons = calls; len(calls) > 0 {
		return nil
	}
	text := fmt.Sprintf("There is no event %q of source %q in any topic, as far as the index of flows goes back, to %s", q.Event, q.Source, s.Since.UTC().Format(time.RFC3339))
	if s.Behind > 0 {
		text += fmt.Sprintf("; %d stored events are not in it yet", s.Behind)
	}
	out.Reasons = []tandem.Reason{{Code: tandem.WhyNoEvent, Sentence: text + ".", Subscription: q.Subscription}}
	return nil
}
