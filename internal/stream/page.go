package stream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// pageAgain is what Retry-After advises at the end of a topic to those who do not wait for events.
const pageAgain = time.Second

func (s *Streams) servePage(w http.ResponseWriter, r *http.Request, sel eventlog.Selection, ask *tandem.StreamRequest, q *query, c caller) error {
	reader, err := s.log.NewReader(r.Context(), sel, q.start)
	if err != nil {
		return err
	}
	defer reader.Close()
	tags := newPageTags(reader, sel, ask.Filter, q, s.log.Info().TotalOrder)
	forLong := httpx.CacheForLong
	if ask.Public {
		forLong = httpx.CacheRevalidate // whoever authorizes the route is to be asked each time
	}
	// A full page behind a cursor stays what it was, and need not be read to know that.
	if r.Header.Get("If-None-Match") != "*" && httpx.Has(r, tags.full) {
		httpx.NotModified(w, r, tags.full, forLong)
		return nil
	}
	p := answer{max: q.limit}
	page, err := reader.Read(r.Context(), ask.Filter, q.limit)
	if err != nil {
		return err
	}
	p.add(reader, page)
	h := w.Header()
	if !p.full() && q.wait > 0 && (len(p.Events) == 0 && p.Gap == nil || httpx.Has(r, tags.of(&p))) {
		if page, err = s.poll(r.Context(), reader, ask.Filter, q, c, p.max-len(p.Events)); err != nil {
			return err
		}
		p.add(reader, page)
	}
	if q.prefer {
		httpx.SetWaited(h, q.wait)
	}
	if !p.full() && (q.wait == 0 || s.draining.Err() != nil) {
		httpx.SetRetryAfter(h, pageAgain)
	}
	h.Set(tandem.HeaderCursor, string(p.Cursor))
	h.Set("Link", "<"+next(r.URL, q.values, p.Cursor)+`>; rel="next"`)
	etag, cache := tags.of(&p), httpx.CacheRevalidate
	if etag == tags.full {
		cache = forLong
	}
	if httpx.NotModified(w, r, etag, cache) {
		return nil
	}
	buf := s.buffer()
	defer s.release(buf)
	*buf = append(tandem.AppendPageJSON((*buf)[:0], &p.Page), '\n')
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(*buf)))
	s.sent.Add(uint64(len(p.Events)))
	out := response{w: w, rc: http.NewResponseController(w), timeout: s.opts.WriteTimeout}
	defer out.done()
	_ = out.write(*buf) // a client that has gone away is nobody's error
	return nil
}

// poll waits for events of a page that has room for so many.
func (s *Streams) poll(ctx context.Context, reader *eventlog.Reader, filter tandem.Filter, q *query, c caller, room int) (tandem.Page, error) {
	if err := s.enter(c); err != nil {
		return tandem.Page{}, err
	}
	defer s.leave(c)
	ctx, end := s.waitingFor(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, q.wait)
	defer cancel()
	page, err := reader.Next(ctx, filter, room)
	if err != nil && (errors.Is(context.Cause(ctx), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), errDraining)) {
		return tandem.Page{Cursor: reader.Cursor()}, nil // nothing came, which is an answer
	}
	return page, err
}

// next is the address of the page that follows.
func next(u *url.URL, values url.Values, cursor tandem.Cursor) string {
	v := url.Values{}
	for name, list := range values {
		if name != "from" && name != "last" {
			v[name] = list
		}
	}
	v.Set("cursor", string(cursor))
	return u.EscapedPath() + "?" + v.Encode()
}
