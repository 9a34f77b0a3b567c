package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
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
	a  *API
	c  *call
	p  *publishing
	rc *http.ResponseController

	relay   relay
	storing chan struct{} // closed when the second goroutine has ended; nil when there is none
	broken  atomic.Bool   // nothing more can be stored or answered
	calling atomic.Bool   // links are being called
	timing  sync.Mutex    // held while the time for the next piece is set

	// The second goroutine's, once there is one.
	begun bool // the answer
	err   error
	out   []byte
}

// publishLines answers a publish of NDJSON.
func (a *API) publishLines(c *call, p *publishing) error {
	b := &bulk{a: a, c: c, p: p, rc: http.NewResponseController(&c.w), out: p.out[:0]}
	b.relay.changed.L = &b.relay.mu
	b.relay.filling = a.newGroup()
	defer func() {
		b.wait() // also where parsing panicked
		a.recycle(b.relay.filling)
		p.out = b.out
		_ = b.rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	}()
	// A body that fits one group is answered whole. Anything else is stored as it comes, and answered meanwhile.
	whole := c.r.ContentLength >= 0 && c.r.ContentLength <= groupBytes
	bodyErr := b.parse(tandem.NewLineReader(&bulkBody{b, !whole}, a.opts.MaxEventBytes+64<<10))
	switch {
	case b.storing != nil:
		b.wait()
	case bodyErr != nil:
		return bodyErr // nothing was stored yet
	default:
		b.store(b.relay.filling)
	}
	if b.err != nil {
		return b.err
	}
	if bodyErr != nil {
		return bodyErr
	}
	b.finish()
	return nil
}

func (a *API) newGroup() *group { return a.groups.Get().(*group) }

// recycle makes a group empty and gives it back.
func (a *API) recycle(g *group) {
	clear(g.lines)
	clear(g.events)
	g.lines, g.events, g.bytes = g.lines[:0], g.events[:0], 0
	a.groups.Put(g)
}

// bulkBody reads the body of a bulk request.
type bulkBody struct {
	b     *bulk
	early bool // what was parsed may be stored before the group is full
}

// Read implements io.Reader.
func (r *bulkBody) Read(dst []byte) (int, error) {
	if r.early && len(r.b.relay.filling.lines) > 0 {
		r.b.start()
		r.b.relay.pause()
		defer r.b.relay.resume()
	}
	r.b.timeBody()
	if r.b.broken.Load() { // after the deadline, which fail may have set before
		return 0, io.ErrClosedPipe
	}
	return r.b.c.r.Body.Read(dst)
}

// timeBody says how long the next piece of the body may take from now: as long as links are called, since the client may wait for what they
// answer, and BodyTimeout otherwise.
func (b *bulk) timeBody() {
	b.timing.Lock()
	defer b.timing.Unlock()
	var until time.Time
	if !b.calling.Load() {
		until = time.Now().Add(b.a.opts.BodyTimeout)
	}
	_ = b.rc.SetReadDeadline(until)
}

// parse reads lines until the body ends.
func (b *bulk) parse(lines *tandem.LineReader) error {
	for index := 0; ; index++ {
		text, number, err := lines.Next()
		switch {
		case b.broken.Load():
			return nil // b.err says why
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && tandem.CodeOf(err) != tandem.CodeTooLarge:
			return httpx.BodyError(err)
		}
		g := b.relay.filling
		if err == nil {
			err = b.event(g, text, index)
		}
		g.lines = append(g.lines, line{number, err})
		g.bytes += len(text)
		if len(g.lines) == groupLines || g.bytes >= groupBytes {
			b.start()
			b.relay.give(b.a.newGroup())
		}
	}
}

// start starts the goroutine that stores, if it does not run yet. From here on the answer may begin before the body ends,
// and net/http would throw away what of the body was not read by then.
func (b *bulk) start() {
	if b.storing == nil {
		_ = b.rc.EnableFullDuplex() // HTTP/2 always is
		b.storing = make(chan struct{})
		go b.run()
	}
}

// wait ends the goroutine that stores, if it runs, after the last group.
func (b *bulk) wait() {
	if b.storing != nil {
		b.relay.end()
		<-b.storing
	}
}

// run stores and answers groups until the last.
func (b *bulk) run() {
	defer close(b.storing)
	for g := b.relay.take(b.a.newGroup); g != nil; g = b.relay.take(b.a.newGroup) {
		if !b.broken.Load() {
			b.storeAndSend(g)
		}
		b.a.recycle(g)
	}
}

// storeAndSend survives a defect as the request's own goroutine does: it ends the request and not the process.
func (b *bulk) storeAndSend(g *group) {
	defer func() {
		if v := recover(); v != nil {
			b.a.opts.Logger.Error("a bulk request panicked", "flow", b.p.flow, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			b.fail(tandem.Errorf(tandem.CodeInternal, "panic"))
		}
	}()
	b.store(g)
	b.send()
}

// event parses a line into a group.
func (b *bulk) event(g *group, text []byte, index int) error {
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
	g.events = append(g.events, e)
	b.p.stamp(&g.events[len(g.events)-1], index, flow)
	return nil
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
func (b *bulk) finish() {
	length := -1
	if b.storing == nil {
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
	if b.storing != nil {
		_ = b.rc.SetReadDeadline(time.Now())
	}
}
