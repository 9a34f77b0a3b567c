package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tandem-hybrid/tandem"
)

// Subscription is a subscription as a server shows it.
type Subscription struct {
	tandem.Subscription
	Owner  string                     `json:"owner,omitempty"` // file, api, or orphan: an earlier file declared it
	Status *tandem.SubscriptionStatus `json:"status,omitempty"`
	ETag   string                     `json:"-"` // of the declaration; empty in lists
}

// Subscriptions returns all subscriptions by name, with their status.
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	var all []Subscription
	for after := ""; ; {
		var list struct {
			Subscriptions []Subscription
			Next          string
		}
		if err := c.list(ctx, "/v1/subscriptions", after, 0, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Subscriptions...)
		if after = list.Next; after == "" {
			return all, nil
		}
	}
}

// Subscription returns one subscription with its status. Code: NotFound.
func (c *Client) Subscription(ctx context.Context, name string) (Subscription, error) {
	return c.subscription(ctx, call{method: http.MethodGet, path: subscriptionPath(name), repeat: repeatAlways})
}

// CreateSubscription makes a subscription. Codes: Precondition when there is one of this name, Conflict when the
// configuration file declares it, Invalid.
func (c *Client) CreateSubscription(ctx context.Context, s tandem.Subscription) (Subscription, error) {
	return c.subscription(ctx, call{method: http.MethodPut, path: subscriptionPath(s.Name), body: jsonBody(s), header: http.Header{"If-None-Match": {"*"}}})
}

// PutSubscription makes a subscription or changes its declaration. With ifMatch it must have this ETag. A changed filter
// holds from the next event. Codes: Precondition, Conflict (the configuration file declares it), Invalid.
func (c *Client) PutSubscription(ctx context.Context, s tandem.Subscription, ifMatch string) (Subscription, error) {
	return c.subscription(ctx, call{method: http.MethodPut, path: subscriptionPath(s.Name), body: jsonBody(s), header: condition(ifMatch), repeat: repeatAlways})
}

// DeleteSubscription removes a subscription with all that it remembers. Codes: NotFound, Conflict.
func (c *Client) DeleteSubscription(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: subscriptionPath(name)}, nil)
	return err
}

// Pause stops deliveries until Resume; the place is kept. Code: NotFound.
func (c *Client) Pause(ctx context.Context, name string) (tandem.SubscriptionStatus, error) {
	return c.command(ctx, name, ":pause", nil, repeatAlways)
}

// Resume goes on after Pause, or after the endpoint disabled the subscription. Code: NotFound.
func (c *Client) Resume(ctx context.Context, name string) (tandem.SubscriptionStatus, error) {
	return c.command(ctx, name, ":resume", nil, repeatAlways)
}

// Seek moves a subscription to another place, back or forth, and begins a new epoch. Codes: NotFound, Invalid.
func (c *Client) Seek(ctx context.Context, name string, to tandem.Start) (tandem.SubscriptionStatus, error) {
	body := map[string]string{"from": "latest"}
	switch {
	case to.Cursor != "":
		body = map[string]string{"cursor": string(to.Cursor)}
	case to.Earliest:
		body["from"] = "earliest"
	case to.Time != "":
		body["from"] = to.Time
	}
	return c.command(ctx, name, ":seek", jsonBody(body), repeatRefused)
}

// DeadLetters returns dead letters of a subscription after an id, "" for the first ones, and the id to go on after, ""
// at the end. A limit of zero leaves it to the server. Code: NotFound.
func (c *Client) DeadLetters(ctx context.Context, name, after string, limit int) ([]tandem.DeadLetter, string, error) {
	var list struct {
		DeadLetters []tandem.DeadLetter
		Next        string
	}
	err := c.list(ctx, subscriptionPath(name)+"/dead-letters", after, limit, &list)
	return list.DeadLetters, list.Next, err
}

// Redrive delivers dead letters again, outside the order of their keys: those named, or for nil all. It returns how many.
// Code: NotFound.
func (c *Client) Redrive(ctx context.Context, name string, ids []string) (int, error) {
	return c.settle(ctx, name, "redrive", ids)
}

// Discard gives dead letters up: those named, or for nil all. It returns how many. Code: NotFound.
func (c *Client) Discard(ctx context.Context, name string, ids []string) (int, error) {
	return c.settle(ctx, name, "discard", ids)
}

func (c *Client) settle(ctx context.Context, name, verb string, ids []string) (int, error) {
	which := map[string]any{"all": true}
	if ids != nil {
		which = map[string]any{"ids": ids}
	}
	var done struct{ Redriven, Discarded int }
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + "/dead-letters:" + verb, body: jsonBody(which)}, &done)
	return done.Redriven + done.Discarded, err
}

func (c *Client) subscription(ctx context.Context, r call) (Subscription, error) {
	var s Subscription
	h, err := c.do(ctx, r, &s)
	s.ETag = h.Get("ETag")
	return s, err
}

func (c *Client) command(ctx context.Context, name, verb string, body []byte, again repeat) (tandem.SubscriptionStatus, error) {
	var status tandem.SubscriptionStatus
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + verb, body: body, repeat: again}, &status)
	return status, err
}

// list gets one page of a list.
func (c *Client) list(ctx context.Context, path, after string, limit int, out any) error {
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: q, repeat: repeatAlways}, out)
	return err
}

func subscriptionPath(name string) string { return "/v1/subscriptions/" + url.PathEscape(name) }
