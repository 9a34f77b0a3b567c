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
)

func (s *Streams) servePage(w http.ResponseWriter, r *http.Request, sel eventlog.Selection, filter tandem.Filter, q *query, c caller) error {
	reader, err := s.log.NewReader(r.Context(), sel, q.start)
	if err != nil {
		return err
	}
	defer reader.Close()
	page, err := reader.Read(r.Context(), filter, q.limit)
	if err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	if q.wait > 0 && len(page.Events) == 0 && page.Gap == nil && r.Method != http.MethodHead {
		if page, err = s.poll(r.Context(), reader, filter, q, c); err != nil {
			return err
		}
	}
	buf := s.buffer()
	defer s.release(buf)
	*buf = append(tandem.AppendPageJSON((*buf)[:0], &page), '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(*buf)))
	h.Set(tandem.HeaderCursor, string(page.Cursor))
	h.Set("Link", "<"+next(r.URL, q.values, page.Cursor)+`>; rel="next"`)
	if q.prefer {
		h.Set("Preference-Applied", "wait="+strconv.Itoa(int(q.wait/time.Second)))
	}
	s.sent.Add(uint64(len(page.Events)))
	out := response{w: w, rc: rc, timeout: s.opts.WriteTimeout}
	defer out.done()
	_ = out.write(*buf) // a client that has gone away is nobody's error
	return nil
}

// poll waits for the first events of a page.
func (s *Streams) poll(ctx context.Context, reader *eventlog.Reader, filter tandem.Filter, q *query, c caller) (tandem.Page, error) {
	if err := s.enter(c); err != nil {
		return tandem.Page{}, err
	}
	defer s.leave(c)
	ctx, end := s.waitingFor(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, q.wait)
	defer cancel()
	page, err := reader.Next(ctx, filter, q.limit)
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
