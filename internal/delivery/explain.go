package delivery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// stop is why nothing of a subscription is delivered; the zero stop while it is.
type stop struct {
	code, reason string
	since        time.Time
	by           string
	next         time.Time // when it is seen whether it goes on
}

// stop is state with the facts behind it.
func (s *subscription) stop() stop {
	state, reason := s.state()
	st := stop{code: state, reason: reason}
	switch c := &s.config; state {
	case "running", "ended": // a replay that has ended still redrives
		return stop{}
	case "paused":
		st.since, st.by = c.PausedAt, c.PausedBy
	case "disabled":
		st.since = c.DisabledAt
	case "orphan":
		st.since = c.OrphanAt
	case "failing":
		st.code = tandem.WhyStore
		if !s.storeFails {
			st.code, st.since, st.next = tandem.WhyEndpoint, s.endpoint.since, s.endpoint.probeAt
		}
	}
	return st
}

// fact is what a row of the ledger does not say of a delivery without outcome.
type fact struct {
	code  string
	since time.Time // of a lease
	until time.Time
	by    string
	pulls bool // clients fetch it

	head   *tandem.Delivery // behind which it waits
	headAt where
}

func (s *subscription) fact(d *delivery) fact {
	f := fact{pulls: s.pulled()}
	switch {
	case d.lease.hand != nil:
		f.code, f.since, f.until, f.by = tandem.WhyLeased, d.began, d.lease.hand.until, d.lease.hand.by
	case d.stage == stageSending || d.stage == stageStarting || d.stage == stageStoring:
		f.code = tandem.WhySending
	case d.lane != nil && d.lane.queue[0] != d:
		head := s.describe(d.lane.queue[0])
		f.code, f.head, f.headAt = tandem.WhyBehind, &head, d.lane.queue[0].where
	case d.home == homeRedrive:
		f.code = tandem.WhyRedriving
	case d.stage == stageRetrying || d.attempts > 0 || d.probes > 0:
		f.code = tandem.WhyRetrying
	default:
		f.code = tandem.WhyQueued
	}
	return f
}

// Explain says of a subscription, or with "" of every one that selects the topic of an event or once did, why it got the event at a position or did not.
// There is at least one reason. Code: Unavailable.
func (m *Manager) Explain(ctx context.Context, at tandem.Position, name string) ([]tandem.Reason, error) {
	one := func(r tandem.Reason) ([]tandem.Reason, error) {
		r.Position = at
		r.Sentence = sentence(&r)
		return []tandem.Reason{r}, nil
	}
	info, ok := m.topic(at.Topic)
	if !ok {
		return one(tandem.Reason{Code: tandem.WhyNoTopic})
	}
	w := where{info.ID, at.Partition, at.Offset}
	var rec *tandem.Record
	if at.Partition >= 0 && at.Partition < info.Partitions {
		var err error
		if rec, err = m.readOne(ctx, w); err != nil {
			return nil, err
		}
	}
	if rec == nil {
		r, err := m.absent(ctx, w, info.Partitions)
		if err != nil || r.Code != "" {
			rs, _ := one(r)
			return rs, err
		}
	}
	var out []tandem.Reason
	add := func(s *subscription, older *past) error {
		r, err := s.explain(ctx, older, at.Topic, w, rec)
		out = append(out, r)
		return tandem.Wrap("explain "+s.name, err)
	}
	if name == "" {
		if err := m.eachOf(ctx, at.Topic, add); err != nil {
			return nil, err
		}
	} else if s, err := m.find(name); err == nil {
		if err := add(s, &past{}); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return one(tandem.Reason{Code: tandem.WhyNoSubscription, Subscription: name})
	}
	return out, nil
}

// absent says why there is no event at a place; nothing where there was one.
func (m *Manager) absent(ctx context.Context, w where, partitions int) (r tandem.Reason, err error) {
	none := tandem.Reason{Code: tandem.WhyNoEvent}
	if w.part < 0 || w.part >= partitions {
		return none, nil
	}
	first, conflict, ok, err := m.log.RepeatOf(ctx, w.topic, w.part, w.offset)
	if err != nil || ok {
		return tandem.Reason{Code: tandem.WhyDuplicate, First: &first, Conflict: conflict}, err
	}
	b, err := m.log.Bounds(ctx, w.topic, w.part)
	if err != nil || w.offset >= max(b.Removed, b.Start) {
		return none, err
	}
	return r, nil
}

// explain says why the subscription got an event or did not. rec is nil when the event is not stored any more.
func (s *subscription) explain(ctx context.Context, older *past, topic string, w where, rec *tandem.Record) (r tandem.Reason, err error) {
	st, err := s.standing(ctx, older, topic, w, rec)
	if err != nil {
		return r, err
	}
	d := &st.rows[0]
	r = tandem.Reason{Subscription: s.name, Position: d.Position, Delivery: d, Earlier: slices.Clip(st.rows[1:])}
	r.Since, _ = tandem.ParseTime(d.Ended)
	r.NextAttempt, _ = tandem.ParseTime(d.NextAttempt)
	r.Code = cmp.Or(st.code, codeOf(d))
	switch r.Code {
	case tandem.WhyTopics, tandem.WhyFilter:
		s.judged(&r, &st, w, rec)
		if len(st.view.config.current().Topics) == 0 { // the declaration is what is damaged
			stopped(&r, &st.view.stop)
		}
	case tandem.WhyBefore:
		r.Since = st.judges[0].At
	case tandem.WhySeek:
		if r.Since.IsZero() {
			r.Since = st.judges.began(st.view.config.Epoch)
		}
	case tandem.WhyUnread:
		stopped(&r, &st.view.stop)
		if next := st.view.next; next < w.offset && r.Code != tandem.WhyDamaged {
			if r.Unread, err = s.m.stored(ctx, w.topic, w.part, next, w.offset); err != nil {
				return r, err
			}
		}
	case "":
		err = s.open(ctx, &r, &st)
	}
	r.Sentence = sentence(&r)
	return r, err
}

// codeOf returns the code of an outcome, "" of a delivery without one.
func codeOf(d *tandem.Delivery) string {
	switch d.State {
	case tandem.DeliveryDelivered:
		return tandem.WhyDelivered
	case tandem.DeliveryDead:
		return tandem.WhyDead
	case tandem.DeliveryDiscarded:
		return tandem.WhyDiscarded
	case tandem.DeliveryExpired:
		return tandem.WhyExpired
	case tandem.DeliveryPassed:
		return tandem.WhySeek
	case tandem.DeliveryUnknown:
		return tandem.WhyUnknown
	}
	return ""
}

// open adds the facts of a delivery without outcome.
func (s *subscription) open(ctx context.Context, r *tandem.Reason, st *standing) error {
	r.Code = tandem.WhyRedriving // unless there is more of it than its dead letter
	if i := slices.IndexFunc(st.view.rows, func(d tandem.Delivery) bool { return d.Epoch == r.Delivery.Epoch }); i >= 0 {
		f := &st.view.facts[i]
		r.Code, r.Since, r.Until, r.By = f.code, f.since, f.until, f.by
		switch {
		case f.head != nil:
			rec, err := s.m.readOne(ctx, f.headAt)
			if err != nil {
				return err
			}
			describeEvent(f.head, rec)
			h := f.head
			r.Behind = &tandem.FlowEvent{Position: h.Position, Ref: tandem.Ref(h.Position.Topic, h.Source, h.ID), ID: h.ID, Source: h.Source, Type: h.Type, Key: h.Key}
			r.NextAttempt, _ = tandem.ParseTime(h.NextAttempt)
			r.Detail = attemptsOf(h)
		case f.code == tandem.WhyQueued && f.pulls:
			r.Detail = "no client has pulled it"
		}
	}
	if code := st.view.stop.code; code != tandem.WhyCapped && r.Code != tandem.WhyLeased && r.Code != tandem.WhySending { // what was read goes on
		stopped(r, &st.view.stop)
	}
	return nil
}

// stopped makes the reason why nothing of the subscription is delivered, if there is one, that of r.
func stopped(r *tandem.Reason, st *stop) {
	if st.code != "" {
		r.Code, r.Detail, r.Since, r.By, r.NextAttempt = st.code, st.reason, st.since, st.by, st.next
	}
}

// judged adds the version of the declaration that judged an event, and what of it did not match.
func (s *subscription) judged(r *tandem.Reason, st *standing, w where, rec *tandem.Record) {
	j, ok := st.judges.of(r.Delivery.Epoch, w)
	if !ok {
		j = st.judges[0] // the subscription began after the event, for other topics
		r.Delivery.Version = j.number
	}
	r.Since = j.At
	if r.Code == tandem.WhyTopics {
		r.Topics = j.Declaration.Topics
	} else if rec != nil {
		r.Clause = j.Declaration.Filter.Clause(&rec.Event)
	}
}

// began returns when an epoch began, as far as that is known.
func (js judges) began(epoch uint64) time.Time {
	if i := slices.IndexFunc(js, func(j judge) bool { return j.Epoch == epoch }); i >= 0 {
		return js[i].At
	}
	return time.Time{}
}

// ExplainCalls returns the calls of request chains that failed for an event, so that it was not stored: those of the newest chain. Code: Unavailable.
func (m *Manager) ExplainCalls(ctx context.Context, source, id string) ([]tandem.Reason, error) {
	rows, _, err := m.failedCalls(ctx, time.Time{}, true, func(r *row) bool { return r.ID == id && r.Source == source })
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	newest := slices.MaxFunc(rows, func(a, b tandem.Delivery) int { return timeOf(&a).Compare(timeOf(&b)) })
	var out []tandem.Reason
	for i := range rows {
		d := &rows[i]
		if d.Flow != newest.Flow {
			continue
		}
		r := tandem.Reason{Code: tandem.WhyCallFailed, Subscription: d.Subscription, Delivery: d, Since: timeOf(d), Detail: d.Reason}
		r.Sentence = sentence(&r)
		out = append(out, r)
	}
	return out, nil
}
