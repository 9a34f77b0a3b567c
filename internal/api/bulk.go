package api

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// Bounds of a group of lines, which are stored and answered together.
const (
	groupLines = 1024
	groupBytes = 1 << 20
)

// group is lines that belong together, in the order sent.
type group struct {
	lines  []line
	events []tandem.Event // of the lines without err
	bytes  int
}

type line struct {
	number int
	err    error
}

// bulk is one request of NDJSON. The request's goroutine parses lines into a group. A request that is not one group has a
// second goroutine, which stores and answers a group while the next is parsed.
type bulk struct {
	a   *API
	c   *call
	p   *publishing
	rc  *http.ResponseController
	cur *group

	// groups has no room, so that a send that does not wait tells whether the storing goroutine has nothing to do.
	groups chan *group
	done   chan struct{}
	broken atomic.Bool // no answer can be sent any more

	begun bool // the answer; the storing goroutine's, once there is one
	err   error
	out   []byte
}

// publishLines answers a publish of NDJSON.
func (a *API) publishLines(c *call, p *publishing) error {
	b := &bulk{a: a, c: c, p: p, rc: http.NewResponseController(&c.w), cur: a.groups.Get().(*group), out: p.out[:0]}
	defer func() {
		p.out = b.out
		_ = b.rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	}()
	// A body that fits one group is answered whole. Anything else is stored as it comes, and answered meanwhile.
	whole := c.r.ContentLength >= 0 && c.r.ContentLength <= groupBytes
	if !whole {
		_ = b.rc.EnableFullDuplex() // HTTP/2 always is
	}
	bodyErr := b.parse(tandem.NewLineReader(&bulkBody{b, !whole}, a.opts.MaxEventBytes+64<<10))
	if b.groups == nil {
		if bodyErr != nil {
			return bodyErr // nothing was stored yet
		}
		b.store(b.cur)
		a.recycle(b.cur)
	} else {
		b.groups <- b.cur
		close(b.groups)
		<-b.done
	}
	switch {
	case b.err != nil:
		return b.err
	case bodyErr != nil:
		return bodyErr
	}
	b.finish(b.groups == nil)
	return nil
}

// recycle makes a group empty and gives it back.
func (a *API) recycle(g *group) {
	clear(g.lines)
	clear(g.events)
	g.lines, g.events, g.bytes = g.lines[:0], g.events[:0], 0
	a.groups.Put(g)
}

// bulkBody gives what was parsed to the storing goroutine before it waits for more, if that has nothing else to do: then
// a slow client has its receipts soon, and a fast one has large groups.
type bulkBody struct {
	b    *bulk
	pass bool
}

func (r *bulkBody) Read(dst []byte) (int, error) {
	if r.pass && len(r.b.cur.lines) > 0 {
		r.b.pass(false)
	}
	_ = r.b.rc.SetReadDeadline(time.Now().Add(r.b.a.opts.BodyTimeout))
	if r.b.broken.Load() { // after the deadline, which fail may have set before
		return 0, io.ErrClosedPipe
	}
	return r.b.c.r.Body.Read(dst)
}

// parse reads lines until the body ends.
func (b *bulk) parse(lines *tandem.LineReader) error {
	index := 0
	for {
		text, number, err := lines.Next()
		switch {
		case tandem.CodeOf(err) == tandem.CodeTooLarge:
		case err != nil:
			if err == io.EOF {
				return nil
			}
			return httpx.BodyError(err)
		}
		if b.broken.Load() {
			return nil // b.err says why
		}
		if err == nil {
			err = b.event(text, index)
		}
		b.cur.lines = append(b.cur.lines, line{number, err})
		b.cur.bytes += len(text)
		index++
		if len(b.cur.lines) == groupLines || b.cur.bytes >= groupBytes {
			b.pass(true)
		}
	}
}

// event parses a line into the current group.
func (b *bulk) event(text []byte, index int) error {
	e, err := tandem.ParseNDJSONLine(text, &b.p.plain)
	if err != nil {
		return err
	}
	if b.p.missing != nil && (e.Type == "" || e.Source == "") {
		return b.p.missing
	}
	flow := b.p.flow
	if !b.p.clientFlow && e.Meta.Flow == "" {
		flow = tandem.NewID() // lines have nothing to do with each other
	}
	b.cur.events = append(b.cur.events, e)
	b.p.stamp(&b.cur.events[len(b.cur.events)-1], index, flow)
	return nil
}

// pass hands the current group to the storing goroutine. Unless wait is set it does so only if that is idle.
func (b *bulk) pass(wait bool) {
	if b.groups == nil {
		b.groups, b.done = make(chan *group), make(chan struct{})
		go b.run()
	}
	if wait {
		b.groups <- b.cur
	} else {
		select {
		case b.groups <- b.cur:
		default:
			return
		}
	}
	b.cur = b.a.groups.Get().(*group)
}

// run stores and answers groups.
func (b *bulk) run() {
	defer close(b.done)
	for g := range b.groups {
		if !b.broken.Load() {
			b.store(g)
			b.send()
		}
		b.a.recycle(g)
	}
}

// store appends the events of a group and puts a line for each of its lines into b.out.
func (b *bulk) store(g *group) {
	if len(g.lines) == 0 {
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

// send writes what is answered so far.
func (b *bulk) send() {
	if b.err != nil {
		return
	}
	b.begin(-1)
	err := b.write()
	if err == nil {
		err = b.rc.Flush()
	}
	if err != nil {
		b.fail(tandem.Errorf(tandem.CodeSlow, "the answer was not read: %w", err))
	}
}

// finish writes the rest. Where that is all there is, its length is known.
func (b *bulk) finish(whole bool) {
	length := -1
	if whole {
		length = len(b.out)
	}
	b.begin(length)
	_ = b.write() // a client that has gone away is nobody's error
}

func (b *bulk) begin(length int) {
	if b.begun {
		return
	}
	b.begun = true
	h := b.c.w.Header()
	h["Content-Type"] = contentNDJSON
	h["Cache-Control"] = noStore
	h["X-Accel-Buffering"] = []string{"no"}
	if b.p.minimal {
		h["Preference-Applied"] = []string{"return=minimal"}
	}
	if length >= 0 {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	status := http.StatusOK
	if b.p.accepted {
		status = http.StatusAccepted
	}
	b.c.w.WriteHeader(status)
}

var contentNDJSON = []string{tandem.MediaNDJSON}

func (b *bulk) write() error {
	_ = b.rc.SetWriteDeadline(time.Now().Add(b.a.opts.BodyTimeout))
	_, err := b.c.w.Write(b.out)
	b.out = b.out[:0]
	return err
}

// fail ends the request: what is parsed from now on is dropped, and a read that waits returns.
func (b *bulk) fail(err error) {
	b.err = err
	b.broken.Store(true)
	if b.groups != nil {
		_ = b.rc.SetReadDeadline(time.Now())
	}
}
