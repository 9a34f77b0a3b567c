package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// maxDeclarationBytes bounds the body of a declaration, or of a command.
const maxDeclarationBytes = 1 << 20

// topicDocument is a topic as it is shown. Owner and Status may be sent back with a PUT, which does not look at them.
type topicDocument struct {
	tandem.Topic
	Owner  string       `json:"owner,omitempty"` // file, api, or orphan: an earlier file declared it
	Status *topicStatus `json:"status,omitempty"`
}

type topicStatus struct {
	Events     uint64            `json:"events"`
	Bytes      int64             `json:"bytes"`
	Partitions []partitionStatus `json:"partitions"`
}

type partitionStatus struct {
	Start  uint64 `json:"start"`
	End    uint64 `json:"end"`
	Events uint64 `json:"events"`
	Bytes  int64  `json:"bytes"`
	Stored uint64 `json:"stored"` // since the topic was created, what retention has removed included
}

func (a *API) listTopics(c *call) error {
	values, err := c.query("after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging(values)
	if err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		list := struct {
			Topics []topicDocument `json:"topics"`
			Next   string          `json:"next,omitempty"`
		}{Topics: []topicDocument{}}
		for _, info := range a.log.Topics() {
			if info.Name <= after {
				continue
			}
			if len(list.Topics) == limit {
				list.Next = list.Topics[limit-1].Name
				c.linkNext(values, list.Next)
				break
			}
			list.Topics = append(list.Topics, topicDocument{Topic: info.Topic, Owner: a.topicOwner(info.Name)})
		}
		return &list, "", nil
	})
}

func (a *API) getTopic(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		info, err := a.log.Topic(c.r.Context(), c.arg)
		if err != nil {
			return nil, "", err
		}
		doc := topicDocument{Topic: info.Topic, Owner: a.topicOwner(info.Name), Status: &topicStatus{}}
		for _, b := range info.Bounds {
			p := partitionStatus{b.Start, b.End, b.EndSeq - b.StartSeq, b.Bytes, max(b.EndSeq, 1) - 1}
			doc.Status.Partitions = append(doc.Status.Partitions, p)
			doc.Status.Events += p.Events
			doc.Status.Bytes += p.Bytes
		}
		return &doc, topicETag(info.Topic), nil
	})
}

func (a *API) putTopic(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	var doc topicDocument
	c.deadline(a.opts.BodyTimeout)
	if err := httpx.DecodeJSON(c.r, maxDeclarationBytes, &doc); err != nil {
		return err
	}
	if doc.Name != "" && doc.Name != c.arg {
		return tandem.Errorf(tandem.CodeInvalid, "the body names another topic than the path").WithField("/name", "must be %s or absent", c.arg)
	}
	if doc.Name = c.arg; !tandem.ValidTopicName(doc.Name) {
		return tandem.Errorf(tandem.CodeInvalid, "%q cannot name a topic", shorten(doc.Name)).
			WithField("topic", "must be segments of a-z, 0-9, _ and -, separated by dots, at most 200 bytes, and begin with a letter or digit")
	}
	if err := a.ownedByFile("topic", c.arg); err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	have, err := a.log.Topic(c.r.Context(), c.arg)
	etag, status := "", http.StatusOK
	switch tandem.CodeOf(err) {
	case "":
		etag = topicETag(have.Topic)
	case tandem.CodeNotFound:
		status = http.StatusCreated
	default:
		return err
	}
	if err := httpx.Precondition(c.r.Header, etag); err != nil {
		return err
	}
	if status == http.StatusCreated {
		have, err = a.log.CreateTopic(c.r.Context(), doc.Topic)
	} else {
		have, err = a.log.UpdateTopic(c.r.Context(), doc.Topic)
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", topicETag(have.Topic))
	if status == http.StatusCreated {
		c.w.Header().Set("Location", "/v1/topics/"+url.PathEscape(c.arg))
	}
	httpx.WriteJSON(&c.w, status, topicDocument{Topic: have.Topic, Owner: a.topicOwner(c.arg)})
	return nil
}

func (a *API) deleteTopic(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if err := a.ownedByFile("topic", c.arg); err != nil {
		return err
	}
	if !tandem.ValidTopicName(c.arg) {
		return tandem.Errorf(tandem.CodeNotFound, "no topic %s", shorten(c.arg))
	}
	a.change.Lock()
	defer a.change.Unlock()
	have, err := a.log.Topic(c.r.Context(), c.arg)
	if err != nil {
		return err
	}
	if err := httpx.Precondition(c.r.Header, topicETag(have.Topic)); err != nil {
		return err
	}
	if err := a.log.DeleteTopic(c.r.Context(), c.arg); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// topicETag is a strong tag of a declaration.
func topicETag(t tandem.Topic) string {
	b, _ := json.Marshal(t) // texts and numbers
	return `"` + tandem.DerivedID(string(b)) + `"`
}

func (a *API) topicOwner(name string) string {
	switch cfg := a.opts.Config; {
	case cfg == nil:
	case cfg.Owns("topic", name):
		return "file"
	case cfg.Orphan(name):
		return "orphan"
	}
	return "api"
}

func (a *API) ownedByFile(kind, name string) error {
	if a.opts.Config == nil || !a.opts.Config.Owns(kind, name) {
		return nil
	}
	return tandem.Errorf(tandem.CodeConflict, "the configuration file declares the %s %s", kind, name).
		WithHint("change it there and reload: POST /v1/config:reload")
}

const (
	defaultListed = 100
	maxListed     = 1000
)

// paging reads after= and limit= of a list.
func paging(values url.Values) (after string, limit int, err error) {
	limit = defaultListed
	if v := values.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > maxListed {
			return "", 0, tandem.Errorf(tandem.CodeInvalid, "the query is invalid").WithField("limit", "must be a number from 1 to %d", maxListed)
		}
	}
	return values.Get("after"), limit, nil
}

// linkNext names the page of a list that follows (RFC 8288).
func (c *call) linkNext(values url.Values, after string) {
	v := url.Values{}
	for name, list := range values {
		v[name] = list
	}
	v.Set("after", after)
	c.w.Header().Set("Link", "<"+c.r.URL.EscapedPath()+"?"+v.Encode()+`>; rel="next"`)
}
