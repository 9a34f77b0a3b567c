package api

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

var deliveryStates = []string{tandem.DeliveryDelivered, tandem.DeliveryFailed, tandem.DeliveryDead, tandem.DeliveryExpired, tandem.DeliveryDiscarded, tandem.DeliveryUnread,
	tandem.DeliveryQueued, tandem.DeliverySending, tandem.DeliveryRetrying, tandem.DeliveryWaiting, tandem.DeliverySkipped, tandem.DeliveryPassed,
	tandem.DeliveryUnknown}

func (a *API) listDeliveries(c *call) error {
	if a.opts.Ledger == nil {
		return notSupported("the ledger")
	}
	values, err := c.query("event", "source", "key", "flow", "position", "state", "since", "until", "after", "limit")
	if err != nil {
		return err
	}
	q, err := parseDeliveryQuery(values)
	if err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		page, err := a.opts.Ledger.Deliveries(c.r.Context(), c.arg, q)
		if err != nil {
			return nil, "", err
		}
		if page.Deliveries == nil {
			page.Deliveries = []tandem.Delivery{}
		}
		if page.Next != "" {
			c.linkNext(values, page.Next)
		}
		return &page, "", nil
	})
}

func parseDeliveryQuery(values url.Values) (q tandem.DeliveryQuery, err error) {
	if q.After, q.Limit, err = paging(values); err != nil {
		return q, err
	}
	bad := faults{text: "the query is invalid"}
	q.ID, q.Source, q.Key = values.Get("event"), values.Get("source"), values.Get("key")
	q.Flow, q.State = values.Get("flow"), values.Get("state")
	if q.State != "" && !slices.Contains(deliveryStates, q.State) {
		bad.add("state", "must be one of %s", strings.Join(deliveryStates, ", "))
	}
	if v := values.Get("position"); v != "" {
		if p, err := tandem.ParsePosition(v); err != nil {
			bad.add("position", "must be topic/partition/offset")
		} else {
			q.Position = &p
		}
	}
	bad.time(values, "since", &q.Since)
	bad.time(values, "until", &q.Until)
	if q.Source != "" && q.ID == "" {
		bad.add("source", "goes with event")
	}
	if bad.err != nil {
		return q, bad.err
	}
	return q, nil
}

// time reads a parameter that is a time. One that is absent leaves into as it is.
func (f *faults) time(values url.Values, name string, into *time.Time) {
	v := values.Get(name)
	if v == "" {
		return
	}
	at, ok := tandem.ParseTime(v)
	if !ok {
		f.add(name, "must be an RFC 3339 time such as 2026-01-31T09:30:00Z")
		return
	}
	*into = at
}
