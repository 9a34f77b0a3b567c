package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// text is what a page says.
func text(page string) string {
	return spaces.ReplaceAllString(unescape.Replace(tags.ReplaceAllString(page, " ")), " ")
}

// TestFlow shows a request that became an event, whose delivery failed once and was answered, which ended an operation.
func TestFlow(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	var page string
	w.until("the end of the job", func() bool {
		page = w.get(b, "/flows/"+w.job, 200)
		return strings.Contains(text(page), "operation succeeded")
	})
	says := text(page)
	for _, want := range []string{
		`request POST /jobs answered`,
		`event order\.job stored`,
		`delivery to report (queued|unread)`,
		`delivery to stock delivered waiting \S+ \S+ · service \S+ \S+ · backoff \S+ m?s`,
		`attempt 1 failed status 500`,
		`attempt 2 succeeded`,
		`reply job\.done stored`,
		`operation running`, `operation succeeded`,
		`the filter of version 1 of the declaration does not match`,
		`"sku": "<b>"`, // of the event, which is unfolded
	} {
		if !regexp.MustCompile(want).MatchString(says) {
			t.Errorf("%s is not said: %s", want, says)
		}
	}
	for class, n := range map[string]int{`"backoff"`: 1, `"service bad"`: 2, `"service good"`: 2} { // of the delivery, and of the attempts
		if strings.Count(page, "<rect class="+class) < n {
			t.Errorf("%s is not drawn %d times", class, n)
		}
	}
	if g, _, _ := strings.Cut(page, `id="sequence"`); strings.Count(g, `class="node `) < 7 || !strings.Contains(g, `class="request"`) || !strings.Contains(g, `class="event"`) {
		t.Errorf("the graph: %s", g)
	}
	if says = text(w.get(b, "/engine", 200)); !regexp.MustCompile(`index of flows \S+ \S*B, \d+ events? behind, whole since 2\d\d\d-`).MatchString(says) {
		t.Errorf("the index of flows is not on the page of the engine: %s", says)
	}
	// What caused it, and what it caused.
	reply := hrefOf(page, "job.done")
	if says = text(w.get(b, reply, 200)); !regexp.MustCompile(`caused by attempt 2 caused .*operation`).MatchString(says) || !strings.Contains(says, `"left": 3`) {
		t.Errorf("the reply: %s", says)
	}
	// From its operation, its event and its ledger it is the same.
	op := regexp.MustCompile(`/operations\?id=([0-9a-f-]{36})`).FindStringSubmatch(page)
	if op == nil || !strings.Contains(w.get(b, "/flows?operation="+op[1], 200), w.job) || !strings.Contains(w.get(b, op[0], 200), "/flows/"+w.job) {
		t.Errorf("the operation %v does not lead to its flow", op)
	}
	if page := w.get(b, "/subscriptions/stock?flow="+w.job, 200); !strings.Contains(text(w.get(b, hrefOf(page, w.job), 200)), "delivery to stock delivered waiting") {
		t.Error("the ledger does not lead to its flow")
	}
	// A page that is as it was is not sent again.
	req, _ := http.NewRequest(http.MethodGet, w.base+"/flows/"+w.job, nil)
	w.until("a page that stays", func() bool {
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		req.Header.Set("If-None-Match", res.Header.Get("ETag"))
		return res.StatusCode == http.StatusNotModified && res.Header.Get("Cache-Control") == "no-store"
	})
}

// hrefOf finds where the first link with a text leads.
func hrefOf(page, text string) string {
	m := regexp.MustCompile(`<a [^>]*href="([^"]*)"[^>]*>` + regexp.QuoteMeta(text) + `</a>`).FindStringSubmatch(page)
	if m == nil {
		return "/no-such-link"
	}
	return unescape.Replace(m[1])
}

// TestDecisionsAndJumps: why somebody did not get an event, and what leads to another flow.
func TestDecisionsAndJumps(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	if _, err := w.api.Pause(t.Context(), "stock"); err != nil {
		t.Fatal(err)
	}
	first := tandem.Event{ID: "first", Source: "/a", Type: "order.placed", Data: []byte("1"), Meta: tandem.Meta{Flow: tandem.NewID()}}
	second := tandem.Event{ID: "second", Source: "/a", Type: "order.copied", Data: []byte("2"), Meta: tandem.Meta{Flow: tandem.NewID(), Causes: []string{tandem.Ref("orders", "/a", "first")}}}
	for _, e := range []tandem.Event{first, second} {
		if _, err := w.api.Publish(t.Context(), "orders", e); err != nil {
			t.Fatal(err)
		}
	}
	page := w.get(b, "/flows?event=second&source=/a", 200)
	if says := text(page); !regexp.MustCompile(`delivery to stock unread .*paused`).MatchString(says) || !strings.Contains(says, "It was caused by orders/") {
		t.Errorf("%s", says)
	}
	to := regexp.MustCompile(`href="(/flows/` + first.Meta.Flow + `\?node=[^"#]*)`).FindStringSubmatch(page)
	if to == nil {
		t.Fatalf("nothing leads to what caused it: %s", page)
	}
	page = w.get(b, unescape.Replace(to[1]), 200)
	if says := text(page); !strings.Contains(says, "order.placed stored") || !strings.Contains(says, "in another flow orders/") || !strings.Contains(page, "/flows/"+second.Meta.Flow+"?node=") {
		t.Errorf("%s", says)
	}
	// A dead letter leads to the delivery that it was.
	letters, _, err := w.api.DeadLetters(t.Context(), "stock", "", 0)
	if err != nil || len(letters) == 0 {
		t.Fatal(letters, err)
	}
	page = w.get(b, hrefOf(w.get(b, "/dead-letters/stock/"+letters[0].ID, 200), "Its flow"), 200)
	if _, unfolded, _ := strings.Cut(page, `id="node"`); !strings.Contains(text(unfolded), "dead letter "+letters[0].ID) {
		t.Errorf("%s", text(page))
	}
}

// TestFindFlows by what happened in them, and what is said where there is none.
func TestFindFlows(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for ask, want := range map[string]string{
		"":                          `order\.job – 2 .*order\.\S+ \S+ – 30`,
		"type=order.job":            `order\.job`,
		"type=+order.job+&since=2h": `order\.job`,
		"key=k3&state=":             `order\.bad k3`,
		"type=none":                 `There is none like that`,
		"type=order.job&since=2099-01-01T00:00:00Z": `There is none like that`,
		"since=yesterday":             `neither a time nor how long ago`,
		"since=-2h":                   `neither a time nor how long ago`,
		"state=lost":                  `must be running, done or failed`,
		"event=e5":                    `an event is known by both`,
		"event=e5&source=/shop&key=k": `stand alone`,
		"event=nothing&source=/shop":  `there is no flow of event`,
		"trace=xyz":                   `32 hexadecimal digits`,
		"flow=" + w.job:               `request POST /jobs`,
	} {
		if says := text(w.get(b, "/flows?"+ask, 200)); !regexp.MustCompile("(?i)" + want).MatchString(says) {
			t.Errorf("%s: %s is not said: %s", ask, want, says)
		}
	}
	if says := text(w.get(b, "/flows?type=order.job", 200)); strings.Contains(says, "order.placed") {
		t.Errorf("a filter lets through what it should not: %s", says)
	}
	if page := w.get(b, "/flows/"+url.PathEscape(hostile), 404); strings.Contains(page, "<script>") || strings.Contains(page, "\u202e") {
		t.Errorf("%s", page)
	}
}
