package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Bounds of a chain beside its depth, which alone would allow more than any memory holds.
const (
	maxReplies    = 10_000
	maxReplyBytes = 64 << 20
)

// walk is one chain under way.
type walk struct {
	table *table
	log   *eventlog.Log
	ctx   context.Context

	mu     sync.Mutex    // guards what follows: parallel links share it
	calls  []call        // in the order in which they began
	failed *tandem.Error // the first failure: nobody is called after it
	count  int           // replies, and their bytes
	bytes  int
}

// call is one call, to be noted when it is known what became of the chain.
type call struct {
	link   Link
	event  *tandem.Record
	at     *eventlog.TopicEvent // the event as it is stored
	answer Answer
}

// reply is an event that a link sent.
type reply struct {
	event *eventlog.TopicEvent
	call  int // that brought it
}

type replies []reply

func (rs replies) events() []eventlog.TopicEvent {
	out := make([]eventlog.TopicEvent, len(rs))
	for i := range rs {
		out[i] = *rs[i].event
	}
	return out
}

// complete makes of an event what will be stored, with the mark of the links that take it, and returns these. Codes: as
// eventlog.Log.Commit.
func (w *walk) complete(e *eventlog.TopicEvent) (links []Link, err error) {
	e.Links = ""
	if _, err := w.log.Complete(w.ctx, e); err != nil {
		return nil, err
	}
	for _, l := range w.table.of(e.Topic) {
		if l.Matches(&e.Event) {
			links = append(links, l)
		}
	}
	if len(links) == 0 {
		return nil, nil
	}
	if mark(e, links); len(e.Links) > tandem.MaxAttributeBytes {
		return nil, tandem.Errorf(tandem.CodeUnsupported, "%d request links take an event, and their names %d bytes of its mark, at most %d",
			len(links), len(e.Links), tandem.MaxAttributeBytes).WithHint("give the links shorter names, or filters that take fewer events")
	}
	_, err = w.log.Complete(w.ctx, e)
	return links, err
}

// visit calls the links of an event, which is complete, and returns what they and the links of their replies answered, depth first.
func (w *walk) visit(e *eventlog.TopicEvent, links []Link) (replies, error) {
	if len(links) == 0 {
		return nil, nil
	}
	if e.Event.Meta.Hops > tandem.MaxHops {
		return nil, w.fail(links[0].Name(), tandem.LinkRefused, 0, fmt.Sprintf("loop: the event is more than %d replies away from its first cause", tandem.MaxHops))
	}
	rec := &tandem.Record{Event: e.Event, Position: tandem.Position{Topic: e.Topic}}
	// Of many links the mark would be most of what each is sent.
	rec.Extensions = slices.DeleteFunc(slices.Clone(rec.Extensions), func(x tandem.Extension) bool { return x.Name == tandem.AttrLinks })
	var out replies
	for len(links) > 0 {
		n := 1
		for links[0].Parallel() && n < len(links) && links[n].Parallel() {
			n++
		}
		got, err := w.beside(links[:n], e, rec)
		if err != nil {
			return nil, err
		}
		out, links = append(out, got...), links[n:]
	}
	return out, nil
}

// beside follows links at the same time. All that were called have answered when it returns.
func (w *walk) beside(links []Link, e *eventlog.TopicEvent, rec *tandem.Record) (replies, error) {
	if len(links) == 1 {
		return w.follow(links[0], e, rec)
	}
	got, errs := make([]replies, len(links)), make([]error, len(links))
	var wg sync.WaitGroup
	for i, l := range links {
		wg.Go(func() { got[i], errs[i] = w.follow(l, e, rec) })
	}
	wg.Wait()
	var out replies
	for i := range got {
		if errs[i] != nil {
			return nil, w.failed
		}
		out = append(out, got[i]...)
	}
	return out, nil
}

// follow calls a link, and then those of its replies, one reply after another.
func (w *walk) follow(l Link, e *eventlog.TopicEvent, rec *tandem.Record) (replies, error) {
	i, err := w.begin(l, e, rec)
	if err != nil {
		return nil, err
	}
	a := l.Call(w.ctx, rec)
	if err := w.end(i, &a); err != nil {
		return nil, err
	}
	var out replies
	for j := range a.Replies {
		r := &a.Replies[j]
		links, err := w.complete(r)
		if err != nil {
			return nil, w.spoil(i, "its reply cannot be stored: "+why(err))
		}
		more, err := w.visit(r, links)
		if err != nil {
			return nil, err
		}
		out = append(append(out, reply{r, i}), more...)
	}
	return out, nil
}

// begin notes that a link is called, unless the chain has failed.
func (w *walk) begin(l Link, e *eventlog.TopicEvent, rec *tandem.Record) (int, error) {
	if w.ctx.Err() != nil {
		return 0, w.over(l.Name())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return 0, w.failed
	}
	w.calls = append(w.calls, call{link: l, event: rec, at: e, answer: Answer{Outcome: tandem.LinkTimeout}})
	return len(w.calls) - 1, nil
}

// end takes the answer of a call.
func (w *walk) end(i int, a *Answer) error {
	if a.Outcome != "" && w.ctx.Err() != nil {
		a.Outcome, a.Reason = overOutcome(w.ctx)
		a.Detail = cmp.Or(a.Detail, a.Reason)
	}
	w.mu.Lock()
	w.calls[i].answer = *a
	name := w.calls[i].link.Name()
	w.count += len(a.Replies)
	for j := range a.Replies {
		w.bytes += len(a.Replies[j].Event.Data)
	}
	tooMuch := w.count > maxReplies || w.bytes > maxReplyBytes
	w.mu.Unlock()
	switch {
	case a.Outcome != "" && a.Reason == "" && a.Status != 0:
		return w.fail(name, a.Outcome, a.RetryAfter, fmt.Sprintf("status %d", a.Status))
	case a.Outcome != "":
		return w.fail(name, a.Outcome, a.RetryAfter, a.Reason)
	case tooMuch:
		return w.spoil(i, fmt.Sprintf("the chain has more than %d replies or %d MiB", maxReplies, maxReplyBytes>>20))
	}
	return nil
}

// spoil makes a call that was answered one that failed, for what it was answered with.
func (w *walk) spoil(i int, detail string) error {
	w.mu.Lock()
	w.calls[i].answer.Outcome, w.calls[i].answer.Detail = tandem.LinkRefused, detail
	name := w.calls[i].link.Name()
	w.mu.Unlock()
	return w.fail(name, tandem.LinkRefused, 0, detail)
}

// over is the failure of a link that is not called any more.
func (w *walk) over(link string) error {
	outcome, detail := overOutcome(w.ctx)
	return w.fail(link, outcome, 0, detail)
}

func overOutcome(ctx context.Context) (tandem.LinkOutcome, string) {
	if errors.Is(context.Cause(ctx), errStopped) {
		return tandem.LinkUnavailable, "the server is stopping"
	}
	return tandem.LinkTimeout, "the deadline of the chain passed"
}

// texts say how a link failed, without what its service said: that is in the ledger.
var texts = map[tandem.LinkOutcome]string{
	tandem.LinkRefused:     "refused the event",
	tandem.LinkUnavailable: "is unavailable",
	tandem.LinkTimeout:     "did not answer in time",
}

// fail ends the chain with what went wrong, and returns that, or what went wrong before.
func (w *walk) fail(link string, outcome tandem.LinkOutcome, retryAfter time.Duration, detail string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		text := "the request link " + link + " " + texts[outcome]
		if detail != "" {
			text += ": " + detail
		}
		w.failed = tandem.Errorf(tandem.CodeRequestLink, "%s", text).WithRetryAfter(retryAfter).
			WithHint("nothing was stored; what the links in done did stands. Publishing the same id again is safe")
		w.failed.Link = &tandem.RequestLink{Link: link, Outcome: outcome}
	}
	return w.failed
}

// done names the links that had succeeded, in the order in which they were called. Nobody is being called any more.
func (w *walk) done() []string {
	names := []string{}
	for i := range w.calls {
		if c := &w.calls[i]; c.answer.Outcome == "" {
			names = append(names, c.link.Name())
		}
	}
	return names
}

func why(err error) string {
	p := tandem.ProblemOf(err)
	if len(p.Errors) > 0 {
		return p.Errors[0].Pointer + " " + p.Errors[0].Detail
	}
	return cmp.Or(p.Detail, p.Title)
}

// note tells the links what became of their calls: they were stored, or failed with err.
func (w *walk) note(receipts map[*eventlog.TopicEvent]tandem.Receipt, err error) {
	for i := range w.calls {
		c := &w.calls[i]
		told := Called{Event: c.event, Answer: &c.answer}
		if r, ok := receipts[c.at]; ok {
			if r.Duplicate == tandem.DuplicateYes {
				continue // the first has its row
			}
			told.Stored = true
			c.event.Position = tandem.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
		} else if c.answer.Outcome == "" {
			told.Because = err.Error()
		}
		c.link.Note(&told)
	}
}
