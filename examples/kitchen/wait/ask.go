package wait

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem/examples/kitchen/cook"
)

// Poll asks for the operation again and again, at times that do not depend on when answers come.
type Poll struct {
	Line  *Line
	Every time.Duration
	// ETag asks for the operation only if it is not what it was (RFC 9110, section 13.1.2).
	ETag bool
}

// Wait asks for the first time within Every, so that not all who began together ask together.
func (p Poll) Wait(ctx context.Context, _ string, place Place) (n Notice, err error) {
	operation, err := place(ctx)
	if err != nil {
		return n, err
	}
	a := asker{line: p.Line, operation: operation}
	defer a.hangUp()
	due := time.Now().Add(rand.N(p.Every))
	for {
		if err := sleep(ctx, time.Until(due)); err != nil {
			return n, err
		}
		p.Line.Due.Add(1)
		p.Line.Begun.Add(1)
		header := "Accept: application/json\r\n"
		if p.ETag && a.etag != "" {
			header += "If-None-Match: " + a.etag + "\r\n"
		}
		n, known, err := a.ask(ctx, header)
		if known {
			return n, nil
		}
		if err != nil {
			p.Line.Broken.Add(1) // the next time is due anyway
		}
		for due = due.Add(p.Every); time.Until(due) < 0; due = due.Add(p.Every) {
			p.Line.Due.Add(1) // it passed meanwhile
		}
	}
}

// LongPoll asks for the operation and is kept waiting for the answer (RFC 7240, section 4.3).
type LongPoll struct {
	Line *Line
	Hold time.Duration // how long at most, in whole seconds
}

// Wait asks at once, and again when the answer is that there is nothing to say yet.
func (p LongPoll) Wait(ctx context.Context, _ string, place Place) (n Notice, err error) {
	operation, err := place(ctx)
	if err != nil {
		return n, err
	}
	a := asker{line: p.Line, operation: operation}
	defer a.hangUp()
	header := fmt.Sprintf("Accept: application/json\r\nPrefer: wait=%d\r\n", p.Hold/time.Second)
	return p.Line.insist(ctx, func() (Notice, bool, error) { return a.ask(ctx, header) })
}

// asker asks for one operation, over one connection as long as that lasts.
type asker struct {
	line      *Line
	operation string
	conn      *conn
	etag      string // of the last answer
}

// ask returns the notice when the operation has ended. An error is a connection that broke, or an answer that makes no sense.
func (a *asker) ask(ctx context.Context, header string) (n Notice, known bool, err error) {
	defer func() {
		if err != nil {
			a.hangUp()
		}
	}()
	if a.conn == nil {
		if a.conn, err = a.line.dial(ctx); err != nil {
			return n, false, err
		}
	}
	res, err := a.conn.get(a.operation, header)
	if err != nil {
		return n, false, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBytes))
	at := time.Now()
	switch {
	case err != nil:
		return n, false, err
	case res.StatusCode == http.StatusNotModified:
		return n, false, nil
	case res.StatusCode != http.StatusOK:
		return n, false, fmt.Errorf("%s was answered with %s", a.operation, res.Status)
	}
	a.etag = res.Header.Get("ETag")
	var op struct {
		State  string `json:"state"`
		Result *event `json:"result"`
	}
	if err := json.Unmarshal(body, &op); err != nil {
		return n, false, err
	}
	if op.State == "running" {
		return n, false, nil
	}
	if op.Result == nil {
		return n, false, fmt.Errorf("%s ended as %s", a.operation, op.State)
	}
	return Notice{Ready: op.Result.Data.At, Known: at}, true, nil
}

func (a *asker) hangUp() {
	if a.conn != nil {
		a.conn.close()
		a.conn = nil
	}
}

const maxBytes = 64 << 10

// event is what is looked at of order.ready.
type event struct {
	Type    string     `json:"type"`
	Subject string     `json:"subject"`
	Data    cook.Ready `json:"data"`
}
