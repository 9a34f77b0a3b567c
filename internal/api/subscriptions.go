package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// subscriptionDocument is a subscription as it is shown. Owner and Status may be sent back with a PUT, which does not
// look at them.
type subscriptionDocument struct {
	tandem.Subscription
	Owner  string                     `json:"owner,omitempty"` // file, api, or orphan: an earlier file declared it
	Status *tandem.SubscriptionStatus `json:"status,omitempty"`
}

// subscriptions returns the room, or why there is none.
func (a *API) subscriptions() (Subscriptions, error) {
	if a.opts.Subscriptions == nil {
		return nil, notSupported("a subscription")
	}
	return a.opts.Subscriptions, nil
}

func (a *API) listSubscriptions(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
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
			Subscriptions []subscriptionDocument `json:"subscriptions"`
			Next          string                 `json:"next,omitempty"`
		}{Subscriptions: []subscriptionDocument{}}
		all := slices.SortedFunc(slices.Values(subs.List()), func(a, b tandem.Subscription) int { return strings.Compare(a.Name, b.Name) })
		for _, sub := range all {
			if sub.Name <= after {
				continue
			}
			if n := len(list.Subscriptions); n == limit {
				list.Next = list.Subscriptions[n-1].Name
				c.linkNext(values, list.Next)
				break
			}
			doc, _, err := a.subscription(c, subs, sub.Name)
			if tandem.CodeOf(err) == tandem.CodeNotFound {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, "", err
			}
			list.Subscriptions = append(list.Subscriptions, doc)
		}
		return &list, "", nil
	})
}

func (a *API) subscription(c *call, subs Subscriptions, name string) (doc subscriptionDocument, etag string, err error) {
	if doc.Subscription, etag, doc.Owner, err = subs.Get(name); err != nil {
		return doc, "", err
	}
	status, err := subs.Status(c.r.Context(), name)
	doc.Status = &status
	return doc, etag, err
}

func (a *API) getSubscription(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		doc, etag, err := a.subscription(c, subs, c.arg)
		return &doc, etag, err
	})
}

// showSubscription answers a PUT with what there is now, and the tag of the declaration alone.
func (a *API) showSubscription(c *call, subs Subscriptions, status int) error {
	doc, etag, err := a.subscription(c, subs, c.arg)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etag)
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, status, &doc)
	return nil
}

func (a *API) putSubscription(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	var doc subscriptionDocument
	c.deadline(a.opts.BodyTimeout)
	if err := httpx.DecodeJSON(c.r, maxDeclarationBytes, &doc); err != nil {
		return err
	}
	if doc.Name != "" && doc.Name != c.arg {
		return tandem.Errorf(tandem.CodeInvalid, "the body names another subscription than the path").WithField("/name", "must be %s or absent", c.arg)
	}
	doc.Name = c.arg
	if err := a.ownedByFile("subscription", c.arg); err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	etag, err := currentETag(subs, c.arg)
	if err != nil {
		return err
	}
	if err := httpx.Precondition(c.r.Header, etag); err != nil {
		return err
	}
	ifMatch := ""
	if len(c.r.Header.Values("If-Match")) > 0 {
		ifMatch = etag
	}
	created, err := subs.Put(c.r.Context(), doc.Subscription, ifMatch)
	if err != nil {
		return err
	}
	if !created {
		return a.showSubscription(c, subs, http.StatusOK)
	}
	c.w.Header().Set("Location", "/v1/subscriptions/"+url.PathEscape(c.arg))
	return a.showSubscription(c, subs, http.StatusCreated)
}

// currentETag returns the tag of a subscription, "" when there is none.
func currentETag(subs Subscriptions, name string) (string, error) {
	_, etag, _, err := subs.Get(name)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return "", nil
	}
	return etag, err
}

func (a *API) deleteSubscription(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	if err := a.ownedByFile("subscription", c.arg); err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	_, etag, _, err := subs.Get(c.arg)
	if err != nil {
		return err
	}
	if err := httpx.Precondition(c.r.Header, etag); err != nil {
		return err
	}
	if err := subs.Delete(c.r.Context(), c.arg); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) pauseSubscription(c *call) error {
	return a.command(c, func(subs Subscriptions) error { return subs.Pause(c.signed(), c.arg) })
}

func (a *API) resumeSubscription(c *call) error {
	return a.command(c, func(subs Subscriptions) error { return subs.Resume(c.r.Context(), c.arg) })
}

// seekSubscription answers with what the seek does, or with dryRun would do.
func (a *API) seekSubscription(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	var doc seekDocument
	if err := a.body(c, &doc, false); err != nil {
		return err
	}
	to, err := doc.start()
	if err != nil {
		return err
	}
	plan, err := subs.Seek(c.r.Context(), c.arg, to, doc.DryRun)
	if err != nil {
		return inBody(err)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, &plan)
	return nil
}

// seekDocument asks for a seek.
type seekDocument struct {
	place
	DryRun bool `json:"dryRun"`
}

// command runs a command on a subscription, and answers with the status.
func (a *API) command(c *call, run func(Subscriptions) error) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	if err := a.noArguments(c); err != nil {
		return err
	}
	if err := run(subs); err != nil {
		return err
	}
	status, err := subs.Status(c.r.Context(), c.arg)
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, &status)
	return nil
}
