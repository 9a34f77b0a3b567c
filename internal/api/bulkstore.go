package api

import (
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// store appends the events of a group and puts a line for each of its lines into b.out.
func (b *bulk) store(g *group) {
	if len(g.lines) == 0 {
		return
	}
	if b.a.opts.Chain.Has(b.p.topic) {
		b.request(g)
		return
	}
	receipts, errs, err := b.append(g.events)
	if err != nil && !b.begun {
		b.fail(err) // nothing was stored nor answered, so the answer is that
		return
	}
	n := 0
	for _, l := range g.lines {
		switch {
		case l.err != nil:
			b.problem(l.number, l.err)
			continue
		case errs != nil && errs[n] != nil:
			b.problem(l.number, errs[n])
		case !b.p.minimal:
			b.out = append(b.p.appendReceipt(b.out, &receipts[n]), '\n')
		}
		n++
	}
}

// request publishes the events of a group to a topic with request links, one after another.
func (b *bulk) request(g *group) {
	b.setCalling(true)
	defer b.setCalling(false)
	ctx, cancel := b.p.patience(b.c)
	defer cancel()
	n := 0
	for _, l := range g.lines {
		if l.err != nil {
			b.problem(l.number, l.err)
			continue
		}
		r := b.a.requestOne(ctx, b.p.topic, &g.events[n])
		if n++; r.err != nil {
			b.problem(l.number, r.err)
		} else if !b.p.minimal {
			b.out = append(appendAnswered(b.out, &r, false), '\n')
		}
	}
}

func (b *bulk) setCalling(on bool) {
	b.calling.Store(on)
	b.timeBody()
}

// append stores events and returns the receipt or the error of each; errs is nil if there is none. err is the first error
// if all failed with one that is not of a single event.
func (b *bulk) append(events []tandem.Event) (receipts []tandem.Receipt, errs []error, err error) {
	if len(events) == 0 {
		return nil, nil, nil
	}
	ctx := b.c.r.Context()
	if b.p.accepted {
		receipts, err = b.a.log.Accept(ctx, b.p.topic, events)
	} else {
		receipts, err = b.a.log.Append(ctx, b.p.topic, events)
	}
	if err == nil {
		b.a.metrics.published(b.p.topic, events)
		return receipts, nil, nil
	}
	if len(events) > 1 && ofOneEvent(err) {
		return b.halves(events)
	}
	errs = make([]error, len(events))
	for i := range errs {
		errs[i] = err
	}
	if ofOneEvent(err) {
		err = nil
	}
	return make([]tandem.Receipt, len(events)), errs, err
}

// ofOneEvent reports whether an error is about one event of those appended, so that the others can be stored without it.
func ofOneEvent(err error) bool {
	switch tandem.CodeOf(err) {
	case tandem.CodeInvalid, tandem.CodeTooLarge, tandem.CodeConflict:
		return true
	}
	return false
}

// halves appends the first half, then the second, which keeps the order. Down at one event, an error is that event's own.
func (b *bulk) halves(events []tandem.Event) ([]tandem.Receipt, []error, error) {
	mid := len(events) / 2
	receipts, errs, err1 := b.append(events[:mid])
	more, moreErrs, err2 := b.append(events[mid:])
	all := make([]error, len(events))
	copy(all, errs)
	copy(all[mid:], moreErrs)
	if err1 == nil {
		err2 = nil
	}
	return append(receipts[:mid:mid], more...), all, err2
}

// problem puts a problem with the number of its line into b.out.
func (b *bulk) problem(number int, err error) {
	b.out = append(b.out, `{"line":`...)
	b.out = append(strconv.AppendInt(b.out, int64(number), 10), ',')
	from := len(b.out)
	b.out = httpx.AppendProblem(b.out, err)
	b.out = append(b.out[:from], b.out[from+1:]...) // its opening brace
	b.out = append(b.out, '\n')
}
