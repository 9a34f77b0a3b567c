package api

import (
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/browser"
)

// Limits of a list of streams.
const (
	defaultStreams = 100
	maxStreams     = 1000
)

// browserModule answers GET /v1/client.js. A page cannot send a token with an import, and there is nothing secret in it.
func (a *API) browserModule(c *call) error {
	browser.Serve(&c.w, c.r)
	return nil
}

// listStreams answers GET /v1/streams.
func (a *API) listStreams(c *call) error {
	values, err := c.query("topic", "principal", "limit")
	if err != nil {
		return err
	}
	q := tandem.StreamQuery{Topic: values.Get("topic"), Principal: values.Get("principal"), Limit: defaultStreams}
	if v := values.Get("limit"); v != "" {
		if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 0 || q.Limit > maxStreams {
			return tandem.Errorf(tandem.CodeInvalid, "the query is invalid").WithField("limit", "must be a number from 0 to %d", maxStreams)
		}
	}
	return a.document(c, func() (any, string, error) { return a.opts.Streams.Present(q), "", nil })
}
