package stream

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// Limits of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
	MaxLast      = 1000
	MaxWait      = 5 * time.Minute
)

// query is what a request asks for.
type query struct {
	values url.Values
	start  tandem.Start
	limit  int
	wait   time.Duration
	prefer bool // wait came from Prefer
	resume bool // the cursor came from Last-Event-ID

	sse, websocket bool        // neither: a page
	last           int         // events to begin with; zero: start says where
	slow           tandem.Slow // empty: as the route says
	credit         int         // of a WebSocket; zero: no window
}

func parseQuery(r *http.Request) (query, error) {
	q := query{limit: DefaultLimit}
	var err error
	if q.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return q, tandem.Errorf(tandem.CodeInvalid, "the query cannot be read: %w", err)
	}
	bad := tandem.Errorf(tandem.CodeInvalid, "the query is invalid")
	for _, name := range []string{"cursor", "from", "last", "limit", "wait", "slow", "credit"} {
		if len(q.values[name]) > 1 {
			bad.WithField(name, "must be there once")
		}
	}
	q.websocket = websocket.HasToken(r.Header["Upgrade"], "websocket")
	q.sse = !q.websocket && httpx.Accept(r.Header, "application/json", tandem.MediaSSE) == tandem.MediaSSE
	cursor, from := q.values.Get("cursor"), q.values.Get("from")
	last := r.Header.Get("Last-Event-ID")
	switch {
	case q.sse && last != "":
		q.start.Cursor, q.resume = tandem.Cursor(last), true // of a client that connects again to the address it began with
	case cursor != "" && from != "":
		bad.WithField("from", "cannot be there together with cursor")
	case cursor != "":
		q.start.Cursor = tandem.Cursor(cursor)
	default:
		if q.start, err = tandem.ParseStart(from); err != nil {
			bad.WithField("from", "must be earliest, latest or an RFC 3339 time such as 2026-01-31T09:30:00Z")
		}
	}
	if v := q.values.Get("limit"); v != "" {
		if q.limit, err = strconv.Atoi(v); err != nil || q.limit < 1 || q.limit > MaxLimit {
			bad.WithField("limit", "must be a number from 1 to %d", MaxLimit)
		}
	}
	if v := q.values.Get("last"); v != "" && !q.resume {
		if q.last, err = strconv.Atoi(v); err != nil || q.last < 1 || q.last > MaxLast {
			bad.WithField("last", "must be a number from 1 to %d", MaxLast)
		}
		if cursor != "" || from != "" {
			bad.WithField("last", "cannot be there together with cursor or from")
		}
	}
	if q.slow = tandem.Slow(q.values.Get("slow")); !q.slow.Valid() {
		bad.WithField("slow", "must be catchup, conflate or disconnect")
	}
	if v := q.values.Get("credit"); v != "" {
		if q.credit, err = strconv.Atoi(v); err != nil || q.credit < 1 || q.credit > maxCredit {
			bad.WithField("credit", "must be a number from 1 to %d", maxCredit)
		} else if !q.websocket {
			bad.WithField("credit", "is for WebSockets")
		} else if q.slow != "" {
			bad.WithField("slow", "cannot be there together with credit: what there is no credit for is not sent")
		}
	}
	q.parseWait(r.Header, bad)
	if r.Method == http.MethodHead {
		q.wait, q.prefer = 0, false // it asks how things are
	}
	if len(bad.Fields) > 0 {
		return q, bad
	}
	return q, nil
}

// inRequest makes the pointer of the log's, which knows a cursor, name where the request had it.
func (q *query) inRequest(err error) error {
	var e *tandem.Error
	for next := err; q.resume && errors.As(next, &e); next = e.Err {
		for i := range e.Fields {
			if e.Fields[i].Pointer == "cursor" {
				e.Fields[i].Pointer = "Last-Event-ID"
			}
		}
	}
	return err
}

// parseWait reads wait=, a duration such as 5s or a number of seconds, or else Prefer: wait.
func (q *query) parseWait(h http.Header, bad *tandem.Error) {
	v := q.values.Get("wait")
	if v == "" {
		if p := httpx.ParsePrefer(h); p.HasWait {
			q.wait, q.prefer = min(p.Wait, MaxWait), true
		}
		return
	}
	d, err := time.ParseDuration(v)
	if s, e := strconv.ParseUint(v, 10, 31); e == nil {
		d, err = time.Duration(s)*time.Second, nil
	}
	if err != nil || d < 0 || d > MaxWait {
		bad.WithField("wait", "must be a duration from 0s to %s, such as 5s", MaxWait)
	}
	q.wait = d
}
