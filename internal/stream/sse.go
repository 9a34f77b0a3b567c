package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// maxWaiting is how many waiting events leave in one write.
const maxWaiting = 256

// sse is one open stream.
type sse struct {
	s      *Streams
	out    writer
	reader *eventlog.Reader
	filter tandem.Filter
	buf    []byte
	told   tandem.Cursor // last id that the client was sent, or came with
}

func (s *Streams) serveSSE(w http.ResponseWriter, r *http.Request, sel eventlog.Selection, filter tandem.Filter, q query) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	reader, err := s.log.NewReader(r.Context(), sel, q.start)
	if err != nil {
		return err
	}
	defer reader.Close()
	c := &sse{s: s, reader: reader, filter: filter, told: q.start.Cursor,
		out: writer{w: w, rc: http.NewResponseController(w), timeout: s.opts.WriteTimeout}}
	defer c.out.done()
	h := w.Header()
	h.Set("Content-Type", tandem.MediaSSE)
	h.Set("X-Accel-Buffering", "no") // proxies of the nginx kind hold a stream back otherwise
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	buf := s.buffer()
	defer s.release(buf)
	c.buf = *buf
	c.run(r.Context())
	*buf = c.buf
	return nil
}

// run sends events until the client has gone, the server drains or the log cannot be read.
func (c *sse) run(parent context.Context) {
	ctx, end := c.s.waiting(parent)
	defer end()
	c.hello()
	for c.send() == nil {
		page, err := c.next(ctx)
		switch {
		case len(page.Events) > 0 || page.Gap != nil:
			c.page(&page)
		case errors.Is(err, context.DeadlineExceeded):
			c.heartbeat()
		case errors.Is(context.Cause(ctx), errDraining):
			c.goodbye("draining")
			return
		case ctx.Err() != nil:
			return
		default:
			c.s.opts.Logger.Warn("a stream ended: reading events failed", "error", err)
			c.goodbye("unavailable")
			return
		}
	}
}

// next waits for events, no longer than until the next heartbeat.
func (c *sse) next(ctx context.Context) (tandem.Page, error) {
	beat := c.s.opts.Heartbeat
	ctx, cancel := context.WithTimeout(ctx, beat-beat/10+rand.N(beat/5+1))
	defer cancel()
	return c.reader.Next(ctx, c.filter, maxWaiting)
}

// send writes what is in the buffer.
func (c *sse) send() error {
	if err := c.out.write(c.buf); err != nil {
		return err
	}
	c.buf = c.buf[:0]
	if cap(c.buf) > 1<<20 {
		c.buf = nil // one large page must not stay for the life of the stream
	}
	return c.out.flush()
}

// hello says how soon to connect again and, where the client has no cursor yet, gives it one: it may lose the connection
// before the first event.
func (c *sse) hello() {
	c.retry(c.s.opts.Retry)
	if c.told == "" {
		c.id(c.reader.Cursor())
	}
	c.buf = append(c.buf, '\n')
}

// goodbye asks the client to connect again, at a moment of its own.
func (c *sse) goodbye(reason string) {
	c.retry(c.s.opts.Retry/2 + rand.N(c.s.opts.Retry+1))
	c.buf = append(c.buf, "event: reconnect\n"...)
	if at := c.reader.Cursor(); at != c.told {
		c.id(at)
	}
	c.buf = append(c.buf, `data: {"reason":"`+reason+"\"}\n\n"...)
	_ = c.send()
}

// heartbeat shows that the stream lives and, where a filter left out events, moves the cursor past them.
func (c *sse) heartbeat() {
	if at := c.reader.Cursor(); at != c.told {
		c.id(at)
		c.buf = append(c.buf, '\n')
		return
	}
	c.buf = append(c.buf, ":\n\n"...)
}

func (c *sse) page(p *tandem.Page) {
	if p.Gap != nil {
		c.gap(p.Gap)
	}
	for i := range p.Events {
		c.id(c.reader.CursorAfter(&p.Events[i]))
		c.data(&p.Events[i].Event)
		c.buf = append(c.buf, '\n')
	}
	c.s.sent.Add(uint64(len(p.Events)))
}

func (c *sse) gap(g *tandem.Gap) {
	c.buf = append(c.buf, "event: gap\n"...)
	c.id(g.To)
	data, _ := json.Marshal(g) // three strings
	c.buf = append(append(append(c.buf, "data: "...), data...), "\n\n"...)
}

func (c *sse) id(at tandem.Cursor) {
	c.buf = append(append(append(c.buf, "id: "...), at...), '\n')
	c.told = at
}

func (c *sse) retry(d time.Duration) {
	c.buf = append(c.buf, "retry: "...)
	c.buf = append(strconv.AppendInt(c.buf, d.Milliseconds(), 10), '\n')
}

// data writes an event as one message. Data that is JSON keeps its line ends, and each line of a message needs a field of
// its own: the client joins them with a line feed, which is white space there as well.
func (c *sse) data(e *tandem.Event) {
	c.buf = append(c.buf, "data: "...)
	from := len(c.buf)
	c.buf = tandem.AppendEventJSON(c.buf, e)
	if event := c.buf[from:]; bytes.IndexByte(event, '\n') >= 0 || bytes.IndexByte(event, '\r') >= 0 {
		lines := bytes.ReplaceAll(event, []byte("\r\n"), []byte("\n"))
		lines = bytes.ReplaceAll(lines, []byte("\r"), []byte("\n"))
		c.buf = append(c.buf[:from], bytes.ReplaceAll(lines, []byte("\n"), []byte("\ndata: "))...)
	}
	c.buf = append(c.buf, '\n')
}
