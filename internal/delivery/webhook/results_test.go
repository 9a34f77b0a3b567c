package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func results(status int, media, body string) *Answer {
	return &Answer{Status: status, Header: http.Header{"Content-Type": {media}}, Body: []byte(body)}
}

func TestResults(t *testing.T) {
	a := results(207, "Application/vnd.Tandem.results+json; charset=utf-8", `{"results":[{"status":204},
		{"status":503,"retryAfter":2.5,"detail":"no stock\nof it, token abcdefghijklmnopqrst1"},
		{"status":200,"events":[{"specversion":"1.0","id":"1","source":"/s","type":"t"}], "more": 1},
		{"status":400,"events":[{"not":"read"}]}]}`)
	items, ok, err := a.Results(4)
	if err != nil || !ok || len(items) != 4 {
		t.Fatalf("%v %v %v", items, ok, err)
	}
	if items[0].Status != 204 || items[0].Events != nil || items[0].Detail != "" {
		t.Errorf("%+v", items[0])
	}
	if items[1].Status != 503 || items[1].RetryAfter != 2500*time.Millisecond || items[1].Detail != "no stock of it, token [masked]" {
		t.Errorf("%+v", items[1])
	}
	a.hidden = []string{"stock"}
	if items, _, err := a.Results(4); err != nil || items[1].Detail != "no [masked] of it, token [masked]" {
		t.Errorf("a secret in a detail: %+v %v", items, err)
	}
	if len(items[2].Events) != 1 || items[2].Events[0].Type != "t" || items[3].Events != nil {
		t.Errorf("%+v", items[2:])
	}
}

func TestResultsThatAreNone(t *testing.T) {
	cut := results(200, tandem.MediaResults, `{"results":[]}`)
	cut.Cut = true
	for name, c := range map[string]struct {
		a   *Answer
		bad string
	}{
		"no body":                 {&Answer{Status: 204, Header: http.Header{}}, ""},
		"plain JSON":              {results(200, "application/json", `{"results":[{"status":500}]}`), ""},
		"of another status":       {results(503, tandem.MediaResults, `{"results":[{"status":200}]}`), ""},
		"no answer":               {&Answer{Err: http.ErrServerClosed}, ""},
		"a batch of events":       {results(200, tandem.MediaBatch, `[]`), "CloudEvents"},
		"an event":                {results(200, tandem.MediaEvent, `{}`), "CloudEvents"},
		"an event in binary":      {&Answer{Status: 200, Header: http.Header{"Ce-Id": {"1"}}}, "CloudEvents"},
		"too few":                 {results(200, tandem.MediaResults, `{"results":[]}`), "0 results for 1 events"},
		"too many":                {results(200, tandem.MediaResults, `{"results":[{"status":200},{"status":200}]}`), "2 results for 1 events"},
		"no JSON":                 {results(200, tandem.MediaResults, `{`), "not valid"},
		"a text for a status":     {results(200, tandem.MediaResults, `{"results":[{"status":"200"}]}`), "not valid: a JSON string does not belong at byte 27"},
		"no status":               {results(200, tandem.MediaResults, `{"results":[{}]}`), "result 0: the status 0"},
		"an interim status":       {results(200, tandem.MediaResults, `{"results":[{"status":100}]}`), "the status 100"},
		"a negative wait":         {results(200, tandem.MediaResults, `{"results":[{"status":500,"retryAfter":-1}]}`), "retryAfter"},
		"an event that is broken": {results(200, tandem.MediaResults, `{"results":[{"status":200,"events":[{"id":1}]}]}`), "result 0: "},
		"over the limit":          {cut, "bytes"},
	} {
		items, ok, err := c.a.Results(1)
		switch {
		case ok || items != nil:
			t.Errorf("%s: %v", name, items)
		case c.bad == "" && err != nil, c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"results":[{"status":204},{"status":503,"retryAfter":1e300}]}`))
	f.Add([]byte(`{"results":[{"status":200,"events":[{"specversion":"1.0","id":"1","source":"/s","type":"t"}]},null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, ok, err := results(200, tandem.MediaResults, string(body)).Results(2)
		if ok && (err != nil || len(items) != 2) || !ok && items != nil {
			t.Fatalf("%v %v %v", items, ok, err)
		}
		for _, r := range items {
			if r.RetryAfter < 0 || r.RetryAfter > maxRetryAfter || r.Status < 200 || r.Status > 599 || len(r.Detail) > 300 {
				t.Fatalf("%+v", r)
			}
		}
	})
}
