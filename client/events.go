package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Query says which events to read, and from where.
type Query struct {
	// Topics are names and patterns ("*" is one segment, a last "**" a tail). At least one.
	Topics []string
	// Start is where to begin; zero is the latest event, exclusive.
	Start tandem.Start
	// Last begins before the last so many events that pass the filter instead, 1 to 1,000; the server looks at no more than the last
	// 100,000 of the topics. Zero means Start. Both together are Invalid.
	Last int
	// Filter leaves out, at the server, what does not match. Zero matches everything.
	Filter tandem.Filter
	// Limit bounds the events of a page; zero leaves it to the server. Stream does not look at it.
	Limit int
	// Wait lets the server hold a page back until there is an event, at most this long. Stream does not look at it.
	Wait time.Duration
	// Slow is what a stream is sent when it does not keep up: "catchup", which empty stands for, is everything in order; "conflate",
	// of what it fell behind, the latest event of each key and all without one; with "disconnect" the server ends the connection, and
	// Stream connects again and goes on where it was. Read does not look at it.
	Slow string
}

func (q *Query) values() (url.Values, error) {
	switch {
	case len(q.Topics) == 0:
		return nil, tandem.Errorf(tandem.CodeInvalid, "no topic to read")
	case q.Last < 0:
		return nil, tandem.Errorf(tandem.CodeInvalid, "the last %d events: a number of events is not negative", q.Last)
	case q.Last > 0 && q.Start != tandem.Start{}:
		return nil, tandem.Errorf(tandem.CodeInvalid, "a place to begin at and the last %d events cannot be asked for together", q.Last)
	}
	v := url.Values{"topic": q.Topics}
	switch start := &q.Start; {
	case q.Last > 0:
		v.Set("last", strconv.Itoa(q.Last))
	case start.Cursor != "":
		v.Set("cursor", string(start.Cursor))
	case start.Earliest:
		v.Set("from", "earliest")
	case start.Time != "":
		v.Set("from", start.Time)
	}
	if !q.Filter.IsZero() {
		v.Set("filter", q.Filter.String())
	}
	return v, nil
}

// Read returns a page of events: what the server has from the start on, up to a limit. An empty page, with Wait zero,
// means that there is nothing more for now. Go on from Page.Cursor in any case, then without Last. Codes: Invalid, NotFound, Unavailable.
func (c *Client) Read(ctx context.Context, q Query) (tandem.Page, error) {
	v, err := q.values()
	if err != nil {
		return tandem.Page{}, err
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Wait > 0 {
		v.Set("wait", q.Wait.String())
	}
	var page tandem.Page
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/v1/events", query: v, repeat: repeatAlways, wait: q.Wait}, &page)
	return page, err
}
