package api

import (
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// How documents are polled. Unlike events and operations, which wake those who wait for them, a document is looked at again while somebody
// waits for it to change; lookShare and maxLookers bound what that costs.
const (
	documentAgain = 5 * time.Second        // what Retry-After advises
	documentWait  = time.Minute            // most that Prefer: wait is followed
	lookEvery     = 250 * time.Millisecond // or, if a look takes long, lookShare times that
	lookShare     = 100
	maxLookers    = 100 // who comes when so many wait is answered at once
)

// document answers a GET with what build returns, and with an ETag: 304 says that nothing of it has changed. tag is that of the declaration in
// it, "" where there is none. A request that names the current ETag and prefers to wait is held until the document is another or the time is
// over.
func (a *API) document(c *call, build func() (doc any, tag string, err error)) error {
	h := c.w.Header()
	var (
		body []byte
		etag string
		took time.Duration
	)
	look := func() error {
		began := time.Now()
		h.Del("Link") // of the look before
		doc, tag, err := build()
		if err != nil {
			return err
		}
		body = httpx.Encode(doc)
		etag, took = httpx.StatusETag(tag, body), time.Since(began)
		return nil
	}
	if err := look(); err != nil {
		return err
	}
	httpx.SetRetryAfter(h, documentAgain)
	if wait := min(httpx.ParsePrefer(c.r.Header).Wait, documentWait); wait > 0 && httpx.Has(c.r, etag) {
		select {
		case a.looking <- struct{}{}:
			defer func() { <-a.looking }()
			httpx.SetWaited(h, wait)
			end := time.Now().Add(wait)
			for httpx.Has(c.r, etag) && a.pause(c, min(max(lookEvery, lookShare*took), time.Until(end))) {
				if err := look(); err != nil {
					return err
				}
			}
			if a.draining.Err() == nil {
				h.Del("Retry-After") // the time to wait is over: it may be asked for again at once
			}
		default:
		}
	}
	if !httpx.NotModified(&c.w, c.r, etag, httpx.CacheRevalidate) {
		httpx.WriteRawJSON(&c.w, http.StatusOK, body)
	}
	return nil
}

// pause waits and reports whether to go on: there is time left, the client is there, and the server does not stop.
func (a *API) pause(c *call, d time.Duration) bool {
	if d <= 0 {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.r.Context().Done():
	case <-a.draining.Done():
	}
	return false
}
