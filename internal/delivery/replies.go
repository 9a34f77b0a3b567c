package delivery

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// replies returns the events of an answer, ready to be stored: none when it does not claim to be CloudEvents. An error makes
// the attempt a failed one.
func (m *Manager) replies(j *job, a *webhook.Answer) ([]eventlog.TopicEvent, error) {
	if a.Header == nil || len(a.Body) == 0 && a.Header.Get("Ce-Id") == "" {
		return nil, nil
	}
	mode, err := tandem.ContentMode(a.Header)
	if err != nil {
		return nil, err
	}
	if mode == tandem.ModePlain || mode == tandem.ModeNDJSON {
		return nil, nil
	}
	if a.Cut {
		return nil, tandem.Errorf(tandem.CodeTooLarge, "the answer is over %d bytes", webhook.MaxAnswerBytes)
	}
	events, err := parseReplies(mode, a)
	if err != nil {
		return nil, err
	}
	return m.repliesTo(j, events)
}

// repliesTo returns the replies to one event, ready to be stored.
func (m *Manager) repliesTo(j *job, events []tandem.Event) ([]eventlog.TopicEvent, error) {
	if len(events) == 0 {
		return nil, nil
	}
	topic := j.decl.Replies
	if topic == "" {
		topic = j.rec.Position.Topic
	}
	info, ok := m.topic(topic)
	if !ok {
		return nil, tandem.Errorf(tandem.CodeNotFound, "there is no topic %q for it", topic)
	}
	ruled := info.Key != "" && info.Key != "subject"
	out := make([]eventlog.TopicEvent, len(events))
	for i := range events {
		if err := derive(&events[i], j, i, ruled); err != nil {
			return nil, err
		}
		out[i] = eventlog.TopicEvent{Topic: topic, Event: events[i]}
	}
	return out, nil
}

func parseReplies(mode tandem.Mode, a *webhook.Answer) ([]tandem.Event, error) {
	if mode == tandem.ModeBatch {
		return tandem.ParseBatchJSON(a.Body)
	}
	var e tandem.Event
	var err error
	if mode == tandem.ModeStructured {
		e, err = tandem.ParseEventJSON(a.Body)
	} else {
		e, err = tandem.ParseBinaryHTTP(a.Header, a.Body)
	}
	if err != nil {
		return nil, err
	}
	return []tandem.Event{e}, nil
}

// derive makes a reply the effect of its cause. Its id depends on nothing but the cause, the subscription, the epoch and the
// index, so that a repeat takes effect once; the handler's own id is kept beside it.
func derive(e *tandem.Event, j *job, index int, ruled bool) error {
	cause := j.rec
	if e.ID != "" {
		e.Extensions = slices.DeleteFunc(e.Extensions, func(x tandem.Extension) bool { return x.Name == tandem.AttrReplyID })
		e.Extensions = append(e.Extensions, tandem.Extension{Name: tandem.AttrReplyID, Value: e.ID})
	}
	_, epoch := j.epochs()
	e.ID = tandem.DerivedID(cause.Position.Topic, cause.Source, cause.ID, j.sender(), epoch, strconv.Itoa(index))
	m := &e.Meta
	m.Causes = []string{tandem.Ref(cause.Position.Topic, cause.Source, cause.ID)}
	m.Hops = cause.Meta.Hops + 1
	m.Producer, m.Route = j.name, ""
	inherit(&m.Flow, cause.Meta.Flow)
	inherit(&m.Operation, cause.Meta.Operation)
	tracecontext.Adopt(m, cmp.Or(j.trace, cause.Meta.TraceParent), cause.Meta.TraceState)
	m.Key = ""
	if e.Subject == "" && !ruled {
		m.Key = cause.Ordering()
	}
	return tandem.CheckEvent(e)
}

// inherit lets what the cause has stand before what the handler says.
func inherit(into *string, from string) {
	if from != "" {
		*into = from
	}
}

func replyRefused(err error) string {
	return "the reply cannot be stored: " + tandem.ProblemOf(err).Detail
}
