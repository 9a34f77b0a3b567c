package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
)

// Request is Publish of one event that also returns what the subscriptions of mode request answered: the replies, depth first,
// which were stored with the event; nil for a topic without such subscriptions. A deadline of ctx does not end the chain of calls, which
// goes on in the server; ask for a shorter one where it is declared. Codes: as Publish; RequestLink (nothing was stored; Link says who failed, and how).
func (c *Client) Request(ctx context.Context, topic string, event tandem.Event) (tandem.Receipt, []tandem.Event, error) {
	r := call{method: http.MethodPost, path: eventsPath(topic), query: url.Values{}, repeat: repeatAlways,
		header: contentType(tandem.MediaEvent), body: tandem.AppendEventJSON(nil, &event)}
	if event.ID == "" {
		r.repeat = repeatRefused
	}
	if key := event.Meta.Key; key != "" {
		r.query.Set("key", key)
	}
	var a published
	err := c.publish(ctx, r, event.ID, &a)
	return a.receipt, a.replies, err
}

// published is what the server says to one event: a receipt, or replies with the receipt in the header.
type published struct {
	receipt tandem.Receipt
	replies []tandem.Event // nil: there were no request links
	raw     json.RawMessage
}

func (a *published) UnmarshalJSON(b []byte) error {
	a.raw = append(a.raw[:0], b...)
	return nil
}

// publish sends one event and reads the answer in either form.
func (c *Client) publish(ctx context.Context, r call, id string, a *published) error {
	h, err := c.do(ctx, r, a)
	if err != nil {
		return err
	}
	if len(a.raw) > 0 && a.raw[0] == '[' {
		err = a.request(h, id)
	} else {
		err = json.Unmarshal(a.raw, &a.receipt)
	}
	if err != nil {
		return &tandem.Error{Code: tandem.CodeInternal, Op: r.op(), Err: err, Hint: "is this the API listener of a Tandem server?"}
	}
	return nil
}

func (a *published) request(h http.Header, id string) (err error) {
	if a.replies, err = tandem.ParseBatchJSON(a.raw); err != nil {
		return err
	}
	if a.replies == nil {
		a.replies = []tandem.Event{}
	}
	p, err := tandem.ParsePosition(h.Get(tandem.HeaderPosition))
	if err != nil {
		return err
	}
	if id == "" {
		id = h.Get(tandem.HeaderID)
	}
	a.receipt = tandem.Receipt{ID: id, Topic: p.Topic, Partition: p.Partition, Offset: p.Offset, Cursor: tandem.Cursor(h.Get(tandem.HeaderCursor))}
	switch h.Get(tandem.HeaderDuplicate) {
	case "true":
		a.receipt.Duplicate = tandem.DuplicateYes
	case "unknown":
		a.receipt.Duplicate = tandem.DuplicateUnknown
	}
	return nil
}

// item is what the server says to one event of a batch: a receipt or, with a type, a problem.
type item struct {
	tandem.Receipt
	tandem.Problem
}
