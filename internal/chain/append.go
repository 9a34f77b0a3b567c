package chain

import (
	"context"
	"errors"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Append is eventlog.Log.Append, but that events of a topic with request links are published one after another. On an error
// those before it are stored.
func (c *Chain) Append(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	if !c.Has(topic) {
		return c.log.Append(ctx, topic, events)
	}
	receipts := make([]tandem.Receipt, len(events))
	for i := range events {
		s := c.append(ctx, topic, &events[i])
		if s.Err != nil {
			return nil, s.Err
		}
		receipts[i] = s.Receipt
	}
	return receipts, nil
}

// AppendEach is eventlog.Log.AppendEach, through the request links of the topic if it has any.
func (c *Chain) AppendEach(ctx context.Context, topic string, events []tandem.Event) []tandem.Stored {
	if !c.Has(topic) {
		return c.log.AppendEach(ctx, topic, events)
	}
	out := make([]tandem.Stored, len(events))
	for i := range events {
		out[i] = c.append(ctx, topic, &events[i])
	}
	return out
}

func (c *Chain) append(ctx context.Context, topic string, e *tandem.Event) tandem.Stored {
	tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: topic, Event: *e}}}
	res, err := c.Publish(ctx, tx)
	if err == nil {
		*e = tx.Events[0].Event
	}
	return tandem.Stored{Receipt: res.Receipt, Err: err}
}

// Refused reports whether a request link said no to the event, so that publishing it again is of no use.
func Refused(err error) bool {
	var e *tandem.Error
	return errors.As(err, &e) && e.Link != nil && e.Link.Outcome == tandem.LinkRefused
}
