package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
)

// Publish stores events in a topic and returns their receipts, in the order given. It returns when they are durable: all
// of them or none, on an engine that is atomic. It does not change or keep events. Of their Meta it sends what CloudEvents
// have attributes for and Key, which must be the same for all.
//
// An event without an ID gets one from the server. Give it one of your own (tandem.NewID) to make repeating safe: such
// events are sent again by themselves when the server is unavailable or the connection breaks, and you may do so, too.
//
// A topic with subscriptions of mode request takes events one after another. The first error of them is returned, and what was
// stored beside it is stored: send all again under the same ids. Request returns what those subscriptions answered.
//
// Codes: Invalid (Fields name the attribute; nothing was stored), Conflict (another event under the same id), NotFound,
// TooLarge, Overloaded, Unavailable, Timeout (it may have been stored), RequestLink.
func (c *Client) Publish(ctx context.Context, topic string, events ...tandem.Event) ([]tandem.Receipt, error) {
	if len(events) == 0 {
		return nil, nil
	}
	r := call{method: http.MethodPost, path: eventsPath(topic), query: url.Values{}, repeat: repeatAlways}
	for i := range events {
		if events[i].ID == "" {
			r.repeat = repeatRefused
		}
		if events[i].Meta.Key != events[0].Meta.Key {
			return nil, tandem.Errorf(tandem.CodeInvalid, "events with different keys cannot be published together").
				WithHint("publish those of each key by themselves, or let the subject be the key")
		}
	}
	if key := events[0].Meta.Key; key != "" {
		r.query.Set("key", key)
	}
	if len(events) == 1 {
		r.header, r.body = contentType(tandem.MediaEvent), tandem.AppendEventJSON(nil, &events[0])
		var a published
		if err := c.publish(ctx, r, events[0].ID, &a); err != nil {
			return nil, err
		}
		return []tandem.Receipt{a.receipt}, nil
	}
	r.header, r.body = contentType(tandem.MediaBatch), tandem.AppendBatchJSON(nil, events)
	var items []item
	if _, err := c.do(ctx, r, &items); err != nil {
		return nil, err
	}
	receipts := make([]tandem.Receipt, len(items))
	for i := range items {
		if items[i].Type != "" {
			e := items[i].Err()
			e.Op = r.op()
			return nil, e
		}
		receipts[i] = items[i].Receipt
	}
	return receipts, nil
}

// Attributes are CloudEvents attributes of plain JSON by name ("type", "source", "subject", "id", extensions), and
// "key", which orders the event. What is left out is filled in by the topic's defaults.
type Attributes map[string]string

func (as Attributes) query() url.Values {
	v := url.Values{}
	for name, value := range as {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// PublishJSON stores one event whose data is a JSON value. Codes as those of Publish.
func (c *Client) PublishJSON(ctx context.Context, topic string, data []byte, attributes Attributes) (tandem.Receipt, error) {
	r := call{method: http.MethodPost, path: eventsPath(topic), query: attributes.query(), header: contentType("application/json"),
		body: data, repeat: repeatRefused}
	if attributes["id"] != "" {
		r.repeat = repeatAlways
	}
	var a published
	err := c.publish(ctx, r, attributes["id"], &a)
	return a.receipt, err
}

func contentType(t string) http.Header { return http.Header{"Content-Type": {t}} }

func eventsPath(topic string) string { return "/v1/topics/" + url.PathEscape(topic) + "/events" }
