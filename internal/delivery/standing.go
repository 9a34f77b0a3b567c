package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// view is a subscription at one moment, as far as one place is concerned.
type view struct {
	config  config
	horizon horizon
	off     bool // no ledger is kept
	why     string
	read    bool // the current epoch has read past the place
	beyond  bool // a replay ends before it
	pending bool // an outcome is being stored
	rows    []tandem.Delivery
	facts   []fact // of rows
	stop    stop
	next    uint64 // where reading goes on in the partition of the place
}

func (s *subscription) view(w where) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{config: s.config, horizon: s.ledger.horizon, off: s.ledger.off, beyond: s.beyond(w.topic, w.part, w.offset), why: s.standsStill(),
		stop: s.stop()}
	if t := s.tracks[w.topic]; t != nil && w.part < len(t.parts) {
		v.next, _ = t.parts[w.part].place()
		v.read = w.offset < v.next
	}
	s.eachOpen(func(d *delivery) {
		if d.where == w {
			v.rows, v.facts = append(v.rows, s.describe(d)), append(v.facts, s.fact(d))
		}
	})
	for _, all := range [][]outcome{s.ledger.pending, s.ledger.flying} {
		v.pending = v.pending || slices.ContainsFunc(all, func(o outcome) bool { return o.has(w) })
	}
	return v
}

// eachOpen calls fn for the deliveries that have no outcome.
func (s *subscription) eachOpen(fn func(*delivery)) {
	for _, t := range s.tracks {
		for i := range t.parts {
			for _, d := range t.parts[i].held {
				fn(d)
			}
		}
	}
	for d := range s.parked {
		fn(d)
	}
	for _, d := range s.redrives {
		if d.stage != stageSettled {
			fn(d)
		}
	}
	for _, l := range s.lanes {
		for _, d := range l.queue {
			// Of a topic that was deleted, what is in memory is still delivered.
			if d.home == homeWaiting || d.home == homeLog && s.tracks[d.topic] == nil {
				fn(d)
			}
		}
	}
}

// describe returns how a delivery without outcome stands.
func (s *subscription) describe(d *delivery) tandem.Delivery {
	out := tandem.Delivery{Subscription: s.name, Epoch: d.epoch, Key: d.key, Attempts: d.attempts, Probes: d.probes,
		History: slices.Clone(d.history), Accepted: rfc3339(d.accepted), Position: s.position(d)}
	describeEvent(&out, d.rec)
	if d.home == homeRedrive {
		out.DeadLetter, out.Reason = d.redrive, "a dead letter that is redriven"
	}
	tried := func(d *delivery) bool { return d.attempts > 0 || d.probes > 0 }
	switch {
	case d.stage == stageSending || d.stage == stageStarting || d.stage == stageStoring:
		out.State = tandem.DeliverySending
	case d.lane != nil && d.lane.queue[0] != d:
		head := d.lane.queue[0]
		at := s.position(head)
		out.State, out.Behind = tandem.DeliveryQueued, &at
		if head.stage != stageSending && head.stage != stageStarting && tried(head) {
			out.State = tandem.DeliveryWaiting
		}
	case d.stage == stageRetrying || tried(d):
		out.State, out.NextAttempt = tandem.DeliveryRetrying, rfc3339(d.due)
		if s.endpoint.failing {
			out.Reason, out.NextAttempt = "the endpoint fails: "+s.endpoint.reason, rfc3339(s.endpoint.probeAt)
		}
	default:
		out.State = tandem.DeliveryQueued
	}
	if out.State != tandem.DeliverySending && out.Reason == "" {
		switch state, _ := s.state(); state {
		case "running", "capped": // what was read goes on
		default:
			out.Reason, out.NextAttempt = s.standsStill(), ""
		}
	}
	return out
}

// standsStill says why nothing of the subscription is delivered, "" while it is.
func (s *subscription) standsStill() string {
	state, reason := s.state()
	if state == "running" {
		return ""
	}
	return "the subscription is " + state + ": " + reason
}

func (s *subscription) position(d *delivery) tandem.Position {
	name := d.topicName
	if name == "" {
		name = s.m.topicName(d.topic)
	}
	return tandem.Position{Topic: name, Partition: d.part, Offset: d.offset}
}

// isKnown reports whether everything that ended since an event was accepted is in the ledger.
func (h *horizon) isKnown(rec *tandem.Record) bool {
	return h.Whole || rec != nil && !rec.Meta.Accepted.Before(h.Since)
}

// standing is how the delivery of one event stands.
type standing struct {
	view   view
	judges judges
	code   string // why the first row stands so, "" where its state says it
	// rows are how it stands, at least one, and after that the outcomes that it got in other epochs, newest first.
	rows []tandem.Delivery
}

// standing returns how the delivery of one event stands. rec is nil when the event is not stored any more.
func (s *subscription) standing(ctx context.Context, older *past, topic string, w where, rec *tandem.Record) (st standing, err error) {
	v := s.view(w)
	if v.pending {
		if err := s.flush(ctx); err != nil {
			return st, tandem.Wrap("store the outcome that is asked for", err)
		}
		v = s.view(w)
	}
	outcomes, err := s.lookup(ctx, w)
	if err != nil {
		return st, err
	}
	rows := v.rows
	for i := range outcomes {
		f := &outcomes[i]
		if hasEpoch(v.rows, f.Epoch) {
			continue // a dead letter that is redriven now
		}
		if f.run {
			describeEvent(&f.Delivery, rec)
		}
		rows = append(rows, f.Delivery)
	}
	if rows, err = s.addLetters(ctx, w, rows); err != nil {
		return st, err
	}
	// What a seek went over in one epoch may have been delivered in an earlier one: that says more.
	slices.SortStableFunc(rows, func(a, b tandem.Delivery) int {
		return cmp.Or(cmp.Compare(passedRank(&a), passedRank(&b)), cmp.Compare(b.Epoch, a.Epoch))
	})
	js, err := older.judges(ctx, s, &v.config)
	if err != nil {
		return st, err
	}
	if !hasEpoch(rows, v.config.Epoch) {
		passed := rec != nil && len(rows) > 0 && rows[0].State == tandem.DeliveryPassed
		outcomes := rows
		if passed {
			outcomes = nil // the declarations may say more
		}
		first, code, err := s.infer(ctx, &v, js, topic, w, rec, outcomes)
		if err != nil {
			return st, err
		}
		if first != nil && !(passed && first.State == tandem.DeliveryPassed) {
			rows, st.code = slices.Insert(rows, 0, *first), code
		}
	}
	for i := range rows {
		d := &rows[i]
		d.Position.Topic = topic
		if d.ID == "" {
			describeEvent(d, rec)
		}
		if j, ok := js.of(d.Epoch, w); ok {
			d.Version = j.number
		}
	}
	st.view, st.judges, st.rows = v, js, rows
	return st, nil
}

func passedRank(d *tandem.Delivery) int {
	if d.State == tandem.DeliveryPassed {
		return 1
	}
	return 0
}

func hasEpoch(rows []tandem.Delivery, epoch uint64) bool {
	return slices.ContainsFunc(rows, func(d tandem.Delivery) bool { return d.Epoch == epoch })
}

// addLetters adds the dead letters of a place that are older than the ledger, and says of those that it has whether they wait to be
// redriven.
func (s *subscription) addLetters(ctx context.Context, w where, rows []tandem.Delivery) ([]tandem.Delivery, error) {
	prefix := s.key(kindDead)
	var bad error
	err := s.m.log.ScanState(ctx, prefix+deadPrefix(w), func(key string, value []byte) bool {
		id := key[len(prefix):]
		_, epoch, ok := parseDeadID(id)
		if !ok || hasEpoch(rows, epoch) {
			return true
		}
		l, rec, err := parseLetter(value)
		if err != nil {
			bad = damaged(key, err)
			return false
		}
		r := row{State: tandem.DeliveryDead, Reason: "a dead letter: " + l.Reason, Attempts: l.Attempts, Probes: l.Probes, History: l.History,
			DeadLetter: id, Ended: l.At}
		r.event(&rec)
		rows = append(rows, r.delivery(s.name, w, epoch))
		return true
	})
	if err == nil {
		err = bad
	}
	for i := range rows {
		d := &rows[i]
		if err != nil || d.State != tandem.DeliveryDead {
			continue
		}
		for _, kind := range []string{kindRedrive, kindPaced} {
			var redrive []byte
			if redrive, err = s.m.log.State(ctx, s.key(kind)+d.DeadLetter); redrive != nil {
				d.State, d.Reason, d.Ended = tandem.DeliveryQueued, "a dead letter that waits to be redriven", ""
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return rows, err
}

// infer returns what follows for a place from the declarations and the ranges, where the current epoch has no row of it; nil when the
// outcome of an earlier epoch says it. The code says why, where the state alone does not.
func (s *subscription) infer(ctx context.Context, v *view, js judges, topic string, w where, rec *tandem.Record, outcomes []tandem.Delivery) (_ *tandem.Delivery, code string, _ error) {
	d := &tandem.Delivery{Subscription: s.name, Epoch: v.config.Epoch, Position: tandem.Position{Topic: topic, Partition: w.part, Offset: w.offset}}
	say := func(code, state, reason string, args ...any) (*tandem.Delivery, string, error) {
		d.State, d.Reason = state, fmt.Sprintf(reason, args...)
		return d, code, nil
	}
	j, current := js.of(v.config.Epoch, w)
	unread := current && !v.read && j.selects(topic, rec)
	if rec == nil && !unread { // whatever the declarations say of it now, what became of it says more
		for _, epoch := range js.epochs() {
			if len(outcomes) > 0 && epoch <= outcomes[0].Epoch {
				break
			}
			r, ok, err := s.lookupRange(ctx, epoch, w)
			if err != nil || ok && (len(outcomes) == 0 || r.State != tandem.DeliveryPassed) {
				return &r, "", err
			}
		}
	}
	if len(outcomes) > 0 && (!current || rec == nil && !unread) {
		return nil, "", nil // the epoch began after it, or after it was gone
	}
	for i := len(js) - 1; i >= 0 && !current; i-- { // the newest epoch that read so far back
		var ok bool
		if j, ok = js.of(js[i].Epoch, w); ok {
			d.Epoch = j.Epoch
			break
		}
	}
	switch {
	case j.version == nil && !js.whole():
		return say(tandem.WhyUnknown, tandem.DeliveryUnknown, "the ledger does not go back to the declaration of that time")
	case j.version == nil && !js[0].selects(topic, nil):
		return say(tandem.WhyTopics, tandem.DeliverySkipped, "the topics of the subscription do not match")
	case j.version == nil:
		return say(tandem.WhyBefore, tandem.DeliveryPassed, "the subscription began after it")
	case !matchesTopic(&j.Declaration, topic):
		return say(tandem.WhyTopics, tandem.DeliverySkipped, "the topics of version %d of the declaration do not match", j.number)
	case !j.selects(topic, rec):
		return say(tandem.WhyFilter, tandem.DeliverySkipped, "the filter of version %d of the declaration does not match", j.number)
	case rec != nil && isRequest(&j.Declaration) && s.took(rec):
		return say(tandem.WhyDelivered, tandem.DeliveryDelivered, "it was called before the event was stored; the ledger has no row of the call")
	case v.beyond:
		return say(tandem.WhyReplayEnd, tandem.DeliveryPassed, "the replay ends before it")
	case unread && rec == nil:
		return say(tandem.WhyExpired, tandem.DeliveryExpired, "retention removed the event before it was read")
	case unread:
		return say(tandem.WhyUnread, tandem.DeliveryUnread, "%s", cmp.Or(v.why, "the subscription has not come so far"))
	}
	if rec != nil {
		if r, ok, err := s.lookupRange(ctx, d.Epoch, w); ok || err != nil {
			return &r, "", err
		}
	}
	switch {
	case v.off:
		return say(tandem.WhyUnknown, tandem.DeliveryUnknown, "no ledger is kept")
	case !current && v.horizon.isKnown(rec):
		return say(tandem.WhySeek, tandem.DeliveryPassed, "a seek went over it")
	case rec == nil:
		return say(tandem.WhyUnknown, tandem.DeliveryUnknown, "the event is not stored any more, and the ledger has no row of it: the filter skipped it, or the row was older than the ledger goes back")
	}
	return say(tandem.WhyUnknown, tandem.DeliveryUnknown, "the ledger goes back to %s", v.horizon.Since.Format(time.RFC3339))
}
