package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestReadBadInput(t *testing.T) {
	h := newHarness(t, nil)
	h.publish(tandem.MediaEvent, anEvent).want(201)
	for _, c := range []struct {
		target   string
		status   int
		pointers string
	}{
		{events + "?cursor=rubbish", 400, "cursor"},
		{events + "?cursor=" + strings.Repeat("A", 4000), 400, "cursor"},
		{events + "?from=yesterday", 400, "from"},
		{events + "?from=earliest&cursor=x", 400, "from"},
		{events + "?limit=0", 400, "limit"},
		{events + "?limit=1001", 400, "limit"},
		{events + "?wait=soon", 400, "wait"},
		{events + "?wait=6m", 400, "wait"},
		{events + "?wait=-1s", 400, "wait"},
		{events + "?limit=1&limit=2", 400, "limit"},
		{events + "?form=earliest", 400, "form"},
		{events + "?topic=other", 400, "topic"},
		{events + "?filter=" + url.QueryEscape(`{"exact":`), 400, "filter"},
		{events + "?filter=" + url.QueryEscape(`{"exact":{"type":{}}}`), 400, "filter"},
		{events + "?filter=" + url.QueryEscape(`{"sql":"x"}`), 400, "filter"},
		{events + "?filter=" + url.QueryEscape(`{"exact":{"type":"a","type":"b"}}`), 400, "filter"},
		{events + "?%zz", 400, ""},
		{"/v1/events", 400, "topic"},
		{"/v1/events?topic=Bad", 400, "topic"},
		{"/v1/events?topic=a.**.b", 400, "topic"},
		{"/v1/events?topic=nowhere", 404, ""},
		{"/v1/topics/nowhere/events", 404, ""},
	} {
		for _, accept := range []string{"application/json", tandem.MediaSSE} {
			a := h.do("GET", c.target, "", "Accept", accept)
			if a.status != c.status {
				t.Errorf("%s: %d %s", c.target, a.status, a.body)
				continue
			}
			a.problem(c.status, strings.Fields(c.pointers)...)
		}
	}
	h.do("GET", events, "", "Upgrade", "websocket", "Connection", "Upgrade").problem(501)
}

func TestReadFilters(t *testing.T) {
	h := newHarness(t, nil)
	h.create(tandem.Topic{Name: "orders.eu"})
	for i, typ := range []string{"a", "b", "ab", "c"} {
		for _, topic := range []string{"orders", "orders.eu"} {
			h.do("POST", fmt.Sprintf("/v1/topics/%s/events?type=%s&source=/s%d&subject=k", topic, typ, i%2), "1").want(201)
		}
	}
	for query, want := range map[string]int{
		"topic=orders":             4,
		"topic=orders&topic=*.eu":  8,
		"topic=**":                 8,
		"topic=**&type=a":          2,
		"topic=**&source=/s0":      4,
		"topic=**&subject=k":       8,
		"topic=**&subject=x":       0,
		"topic=**&type=a&source=x": 0,
		"topic=**&filter=" + url.QueryEscape(`{"prefix":{"type":"a"}}`):            4,
		"topic=**&source=/s0&filter=" + url.QueryEscape(`{"prefix":{"type":"a"}}`): 4,
		"topic=**&source=/s1&filter=" + url.QueryEscape(`{"prefix":{"type":"a"}}`): 0,
		"topic=**&filter=" + url.QueryEscape(`{}`):                                 8,
	} {
		a := h.do("GET", "/v1/events?from=earliest&"+query, "").want(200)
		if got := len(decode[tandem.Page](a).Events); got != want {
			t.Errorf("%s: %d events, want %d", query, got, want)
		}
	}
}
