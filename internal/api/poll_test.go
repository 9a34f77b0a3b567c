package api_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
)

// TestDocumentsArePolled: every document that is asked for again and again has a tag, a hint when to ask, and 304 with nothing but these.
func TestDocumentsArePolled(t *testing.T) {
	subs := newFakeSubscriptions()
	subs.letters = []tandem.DeadLetter{{ID: "d1"}, {ID: "d2"}}
	h := newHarness(t, func(o *api.Options) { o.Subscriptions, o.Ledger = subs, &fakeLedger{} })
	for _, path := range []string{"/v1/topics", "/v1/topics?limit=1", "/v1/topics/orders", "/v1/subscriptions", "/v1/subscriptions/declared",
		"/v1/subscriptions/declared/dead-letters", "/v1/subscriptions/declared/dead-letters?limit=1", "/v1/subscriptions/declared/dead-letters/d1",
		"/v1/subscriptions/declared/deliveries", "/v1/streams", "/v1/status"} {
		a := h.do("GET", path, "").want(200)
		tag := a.header.Get("ETag")
		if tag == "" || strings.HasPrefix(tag, "W/") || a.header.Get("Cache-Control") != "private, no-cache" || a.header.Get("Retry-After") != "5" || a.body == "" {
			t.Errorf("%s: %v", path, a.header)
		}
		for _, match := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			for _, method := range []string{"GET", "HEAD"} {
				b := h.do(method, path, "", "If-None-Match", match).want(304)
				if b.body != "" || b.header.Get("ETag") != tag || b.header.Get("Retry-After") != "5" || b.header.Get("Cache-Control") != "private, no-cache" || b.header.Get("Content-Type") != "" ||
					b.header.Get("Link") != a.header.Get("Link") {
					t.Errorf("%s %s, If-None-Match %s: %q %v", method, path, match, b.body, b.header)
				}
			}
		}
		for _, match := range []string{`"x"`, strings.Trim(tag, `"`), ""} {
			if b := h.do("GET", path, "", "If-None-Match", match).want(200); b.body != a.body {
				t.Errorf("%s, If-None-Match %s: %q", path, match, b.body)
			}
		}
	}
	before := h.do("GET", "/v1/topics/orders", "").header.Get("ETag")
	h.do("POST", "/v1/topics/orders/events"+plainType, `{"id":1}`).want(201)
	h.do("GET", "/v1/topics/orders", "", "If-None-Match", before).want(200)
	h.do("GET", "/v1/topics/absent", "", "If-None-Match", "*").problem(404)
}

// TestDocumentsAreWaitedFor: a request that names what it has and prefers to wait is answered when that changes.
func TestDocumentsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs := newFakeSubscriptions()
		h := newHarness(t, func(o *api.Options) { o.Subscriptions = subs })
		const path = "/v1/topics/orders"
		tag := h.do("GET", path, "").header.Get("ETag")
		took := func(headers ...string) (answer, time.Duration) {
			began := time.Now()
			return h.do("GET", path, "", headers...), time.Since(began)
		}
		for _, c := range []struct {
			match, prefer, applied, again string
			status                        int
			took                          time.Duration
		}{
			{tag, "wait=10", "wait=10", "", 304, 10 * time.Second},
			{tag, "wait=3600", "wait=60", "", 304, time.Minute},
			{tag, "wait=0", "", "5", 304, 0},
			{tag, "", "", "5", 304, 0},
			{`"x"`, "wait=10", "", "5", 200, 0},
		} {
			a, d := took("If-None-Match", c.match, "Prefer", c.prefer)
			if a.status != c.status || d != c.took || a.header.Get("Preference-Applied") != c.applied || a.header.Get("Retry-After") != c.again {
				t.Errorf("If-None-Match %s, Prefer %s: %d after %v, %v", c.match, c.prefer, a.status, d, a.header)
			}
		}
		time.AfterFunc(3100*time.Millisecond, func() {
			h.do("POST", "/v1/topics/orders/events"+plainType, `{"id":1}`).want(201)
		})
		a, d := took("If-None-Match", tag, "Prefer", "wait=10")
		if a.status != 200 || d < 3100*time.Millisecond || d > 4*time.Second || !strings.Contains(a.body, `"events":1`) || a.header.Get("Retry-After") != "" {
			t.Errorf("%d after %v: %s %v", a.status, d, a.body, a.header)
		}

		// Only so many wait; the others are answered at once, and all of them when the server stops.
		tag = a.header.Get("ETag")
		answers := make(chan answer, 101)
		for range 100 {
			go func() { a, _ := took("If-None-Match", tag, "Prefer", "wait=60"); answers <- a }()
		}
		synctest.Wait()
		if a, d := took("If-None-Match", tag, "Prefer", "wait=60"); a.status != 304 || d != 0 || a.header.Get("Preference-Applied") != "" || a.header.Get("Retry-After") != "5" {
			t.Errorf("one too many: %d after %v %v", a.status, d, a.header)
		}
		began := time.Now()
		h.api.Drain()
		for i := range 100 {
			if a := <-answers; a.status != 304 || a.header.Get("Retry-After") != "5" || time.Since(began) != 0 {
				t.Fatal(fmt.Sprint(i, " of those who wait: ", a.status, a.header))
			}
		}
	})
}
