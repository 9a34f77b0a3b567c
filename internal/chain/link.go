package chain

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Link is a subscription that is called before an event is stored. Its methods are safe for concurrent use.
type Link interface {
	Name() string
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
	Reason  string             // of a failure without a status, for the publisher
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
	topics sync.Map // name to []Link, as far as they were asked for
}

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
	t.topics.Store(topic, links)
	return links
}

// Took reports whether an event was stored after a link of this name had taken it.
func Took(ev *tandem.Event, name string) bool {
	names, ok := ev.Extension(tandem.AttrLinks)
	for ok && names != "" {
		var one string
		if one, names, _ = strings.Cut(names, " "); one == name {
			return true
		}
	}
	return false
}

// mark notes on an event which links took it, in place of what it says itself.
func mark(ev *tandem.Event, links []Link) {
	kept := make([]tandem.Extension, 0, len(ev.Extensions)+1)
	for _, x := range ev.Extensions {
		if x.Name != tandem.AttrLinks {
			kept = append(kept, x)
		}
	}
	if len(links) > 0 {
		names := make([]string, len(links))
		for i, l := range links {
			names[i] = l.Name()
		}
		kept = append(kept, tandem.Extension{Name: tandem.AttrLinks, Value: strings.Join(names, " ")})
	}
	ev.Extensions = kept
}
