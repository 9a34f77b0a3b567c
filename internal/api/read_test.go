package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/condition"
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
		{events + "?last=0", 400, "last"},
		{events + "?last=1001", 400, "last"},
		{events + "?last=5&from=earliest", 400, "last"},
		{events + "?slow=never", 400, "slow"},
		{events + "?credit=0", 400, "credit"},
		{events + "?credit=5", 400, "credit"},
		{events + "?credit=5&slow=conflate", 400, "credit"},
		{events + "?form=earliest", 400, "form"},
		{events + "?topic=other", 400, "topic"},
		{events + "?filter=" + url.QueryEscape(`{"exact":`), 400, "filter"},
		{events + "?filter=" + url.QueryEscape(`{"exact":{"type":{}}}`), 400, "filter"},
		{events + "?filter=" + url.QueryEscape(`{"sql":5}`), 400, "filter"},
		{events + "?filter=" + url.QueryEscape(`{"cel":"true"}`), 501, "filter"},
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
	h.do("GET", events, "", "Upgrade", "websocket", "Connection", "Upgrade").problem(400, "Sec-WebSocket-Version", "Sec-WebSocket-Key")
}

// TestReadConditions: a condition is compiled once for a request and judges each event; one that cannot be is refused with its
// place.
// Topics of Tandem's own are read by name, by those who know it; a pattern does not find them, and nobody publishes to them.
func TestReadTheTopicOfOperators(t *testing.T) {
	h := newHarness(t, nil)
	const name = "_tandem.operator"
	h.create(tandem.Topic{Name: name, Partitions: 1})
	e := []tandem.Event{{Source: "/tandem/subscriptions/s", Type: "tandem.subscription.paused", Data: []byte(`{}`)}}
	if _, err := h.log.Append(t.Context(), name, e); err != nil {
		t.Fatal(err)
	}
	if a := h.do("GET", "/v1/topics/"+name+"/events?from=earliest", "").want(200); !strings.Contains(a.body, "tandem.subscription.paused") {
		t.Errorf("%s", a.body)
	}
	if a := h.do("GET", "/v1/events?topic=**&from=earliest", "").want(200); strings.Contains(a.body, "tandem.subscription.paused") {
		t.Errorf("%s", a.body)
	}
	h.do("POST", "/v1/topics/"+name+"/events?type=a&source=/s", "{}").want(403)
}

func TestReadConditions(t *testing.T) {
	compiled := 0
	conditions := condition.New(condition.Options{})
	h := newHarness(t, func(o *api.Options) {
		o.Conditions = func(dialect, text string) (tandem.Condition, error) {
			compiled++
			return conditions.Compile(dialect, text)
		}
	})
	for i := range 5 {
		h.do("POST", events+"?type=a&source=/s", fmt.Sprintf(`{"total":%d}`, i*10)).want(201)
	}
	get := func(filter string) answer {
		return h.do("GET", events+"?from=earliest&type=a&filter="+url.QueryEscape(filter), "")
	}
	for filter, want := range map[string]int{
		`{"cel":"data.total > 15"}`:                                3,
		`{"sql":"source = '/s'"}`:                                  5,
		`{"not":{"cel":"data.total > 15"},"sql":"type LIKE 'a%'"}`: 2,
	} {
		compiled = 0
		if got := strings.Count(get(filter).body, `"specversion"`); got != want || compiled > 2 {
			t.Errorf("%s: %d events, %d compiled", filter, got, compiled)
		}
	}
	for filter, want := range map[string]string{
		`{"cel":"data.total >"}`:             "/cel line 1, column 13: Syntax error",
		`{"any":[{"sql":"type = 'x' AND"}]}`: "/any/0/sql line 1, column 15: the end does not belong here",
	} {
		a := get(filter)
		a.problem(400, "filter")
		if !strings.Contains(a.body, want) {
			t.Errorf("%s: %s", filter, a.body)
		}
	}
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
