package chain

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Link is a subscription that is called before an event is stored. Its methods are safe for concurrent use.
type Link interface {
	Name() string
	Born() int64                // tells it from another that had its name before or has it after; the same in a copy of the log
	Parallel() bool             // beside its neighbours in declared order that are parallel, too
	Reads(topic string) bool    // the topic is one of its
	Matches(*tandem.Event) bool // its filter does
	Call(context.Context, *tandem.Record) Answer
	// Note records what became of a call, behind the answer to the publisher.
	Note(*Called)
}

// Answer is what a call brought.
type Answer struct {
	Outcome tandem.LinkOutcome // empty: it succeeded
	Reason  string             // of a failure, for the publisher: without it, the status is named
	Detail  string             // of a failure, for the ledger: it may show what the service answered
	Status  int                // of the answer; zero when there was none
	At      time.Time
	Took    time.Duration
	// Replies are complete, but for what the log does.
	Replies    []eventlog.TopicEvent
	RetryAfter time.Duration // that the service asked for
}

// Called is a call and what became of its chain.
type Called struct {
	Event   *tandem.Record // with its place, if it is stored
	Answer  *Answer
	Stored  bool
	Because string // why it was not stored, where the call succeeded
}

// table is the links in force.
type table struct {
	links  []Link   // in declared order
	topics sync.Map // name to []Link, of the first maxTopics that were asked for: anybody may ask for any name
	asked  atomic.Int32
}

const maxTopics = 10_000

// of returns the links of a topic.
func (t *table) of(topic string) []Link {
	if t == nil {
		return nil
	}
	if known, ok := t.topics.Load(topic); ok {
		return known.([]Link)
	}
	var links []Link
	for _, l := range t.links {
		if l.Reads(topic) {
			links = append(links, l)
		}
	}
	if t.asked.Load() < maxTopics {
		if _, known := t.topics.LoadOrStore(topic, links); !known {
			t.asked.Add(1)
		}
	}
	return links
}

// Took reports whether an event was stored after the link of this name and birth had taken it. The mark of another event, of another
// topic, or of a subscription that had the name before, is not believed.
func Took(rec *tandem.Record, name string, born int64) bool {
	marks, ok := rec.Extension(tandem.AttrLinks)
	if !ok {
		return false
	}
	want := markOf(rec.Position.Topic, &rec.Event, name, born)
	for marks != "" {
		var one string
		if one, marks, _ = strings.Cut(marks, " "); one == want {
			return true
		}
	}
	return false
}

const markSum = 11 // characters, of 6 bits each

// markOf is what is noted on an event that a link took.
func markOf(topic string, ev *tandem.Event, name string, born int64) string {
	return name + "=" + tandem.DerivedID("link", topic, ev.Source, ev.ID, name, strconv.FormatInt(born, 10))[:markSum]
}

// mark notes which links take an event.
func mark(e *eventlog.TopicEvent, links []Link) {
	marks := make([]string, len(links))
	for i, l := range links {
		marks[i] = markOf(e.Topic, &e.Event, l.Name(), l.Born())
	}
	e.Links = strings.Join(marks, " ")
}
