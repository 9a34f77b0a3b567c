package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
)

// fakeSubscriptions stands in for the delivery room.
type fakeSubscriptions struct {
	subs    map[string]tandem.Subscription
	version int
	letters []tandem.DeadLetter
	did     []string
}

func newFakeSubscriptions() *fakeSubscriptions {
	f := &fakeSubscriptions{subs: map[string]tandem.Subscription{"declared": {Name: "declared", Topics: []string{"orders"}, Service: "s"}}}
	for i := range 3 {
		f.letters = append(f.letters, tandem.DeadLetter{ID: fmt.Sprint("d", i), Subscription: "declared", Reason: "exhausted", Detail: "500", Attempts: 12,
			At: "2026-01-31T09:30:00Z", Event: tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t"}}})
	}
	return f
}

func (f *fakeSubscriptions) find(name string) error {
	if _, ok := f.subs[name]; !ok {
		return tandem.Errorf(tandem.CodeNotFound, "no subscription %s", name)
	}
	return nil
}

func (f *fakeSubscriptions) List() []tandem.Subscription {
	var all []tandem.Subscription
	for _, s := range f.subs {
		all = append(all, s)
	}
	return all
}

func (f *fakeSubscriptions) Get(name string) (tandem.Subscription, string, string, error) {
	owner := "api"
	if name == "declared" {
		owner = "file"
	}
	return f.subs[name], fmt.Sprintf(`"%d"`, f.version), owner, f.find(name)
}

func (f *fakeSubscriptions) Put(_ context.Context, sub tandem.Subscription, ifMatch string) (bool, error) {
	_, had := f.subs[sub.Name]
	f.subs[sub.Name] = sub
	f.version++
	f.did = append(f.did, "put "+sub.Name+ifMatch)
	return !had, nil
}

func (f *fakeSubscriptions) Delete(_ context.Context, name string) error {
	delete(f.subs, name)
	return nil
}

func (f *fakeSubscriptions) Status(_ context.Context, name string) (tandem.SubscriptionStatus, error) {
	return tandem.SubscriptionStatus{Name: name, State: "running"}, f.find(name)
}

func (f *fakeSubscriptions) do(name, what string) error {
	f.did = append(f.did, what)
	return f.find(name)
}

func (f *fakeSubscriptions) Pause(_ context.Context, name string) error { return f.do(name, "pause") }
func (f *fakeSubscriptions) Resume(_ context.Context, name string) error {
	return f.do(name, "resume")
}
func (f *fakeSubscriptions) Seek(_ context.Context, name string, s tandem.Start, dry bool) (tandem.SeekPlan, error) {
	if s.Cursor == "foreign" {
		return tandem.SeekPlan{}, tandem.Wrap("seek", tandem.Errorf(tandem.CodeInvalid, "the cursor cannot be read").WithField("cursor", "is not one"))
	}
	return tandem.SeekPlan{DryRun: dry, Again: 3}, f.do(name, fmt.Sprintf("seek %s %v %s", s.Cursor, s.Earliest, s.Time))
}

func (f *fakeSubscriptions) DeadLetters(_ context.Context, name, after string, limit int) ([]tandem.DeadLetter, string, error) {
	i := slices.IndexFunc(f.letters, func(d tandem.DeadLetter) bool { return d.ID > after })
	if i < 0 {
		return nil, "", f.find(name)
	}
	page := f.letters[i:min(len(f.letters), i+limit)]
	next := ""
	if i+limit < len(f.letters) {
		next = page[len(page)-1].ID
	}
	return page, next, f.find(name)
}

func (f *fakeSubscriptions) DeadLetter(_ context.Context, name, id string) (tandem.DeadLetter, error) {
	i := slices.IndexFunc(f.letters, func(d tandem.DeadLetter) bool { return d.ID == id })
	if i < 0 {
		return tandem.DeadLetter{}, tandem.Errorf(tandem.CodeNotFound, "no dead letter %s", id)
	}
	return f.letters[i], f.find(name)
}

func (f *fakeSubscriptions) Redrive(_ context.Context, name string, sel tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	b, _ := json.Marshal(sel)
	return tandem.DeadLetterCount{Count: 1, DryRun: sel.DryRun}, f.do(name, "redrive "+string(b))
}

func (f *fakeSubscriptions) Discard(_ context.Context, name string, sel tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	b, _ := json.Marshal(sel)
	return tandem.DeadLetterCount{Count: 1}, f.do(name, "discard "+string(b))
}

func TestSubscriptions(t *testing.T) {
	subs := newFakeSubscriptions()
	h := newHarness(t, func(o *api.Options) { o.Subscriptions = subs })
	a := h.do("PUT", "/v1/subscriptions/pay", `{"topics":["orders"],"service":"payments","filter":{"type":"order.placed"},"timeout":"2s"}`, "If-None-Match", "*").want(201)
	if a.header.Get("Location") != "/v1/subscriptions/pay" || a.header.Get("ETag") != `"1"` {
		t.Errorf("header %v", a.header)
	}
	got := decode[tandem.Subscription](a)
	if got.Name != "pay" || got.Timeout.String() != "2s" || got.Filter.IsZero() || !strings.Contains(a.body, `"state":"running"`) {
		t.Errorf("%s", a.body)
	}
	h.do("PUT", "/v1/subscriptions/pay", h.do("GET", "/v1/subscriptions/pay", "").want(200).body, "If-Match", `"1"`).want(200)
	h.do("PUT", "/v1/subscriptions/pay", `{}`, "If-Match", `"1"`).problem(412)
	h.do("PUT", "/v1/subscriptions/pay", `{}`, "If-None-Match", "*").problem(412)
	h.do("PUT", "/v1/subscriptions/pay", `{"topic":"orders"}`).problem(400, "/topic")
	h.do("PUT", "/v1/subscriptions/pay", `{"name":"other"}`).problem(400, "/name")
	h.do("PUT", "/v1/subscriptions/pay", `{"filter":{"exact":7}}`).problem(400, "/filter/exact")
	h.do("PUT", "/v1/subscriptions/pay", `{"backoff":{"base":5}}`).problem(400, "/backoff/base")
	if got := strings.Join(subs.did, ", "); got != `put pay, put pay"1"` {
		t.Errorf("did %s", got)
	}
	if a := h.do("GET", "/v1/subscriptions?limit=1", "").want(200); !strings.Contains(a.body, `"next":"declared"`) || a.header.Get("Link") == "" {
		t.Errorf("%s %v", a.body, a.header)
	}
	h.do("DELETE", "/v1/subscriptions/pay", "", "If-Match", `"1"`).problem(412)
	h.do("DELETE", "/v1/subscriptions/pay", "", "If-Match", `"2"`).want(204)
	h.do("GET", "/v1/subscriptions/pay", "").problem(404)
	h.do("DELETE", "/v1/subscriptions/pay", "").problem(404)
}

func TestSubscriptionCommands(t *testing.T) {
	subs := newFakeSubscriptions()
	h := newHarness(t, func(o *api.Options) { o.Subscriptions = subs })
	const path = "/v1/subscriptions/declared"
	h.do("POST", path+":pause", "").want(200)
	h.do("POST", path+":resume", "{}").want(200)
	h.do("POST", path+":pause", `{"until":"2026-01-31T09:30:00Z"}`).problem(400, "/until") // not taken and ignored
	h.do("POST", path+":seek", `{"from":"earliest"}`).want(200)
	h.do("POST", path+":seek", `{"from":"latest"}`).want(200)
	h.do("POST", path+":seek", `{"from":"2026-01-31T09:30:00Z"}`).want(200)
	if a := h.do("POST", path+":seek", `{"cursor":"abc","dryRun":true}`).want(200); a.body != `{"dryRun":true,"again":3,"over":0,"parked":0}`+"\n" {
		t.Errorf("%s", a.body)
	}
	h.do("POST", path+"/dead-letters:redrive", `{"ids":["d1"]}`).want(200)
	if a := h.do("POST", path+"/dead-letters:redrive", `{"all":true}`).want(200); a.body != `{"count":1}`+"\n" {
		t.Errorf("%s", a.body)
	}
	h.do("POST", path+"/dead-letters:redrive", `{"filter":{"type":"t"},"reason":"loop","since":"2026-01-31T09:30:00Z","until":"2026-02-01T00:00:00Z","rate":1.5,"dryRun":true}`).want(200)
	h.do("POST", path+"/dead-letters:discard", `{"ids":["d1","d2"]}`).want(200)
	h.do("POST", path+":seek", `{"from":"yesterday"}`).problem(400, "/from")
	h.do("POST", path+":seek", `{}`).problem(400)
	h.do("POST", path+":seek", `{"from":"earliest","cursor":"abc"}`).problem(400)
	h.do("POST", path+":seek", ``).problem(400)
	h.do("POST", path+":seek", `{"cursor":"foreign"}`).problem(400, "/cursor")
	for body, pointers := range map[string]string{`{}`: "/ids", `{"ids":[]}`: "/ids", `{"ids":["d1"],"all":true}`: "/all", `{"all":false}`: "/ids", `{"dryRun":true}`: "/ids",
		`{"ids":["d1"],"reason":"loop"}`: "/ids", `{"all":true,"reason":"loop"}`: "/all", `{"reason":"lost"}`: "/reason", `{"all":true,"rate":5}`: "/rate", `{"all":true,"rate":-1}`: "/rate",
		`{"since":"yesterday"}`: "/since", `{"filter":{"exact":1}}`: "/filter/exact", `{"id":"d1"}`: "/id"} {
		h.do("POST", path+"/dead-letters:discard", body).problem(400, pointers)
	}
	h.do("POST", path+"/dead-letters:discard", ``).problem(400)
	want := `pause, resume, seek  true , seek  false , seek  false 2026-01-31T09:30:00Z, seek abc false , redrive {"ids":["d1"]}, redrive {}, ` +
		`redrive {"filter":{"exact":{"type":"t"}},"reason":"loop","since":"2026-01-31T09:30:00Z","until":"2026-02-01T00:00:00Z","rate":1.5,"dryRun":true}, discard {"ids":["d1","d2"]}`
	if got := strings.Join(subs.did, ", "); got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
	h.do("POST", "/v1/subscriptions/absent:pause", "").problem(404)
	a := h.do("GET", path+"/dead-letters?limit=2", "").want(200)
	if !strings.Contains(a.body, `"next":"d1"`) || !strings.Contains(a.body, `"specversion":"1.0"`) || !strings.Contains(a.header.Get("Link"), "after=d1") {
		t.Errorf("%s %v", a.body, a.header)
	}
	if a := h.do("GET", path+"/dead-letters?after=d2", "").want(200); a.body != `{"deadLetters":[]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	h.do("GET", "/v1/subscriptions/absent/dead-letters", "").problem(404)
	if a := h.do("GET", path+"/dead-letters/d1", "").want(200); !strings.Contains(a.body, `"id":"d1"`) {
		t.Errorf("%s", a.body)
	}
	h.do("GET", path+"/dead-letters/d9", "").problem(404)
	h.do("GET", path+"/dead-letters/d1/x", "").problem(404)
	h.do("DELETE", path+"/dead-letters/d1", "").problem(405)
}
