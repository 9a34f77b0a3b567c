package chain

import (
	"context"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Followed is events, each followed by what the links of its topic and those behind them answered. Whoever asked stores all of
// Events together and then says what became of them, once.
type Followed struct {
	Events []eventlog.TopicEvent

	walk *walk
	from []*eventlog.TopicEvent // of Events
}

// Follow calls the links for events that their caller is going to store: replies to a delivery. It returns nil where no topic of
// theirs has links. ctx and Options.Timeout bound it. It does not look for repeats: the caller knows whether it has stored the events.
// Code: RequestLink, with Link; or those of eventlog.Log.Commit.
func (c *Chain) Follow(ctx context.Context, events []eventlog.TopicEvent) (*Followed, error) {
	if c == nil {
		return nil, nil
	}
	t := c.table.Load()
	any := false
	for i := range events {
		any = any || len(t.of(events[i].Topic)) > 0
	}
	if !any {
		return nil, nil
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	if err := c.log.Takes(); err != nil {
		return nil, tandem.Wrap("call request links", err)
	}
	w := &walk{table: t, log: c.log, ctx: ctx}
	f := &Followed{walk: w}
	for i := range events {
		e := &events[i]
		links, err := w.complete(e)
		var more replies
		if err == nil {
			more, err = w.visit(e, links)
		}
		if err != nil {
			return nil, w.broken(err)
		}
		f.from = append(f.from, e)
		for _, r := range more {
			f.from = append(f.from, r.event)
		}
	}
	f.Events = make([]eventlog.TopicEvent, len(f.from))
	for i, e := range f.from {
		f.Events[i] = *e
	}
	return f, nil
}

// Stored says that Events were stored, with these receipts.
func (f *Followed) Stored(receipts []tandem.Receipt) {
	stored := make(map[*eventlog.TopicEvent]tandem.Receipt, len(f.from))
	for i, e := range f.from {
		stored[e] = receipts[i]
	}
	f.walk.note(stored, nil)
}

// Failed says why Events were not stored.
func (f *Followed) Failed(err error) { f.walk.note(nil, err) }
