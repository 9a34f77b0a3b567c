package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Events for whoever operates Tandem. They are read like those of any topic; no subscription can name the topic, and no pattern
// matches it, so that they cause nothing that they would tell of.
const (
	operatorTopic     = "_tandem.operator"
	operatorRetention = 7 * 24 * time.Hour
	operatorBytes     = 64 << 20

	// newsGap is the least time between two of them for one subscription, unless somebody must resume it: an endpoint that comes and
	// goes is not to fill the topic.
	newsGap = 10 * time.Second
)

// newsTypes are the types of the events, by the state that they tell of.
var newsTypes = map[string]string{
	"paused":   "tandem.subscription.paused",
	"disabled": "tandem.subscription.disabled",
	"failing":  "tandem.subscription.failing",
	"capped":   "tandem.subscription.capped",
	"running":  "tandem.subscription.recovered",
}

// news is what was told of a subscription last.
type news struct {
	state  string
	at     time.Time
	failed bool // what came after it could not be told at that time
}

// toTell returns a state that is to be told and the reason, "" when there is none, and when to look again.
func (s *subscription) toTell(now time.Time) (state, reason string, next time.Time) {
	if s.storeFails || s.draining || s.halted {
		return "", "", next
	}
	state, reason = s.state()
	if state == s.told.state || newsTypes[state] == "" {
		return "", "", next
	}
	stopped := state == "paused" || state == "disabled"
	if at := s.told.at.Add(newsGap); at.After(now) && (s.told.failed || !stopped) {
		return "", "", at
	}
	return state, reason, next
}

// tell adds the event of a change of state to a group.
func (s *subscription) tell(g *group) {
	now := time.Now()
	state, reason, _ := s.toTell(now)
	if state == "" {
		return
	}
	g.news, g.told = len(g.tx.Events)+1, s.told
	g.tx.Events = append(g.tx.Events, eventlog.TopicEvent{Topic: operatorTopic, Event: tandem.Event{
		ID: tandem.NewID(), Source: "/tandem/subscriptions/" + s.name, Type: newsTypes[state], Subject: s.name, Time: now.UTC().Format(time.RFC3339Nano),
		Encoding: tandem.DataJSON, DataContentType: "application/json",
		Data: jsonValue(struct {
			Subscription string `json:"subscription"`
			State        string `json:"state"`
			Reason       string `json:"reason,omitempty"`
		}{s.name, state, reason}),
	}})
	s.told = news{state: state, at: now}
}

// untell takes the event out of a group, since it must hold nothing back. What it told is told later, if it is still so.
func (s *subscription) untell(g *group) {
	if g.news == 0 {
		return
	}
	g.tx.Events = g.tx.Events[:g.news-1]
	g.news = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = news{g.told.state, time.Now(), true}
}

// commit stores a group: without its news if these cannot be.
func (s *subscription) commit(ctx context.Context, g *group) ([]tandem.Receipt, error) {
	if g.news > 0 {
		if err := s.m.needOperatorTopic(ctx); err != nil {
			s.m.opts.Logger.Warn("delivery: operators cannot be told", "subscription", s.name, "error", err)
			s.untell(g)
		}
	}
	receipts, err := s.m.log.Commit(ctx, &g.tx)
	if err != nil && g.news > 0 && tandem.CodeOf(err) != tandem.CodePrecondition {
		s.untell(g)
		receipts, err = s.m.log.Commit(ctx, &g.tx)
	}
	return receipts, err
}

// needOperatorTopic makes the topic when it is first needed.
func (m *Manager) needOperatorTopic(ctx context.Context) error {
	if _, ok := m.topic(operatorTopic); ok {
		return nil
	}
	_, err := m.log.CreateTopic(ctx, tandem.Topic{Name: operatorTopic, Partitions: 1, Retention: tandem.Duration(operatorRetention),
		RetentionBytes: operatorBytes})
	if tandem.CodeOf(err) == tandem.CodeConflict {
		err = nil // somebody else was first
	}
	m.readTopics()
	return err
}
