package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
)

// Topic is a topic as a server shows it.
type Topic struct {
	tandem.Topic
	Owner  string       `json:"owner,omitempty"`  // file, api, or orphan: an earlier file declared it
	Status *TopicStatus `json:"status,omitempty"` // nil in lists
	ETag   string       `json:"-"`                // for ifMatch; changes with the status, too; empty in lists
}

// TopicStatus is what a topic holds.
type TopicStatus struct {
	Events     uint64            `json:"events"`
	Bytes      int64             `json:"bytes"` // stored size, before compression
	Partitions []PartitionStatus `json:"partitions"`
}

// PartitionStatus is what a partition holds. Offsets are not dense: their difference is no number of events.
type PartitionStatus struct {
	Start  uint64 `json:"start"`
	End    uint64 `json:"end"`
	Events uint64 `json:"events"`
	Bytes  int64  `json:"bytes"`
	Stored uint64 `json:"stored"` // since the topic was created, what retention has removed included
}

// maxListed is the longest page of a list that a server gives.
const maxListed = 1000

// Topics returns all topics by name.
func (c *Client) Topics(ctx context.Context) ([]Topic, error) {
	var all []Topic
	for after := ""; ; {
		var list struct {
			Topics []Topic
			Next   string
		}
		if err := c.list(ctx, "/v1/topics", nil, after, maxListed, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Topics...)
		if after = list.Next; after == "" {
			return all, nil
		}
	}
}

// Topic returns one topic with its status. Code: NotFound.
func (c *Client) Topic(ctx context.Context, name string) (Topic, error) {
	return c.topic(ctx, call{method: http.MethodGet, path: topicPath(name), repeat: repeatAlways})
}

// CreateTopic makes a topic. Codes: Precondition when there is one of this name, Conflict when the configuration file
// declares it, Invalid.
func (c *Client) CreateTopic(ctx context.Context, t tandem.Topic) (Topic, error) {
	return c.topic(ctx, call{method: http.MethodPut, path: topicPath(t.Name), body: jsonBody(t), header: http.Header{"If-None-Match": {"*"}}})
}

// PutTopic makes a topic or changes its declaration, all but its partitions. With ifMatch it must have this ETag. Codes:
// Precondition, Conflict (the configuration file declares it; other partitions), Invalid.
func (c *Client) PutTopic(ctx context.Context, t tandem.Topic, ifMatch string) (Topic, error) {
	return c.topic(ctx, call{method: http.MethodPut, path: topicPath(t.Name), body: jsonBody(t), header: condition(ifMatch), repeat: repeatAlways})
}

// DeleteTopic removes a topic and all its events. Codes: NotFound, Conflict (the configuration file declares it).
func (c *Client) DeleteTopic(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: topicPath(name)}, nil)
	return err
}

func (c *Client) topic(ctx context.Context, r call) (Topic, error) {
	var t Topic
	h, err := c.do(ctx, r, &t)
	t.ETag = h.Get("ETag")
	return t, err
}

func topicPath(name string) string { return "/v1/topics/" + url.PathEscape(name) }

func condition(ifMatch string) http.Header {
	if ifMatch == "" {
		return nil
	}
	return http.Header{"If-Match": {ifMatch}}
}
