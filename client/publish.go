package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
)

// Publish stores events in a topic and returns their receipts, in the order given. It returns when they are durable: all
// of them or none, on an engine that is atomic. It does not change or keep events.
//
// An event without an ID gets one from the server. Give it one of your own (tandem.NewID) to make repeating safe: such
// events are sent again by themselves when the server is unavailable or the connection breaks, and you may do so, too.
//
// Codes: Invalid (Fields name the attribute; nothing was stored), Conflict (another event under the same id), NotFound,
// TooLarge, Overloaded, Unavailable, Timeout (it may have been stored).
func (c *Client) Publish(ctx context.Context, topic string, events ...tandem.Event) ([]tandem.Receipt, error) {
	if len(events) == 0 {
		return nil, nil
	}
	r := call{method: http.MethodPost, path: eventsPath(topic), header: http.Header{"Content-Type": {tandem.MediaBatch}}, repeat: repeatAlways}
	for i := range events {
		if events[i].ID == "" {
			r.repeat = repeatRefused
		}
	}
	if len(events) == 1 {
		r.header.Set("Content-Type", tandem.MediaEvent)
		r.body = tandem.AppendEventJSON(nil, &events[0])
		receipt := make([]tandem.Receipt, 1)
		if _, err := c.do(ctx, r, &receipt[0]); err != nil {
			return nil, err
		}
		return receipt, nil
	}
	r.body = tandem.AppendBatchJSON(nil, events)
	var receipts []tandem.Receipt
	if _, err := c.do(ctx, r, &receipts); err != nil {
		return nil, err
	}
	return receipts, nil
}

// PublishData stores one event whose data is any bytes of a content type; the topic's defaults, or the attributes given,
// make the rest. Attributes are the names of CloudEvents ("type", "source", "subject", "id", extensions). Codes as those
// of Publish.
func (c *Client) PublishData(ctx context.Context, topic, contentType string, data []byte, attributes map[string]string) (tandem.Receipt, error) {
	r := call{method: http.MethodPost, path: eventsPath(topic), body: data, query: url.Values{},
		header: http.Header{"Content-Type": {contentType}}, repeat: repeatRefused}
	for name, value := range attributes {
		r.query.Set(name, value)
	}
	if attributes["id"] != "" {
		r.repeat = repeatAlways
	}
	var receipt tandem.Receipt
	_, err := c.do(ctx, r, &receipt)
	return receipt, err
}

func eventsPath(topic string) string { return "/v1/topics/" + url.PathEscape(topic) + "/events" }

// unmarshalProblem reads a problem in a line of NDJSON or a part of a batch.
func unmarshalProblem(b []byte) (*tandem.Problem, bool) {
	var p tandem.Problem
	if json.Unmarshal(b, &p) != nil || p.Status < 300 {
		return nil, false
	}
	return &p, true
}
