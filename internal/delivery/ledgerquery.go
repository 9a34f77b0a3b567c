package delivery

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	defaultDeliveries = 100
	maxDeliveries     = 1000
	// maxLooked is how much one page looks at: events of the log, or deliveries of the ledger. A delivery that is looked up by its place
	// counts as lookupCost.
	maxLooked  = 20_000
	lookupCost = 50
)

// Deliveries returns a page of the ledger.
//
// By Position it is one event: first how its delivery stands, then the outcomes that it got in other epochs, newest first. By ID or Key, and for
// the states skipped, unread and unknown, the topics are read, in order of topic, partition and offset; the rows whose events are not stored
// any more follow. Otherwise deliveries without outcome come first, in that order, then the outcomes, the newest first by some ten minutes, and
// within those by place. What a filter skipped, a seek went over or nobody read yet has a row only where the topics are read.
//
// Next goes with the same query. What happens between two pages may be missing or come twice. Codes: NotFound (the subscription, or no event
// at Position), Invalid, Unavailable.
func (m *Manager) Deliveries(ctx context.Context, name string, q tandem.DeliveryQuery) (tandem.DeliveryPage, error) {
	page := tandem.DeliveryPage{Deliveries: []tandem.Delivery{}}
	s, err := m.find(name)
	if err != nil {
		return page, err
	}
	at, err := checkQuery(&q)
	if err != nil {
		return page, err
	}
	if q.Position != nil {
		page.Deliveries, err = m.deliveriesAt(ctx, s, *q.Position)
		return page, tandem.Wrap("deliveries of "+name, err)
	}
	a := asking{m: m, s: s, q: &q, page: &page, at: at}
	err = a.run(ctx)
	return page, tandem.Wrap("deliveries of "+name, err)
}

// deliveriesAt returns the rows of one position.
func (m *Manager) deliveriesAt(ctx context.Context, s *subscription, p tandem.Position) ([]tandem.Delivery, error) {
	info, ok := m.topic(p.Topic)
	if !ok {
		return nil, tandem.Errorf(tandem.CodeNotFound, "there is no topic %q", p.Topic)
	}
	none := tandem.Errorf(tandem.CodeNotFound, "there is no event at %s", p)
	if p.Partition < 0 || p.Partition >= info.Partitions {
		return nil, none
	}
	w := where{info.ID, p.Partition, p.Offset}
	rec, err := m.readOne(ctx, w)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		b, err := m.log.Bounds(ctx, w.topic, w.part)
		if err != nil {
			return nil, err
		}
		if w.offset >= max(b.Removed, b.Start) {
			return nil, none
		}
	}
	st, err := s.standing(ctx, &past{}, p.Topic, w, rec)
	return st.rows, err
}

// phase is a part of the way through a query.
type phase int

const (
	phaseOpen   phase = iota // what is in memory, without outcome
	phaseLog                 // the events of the topics
	phaseLedger              // the outcomes
	phaseEnd
)

// place is where a page goes on: what Next holds.
type place struct {
	Query string    `json:"q"` // fingerprint of the query
	Phase phase     `json:"p"`
	Topic driver.ID `json:"t,omitempty"`
	Part  int       `json:"n,omitempty"`
	From  uint64    `json:"o,omitempty"` // offset
	Seg   uint64    `json:"s,omitempty"` // segment; zero: the newest
	Key   string    `json:"k,omitempty"` // in it
	Skip  int       `json:"i,omitempty"` // rows that were returned of that
}

// fingerprint tells one query from another.
func fingerprint(q *tandem.DeliveryQuery) string {
	sum := tandem.Fingerprint(q.ID, q.Source, q.Key, q.Flow, q.State, rfc3339(q.Since), rfc3339(q.Until))
	return hex.EncodeToString(sum[:4])
}

// checkQuery completes a query and returns where it begins. Code: Invalid.
func checkQuery(q *tandem.DeliveryQuery) (at place, err error) {
	bad := tandem.Errorf(tandem.CodeInvalid, "the query of deliveries is invalid")
	if q.Limit == 0 {
		q.Limit = defaultDeliveries
	}
	if q.Limit < 0 || q.Limit > maxDeliveries {
		bad.WithField("limit", "must be from 1 to %d", maxDeliveries)
	}
	if q.State != "" && !slices.Contains(deliveryStates, q.State) {
		bad.WithField("state", "%q is not the state of a delivery", q.State)
	}
	if !q.Until.IsZero() && !q.Until.After(q.Since) {
		bad.WithField("until", "must be after since")
	}
	if q.Source != "" && q.ID == "" {
		bad.WithField("source", "goes with event")
	}
	if q.Position != nil && (q.ID != "" || q.Key != "" || q.Flow != "" || q.State != "" || !q.Since.IsZero() || !q.Until.IsZero() || q.After != "") {
		bad.WithField("position", "stands alone: it is one event")
	}
	at = place{Query: fingerprint(q), Phase: firstPhase(q)}
	if q.After != "" {
		at, err = parsePlace(q.After)
		if err != nil || at.Query != fingerprint(q) {
			bad.WithField("after", "is not the next of a page of this query")
		}
	}
	if len(bad.Fields) > 0 {
		return at, bad
	}
	return at, nil
}

var deliveryStates = []string{tandem.DeliveryDelivered, tandem.DeliveryFailed, tandem.DeliveryDead, tandem.DeliveryExpired, tandem.DeliveryDiscarded, tandem.DeliveryUnread,
	tandem.DeliveryQueued, tandem.DeliverySending, tandem.DeliveryRetrying, tandem.DeliveryWaiting, tandem.DeliverySkipped, tandem.DeliveryPassed,
	tandem.DeliveryUnknown}

func parsePlace(text string) (p place, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil && (p.Phase < phaseOpen || p.Phase > phaseLedger || p.Part < 0 || p.Skip < 0) {
		err = errFormat
	}
	return p, err
}

func (p *place) String() string { return base64.RawURLEncoding.EncodeToString(jsonValue(p)) }

// readsLog reports whether a query is answered from the events of the topics.
func readsLog(q *tandem.DeliveryQuery) bool {
	switch q.State {
	case tandem.DeliverySkipped, tandem.DeliveryUnread, tandem.DeliveryUnknown:
		return true
	}
	return q.ID != "" || q.Key != "" || q.Flow != ""
}

// isOutcome reports whether the ledger has rows of a state.
func isOutcome(state string) bool {
	switch state {
	case tandem.DeliveryDelivered, tandem.DeliveryFailed, tandem.DeliveryDead, tandem.DeliveryExpired, tandem.DeliveryDiscarded, tandem.DeliveryPassed:
		return true
	}
	return false
}

func firstPhase(q *tandem.DeliveryQuery) phase {
	switch {
	case readsLog(q):
		return phaseLog
	case isOutcome(q.State):
		return phaseLedger
	}
	return phaseOpen
}

// asking is a query on its way to a page.
type asking struct {
	m      *Manager
	s      *subscription
	q      *tandem.DeliveryQuery
	page   *tandem.DeliveryPage
	at     place
	older  past
	looked int
}

func (a *asking) run(ctx context.Context) error {
	for a.at.Phase != phaseEnd {
		var more bool
		var err error
		switch a.at.Phase {
		case phaseOpen:
			more, err = a.open(ctx)
		case phaseLog:
			more, err = a.readLog(ctx)
		case phaseLedger:
			more, err = a.readLedger(ctx)
		}
		if err != nil {
			return err
		}
		if more {
			a.page.Next = a.at.String()
			return nil
		}
		next := a.at.Phase + 1
		if a.at.Phase == phaseOpen {
			next = phaseLedger
		}
		if next == phaseLedger && a.q.State != "" && !isOutcome(a.q.State) {
			next = phaseEnd
		}
		a.at = place{Query: a.at.Query, Phase: next}
	}
	return nil
}

func (a *asking) full() bool { return len(a.page.Deliveries) >= a.q.Limit || a.looked >= maxLooked }

func (a *asking) add(d tandem.Delivery) { a.page.Deliveries = append(a.page.Deliveries, d) }

// wants reports whether a row is asked for.
func (a *asking) wants(d *tandem.Delivery) bool {
	q := a.q
	if q.State != "" && d.State != q.State || q.ID != "" && d.ID != q.ID || q.Source != "" && d.Source != q.Source || q.Key != "" && d.Key != q.Key || q.Flow != "" && d.Flow != q.Flow {
		return false
	}
	if q.Since.IsZero() && q.Until.IsZero() {
		return true
	}
	return a.within(timeOf(d))
}

func (a *asking) within(at time.Time) bool {
	return !at.Before(a.q.Since) && (a.q.Until.IsZero() || at.Before(a.q.Until))
}

// timeOf returns the time of the outcome, or of the last attempt, or else of acceptance.
func timeOf(d *tandem.Delivery) time.Time {
	if n := len(d.History); d.Ended == "" && n > 0 {
		return d.History[n-1].At
	}
	at, _ := tandem.ParseTime(cmp.Or(d.Ended, d.Accepted))
	return at
}

// open adds what is in memory, by place. What is parked is there without its event, which is read.
func (a *asking) open(ctx context.Context) (more bool, err error) {
	type item struct {
		w where
		d tandem.Delivery
	}
	var all []item
	s := a.s
	s.mu.Lock()
	s.eachOpen(func(d *delivery) {
		if a.isAfter(d.where) {
			if row := s.describe(d); a.wants(&row) {
				all = append(all, item{d.where, row})
			}
		}
	})
	s.mu.Unlock()
	slices.SortStableFunc(all, func(x, y item) int { return compareWhere(x.w, y.w) })
	for i, it := range all {
		if len(a.page.Deliveries) == a.q.Limit {
			last := all[i-1].w
			a.at.Topic, a.at.Part, a.at.From = last.topic, last.part, last.offset+1
			return true, nil
		}
		if it.d.ID == "" {
			rec, err := a.m.readOne(ctx, it.w)
			if err != nil {
				return false, err
			}
			describeEvent(&it.d, rec)
		}
		a.add(it.d)
	}
	return false, nil
}

// isAfter reports whether a place is at or after that of the page.
func (a *asking) isAfter(w where) bool {
	return compareWhere(w, where{a.at.Topic, a.at.Part, a.at.From}) >= 0
}

func compareWhere(a, b where) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.part, b.part), cmp.Compare(a.offset, b.offset))
}

// asked are the topics that some version of the declaration selects, by incarnation.
func (a *asking) asked(js judges) []*eventlog.TopicInfo {
	var out []*eventlog.TopicInfo
	all := a.m.readTopics().all
	for i := range all {
		info := &all[i]
		if slices.ContainsFunc(js, func(j judge) bool { return matchesTopic(&j.Declaration, info.Name) }) {
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(x, y *eventlog.TopicInfo) int { return cmp.Compare(x.ID, y.ID) })
	return out
}
