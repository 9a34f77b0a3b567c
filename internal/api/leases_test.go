package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
)

// fakeLeases notes what it is asked.
type fakeLeases struct{ did []string }

func (f *fakeLeases) Pull(_ context.Context, name string, ask tandem.PullRequest) ([]tandem.Lease, error) {
	f.did = append(f.did, fmt.Sprint("pull ", name, " ", ask.Max, " ", ask.Wait, " ", ask.Visibility))
	switch name {
	case "absent":
		return nil, tandem.Errorf(tandem.CodeNotFound, "no subscription %s", name)
	case "pushed":
		return nil, tandem.Errorf(tandem.CodeConflict, "subscription %s is not pulled", name)
	case "empty":
		return nil, nil
	}
	lease := func(n int) tandem.Lease {
		return tandem.Lease{Token: fmt.Sprint("t", n), Until: "2026-01-31T09:30:00Z", Attempt: n, MaxAttempts: 12, ID: fmt.Sprint("id-", n),
			Event: tandem.Record{Position: tandem.Position{Topic: "orders", Partition: 1, Offset: uint64(n)},
				Event: tandem.Event{ID: fmt.Sprint(n), Source: "/s", Type: "t<&>", Data: []byte(`{"a" :  1}`)}}}
	}
	return []tandem.Lease{lease(1), lease(2)}, nil
}

func (f *fakeLeases) each(what string, tokens []string, outcome string) ([]tandem.LeaseResult, error) {
	f.did = append(f.did, what)
	var results []tandem.LeaseResult
	for _, t := range tokens {
		results = append(results, tandem.LeaseResult{Token: t, Outcome: outcome})
	}
	return results, nil
}

func (f *fakeLeases) Ack(_ context.Context, name string, tokens []string) ([]tandem.LeaseResult, error) {
	return f.each(fmt.Sprint("ack ", name, tokens), tokens, tandem.LeaseAcknowledged)
}
func (f *fakeLeases) Nack(_ context.Context, name string, tokens []string, delay time.Duration) ([]tandem.LeaseResult, error) {
	return f.each(fmt.Sprint("nack ", name, tokens, delay), tokens, tandem.LeaseReleased)
}
func (f *fakeLeases) Extend(_ context.Context, name string, tokens []string, visibility time.Duration) ([]tandem.LeaseResult, error) {
	return f.each(fmt.Sprint("extend ", name, tokens, visibility), tokens, tandem.LeaseExtended)
}

func TestPull(t *testing.T) {
	f := &fakeLeases{}
	h := newHarness(t, func(o *api.Options) { o.Leases = f })
	const path = "/v1/subscriptions/work:pull"
	a := h.do("POST", path, `{"max":2,"wait":"5s","visibility":"1m"}`).want(200)
	want := `{"leases":[` +
		`{"lease":"t1","until":"2026-01-31T09:30:00Z","attempt":1,"maxAttempts":12,"deliveryId":"id-1","position":"orders/1/1","event":{"specversion":"1.0","id":"1","source":"/s","type":"t<&>","data":{"a" :  1}}},` +
		`{"lease":"t2","until":"2026-01-31T09:30:00Z","attempt":2,"maxAttempts":12,"deliveryId":"id-2","position":"orders/1/2","event":{"specversion":"1.0","id":"2","source":"/s","type":"t<&>","data":{"a" :  1}}}]}` + "\n"
	if a.body != want || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v\ngot  %swant %s", a.header, a.body, want)
	}
	h.do("POST", path, "").want(200)
	h.do("POST", path, " \n").want(200)
	if a := h.do("POST", "/v1/subscriptions/empty:pull", "{}").want(200); a.body != `{"leases":[]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	h.do("POST", "/v1/subscriptions/absent:pull", "").problem(404)
	h.do("POST", "/v1/subscriptions/pushed:pull", "").problem(409)
	h.do("POST", path+"?max=2", "").problem(400, "max")
	h.do("GET", path, "").problem(405)
	for body, pointer := range map[string]string{
		`{"max":-1}`: "/max", `{"max":1001}`: "/max", `{"max":1.5}`: "/max", `{"wait":"61s"}`: "/wait", `{"wait":"-1s"}`: "/wait", `{"wait":5}`: "/wait",
		`{"visibility":"13h"}`: "/visibility", `{"visibility":"forever"}`: "/visibility", `{"count":1}`: "/count",
	} {
		h.do("POST", path, body).problem(400, pointer)
	}
	if got, want := strings.Join(f.did, ", "), "pull work 2 5s 1m0s, pull work 0 0s 0s, pull work 0 0s 0s, pull empty 0 0s 0s, pull absent 0 0s 0s, pull pushed 0 0s 0s"; got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
}

// waitingLeases has nothing until somebody gives up.
type waitingLeases struct {
	fakeLeases
	waits chan struct{}
}

func (f *waitingLeases) Pull(ctx context.Context, _ string, _ tandem.PullRequest) ([]tandem.Lease, error) {
	close(f.waits)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestDrainLetsPullersGo: a server that stops does not wait for events to come.
func TestDrainLetsPullersGo(t *testing.T) {
	f := &waitingLeases{waits: make(chan struct{})}
	h := newHarness(t, func(o *api.Options) { o.Leases = f })
	go func() {
		<-f.waits
		h.api.Drain()
	}()
	a := h.do("POST", "/v1/subscriptions/work:pull", `{"wait":"60s"}`)
	if a.problem(503); a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
}

func TestLeases(t *testing.T) {
	f := &fakeLeases{}
	h := newHarness(t, func(o *api.Options) { o.Leases = f })
	const path = "/v1/subscriptions/work"
	if a := h.do("POST", path+":ack", `{"leases":["a","b"]}`).want(200); a.body != `{"results":[{"lease":"a","outcome":"acknowledged"},{"lease":"b","outcome":"acknowledged"}]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	h.do("POST", path+":nack", `{"leases":["a"]}`).want(200)
	h.do("POST", path+":nack", `{"leases":["a"],"delay":"0s"}`).want(200)
	h.do("POST", path+":nack", `{"leases":["a"],"delay":"90s"}`).want(200)
	h.do("POST", path+":extend", `{"leases":["a"]}`).want(200)
	h.do("POST", path+":extend", `{"leases":["a"],"visibility":"5m"}`).want(200)
	if got, want := strings.Join(f.did, ", "), "ack work[a b], nack work[a] -1ns, nack work[a] 0s, nack work[a] 1m30s, extend work[a] 0s, extend work[a] 5m0s"; got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
	f.did = nil
	many := `{"leases":[` + strings.Repeat(`"a",`, tandem.MaxBatchSize) + `"a"]}`
	for _, c := range []struct{ verb, body, pointers string }{
		{":ack", `{}`, "/leases"}, {":ack", `{"leases":[]}`, "/leases"}, {":ack", many, "/leases"}, {":ack", `{"leases":"a"}`, "/leases"}, {":ack", `{"lease":"a"}`, "/lease"},
		{":ack", ``, ""}, {":nack", `{"leases":["a"],"delay":"forever"}`, "/delay"}, {":nack", `{"leases":["a"],"delay":"13h"}`, "/delay"}, {":nack", `{"delay":"-2s"}`, "/delay /leases"},
		{":extend", `{"leases":["a"],"visibility":"13h"}`, "/visibility"}, {":extend", `{"leases":["a"],"delay":"1s"}`, "/delay"},
	} {
		h.do("POST", path+c.verb, c.body).problem(400, strings.Fields(c.pointers)...)
	}
	if len(f.did) > 0 {
		t.Errorf("did %v", f.did)
	}
}

// fakeLedger notes what it is asked.
type fakeLedger struct{ q tandem.DeliveryQuery }

func (f *fakeLedger) Deliveries(_ context.Context, name string, q tandem.DeliveryQuery) (tandem.DeliveryPage, error) {
	f.q = q
	if name == "absent" {
		return tandem.DeliveryPage{}, tandem.Errorf(tandem.CodeNotFound, "no subscription %s", name)
	}
	if q.After == "end" {
		return tandem.DeliveryPage{}, nil
	}
	return tandem.DeliveryPage{Next: "a b", Deliveries: []tandem.Delivery{{Subscription: name, Epoch: 1, State: tandem.DeliverySkipped, Position: tandem.Position{Topic: "orders", Offset: 7}}}}, nil
}

func TestLedger(t *testing.T) {
	f := &fakeLedger{}
	h := newHarness(t, func(o *api.Options) { o.Ledger = f })
	const path = "/v1/subscriptions/work/deliveries"
	a := h.do("GET", path+"?event=1&source=/s&key=k&position=orders/1/7&state=dead&since=2026-01-31T09:30:00Z&until=2026-02-01T00:00:00%2B01:00&limit=5&after=x", "").want(200)
	if f.q.ID != "1" || f.q.Source != "/s" || f.q.Key != "k" || f.q.Position.String() != "orders/1/7" || f.q.State != "dead" || f.q.Limit != 5 || f.q.After != "x" ||
		f.q.Since.UTC().Format(time.RFC3339) != "2026-01-31T09:30:00Z" || f.q.Until.UTC().Format(time.RFC3339) != "2026-01-31T23:00:00Z" {
		t.Errorf("%+v", f.q)
	}
	if a.body != `{"deliveries":[{"subscription":"work","epoch":1,"position":"orders/0/7","state":"skipped"}],"next":"a b"}`+"\n" {
		t.Errorf("%s", a.body)
	}
	link := a.header.Get("Link") // keeps what was asked for
	if !strings.HasPrefix(link, "<"+path+"?after=a+b&event=1&key=k&limit=5&") || !strings.Contains(link, "state=dead") || !strings.HasSuffix(link, `>; rel="next"`) {
		t.Errorf("%s", link)
	}
	if a := h.do("GET", path+"?after=end", "").want(200); a.body != `{"deliveries":[]}`+"\n" || a.header.Get("Link") != "" || f.q.Position != nil || f.q.Limit != 100 {
		t.Errorf("%s %v %+v", a.body, a.header, f.q)
	}
	h.do("GET", "/v1/subscriptions/absent/deliveries", "").problem(404)
	for query, pointers := range map[string]string{"state=lost": "state", "position=7": "position", "since=yesterday&until=": "since", "source=/s": "source", "limit=0": "limit",
		"limit=1001": "limit", "id=1": "id", "event=1&event=2": "event"} {
		h.do("GET", path+"?"+query, "").problem(400, strings.Fields(pointers)...)
	}
}

type fakeReplays struct {
	*fakeSubscriptions
	ask tandem.ReplayRequest
}

func (f *fakeReplays) Replay(_ context.Context, name string, ask tandem.ReplayRequest) (tandem.Subscription, error) {
	if err := f.find(name); err != nil {
		return tandem.Subscription{}, err
	}
	f.ask = ask
	sub := f.subs[name]
	sub.Name, sub.Replay = name+".replay-1", &tandem.Replay{Of: name}
	f.subs[sub.Name] = sub
	return sub, nil
}

func (f *fakeReplays) Test(_ context.Context, name string) (tandem.TestExchange, error) {
	return tandem.TestExchange{Outcome: tandem.AnswerRetry, Sent: tandem.TestMessage{Method: "POST"}, Detail: "cannot connect"}, f.find(name)
}

func TestReplayAndTest(t *testing.T) {
	f := &fakeReplays{fakeSubscriptions: newFakeSubscriptions()}
	h := newHarness(t, func(o *api.Options) { o.Subscriptions, o.Replays, o.Tests = f, f, f })
	const path = "/v1/subscriptions/declared"
	a := h.do("POST", path+":replay", `{"from":"2026-01-31T09:30:00Z","to":"2026-02-01T00:00:00Z","filter":{"type":"t"},"evenIfSeen":true,"rate":2.5}`).want(201)
	if a.header.Get("Location") != "/v1/subscriptions/declared.replay-1" || !strings.Contains(a.body, `"replay":{"of":"declared"}`) || !strings.Contains(a.body, `"status":{`) {
		t.Errorf("%v %s", a.header, a.body)
	}
	if f.ask.From.Time == "" || f.ask.To == "" || f.ask.Filter.IsZero() || !f.ask.EvenIfSeen || f.ask.Rate != 2.5 {
		t.Errorf("%+v", f.ask)
	}
	h.do("POST", path+":replay", `{"cursor":"abc"}`).want(201)
	for body, pointers := range map[string]string{`{}`: "", ``: "", `{"from":"latest"}`: "/from", `{"from":"x"}`: "/from", `{"from":"earliest","cursor":"a"}`: "", `{"from":"earliest","to":"x"}`: "/to",
		`{"from":"earliest","rate":-1}`: "/rate", `{"from":"earliest","filter":{"exact":1}}`: "/filter/exact", `{"from":"earliest","till":"x"}`: "/till"} {
		h.do("POST", path+":replay", body).problem(400, strings.Fields(pointers)...)
	}
	h.do("POST", "/v1/subscriptions/absent:replay", `{"from":"earliest"}`).problem(404)
	if a := h.do("POST", path+":test", "").want(200); a.body != `{"sent":{"method":"POST"},"outcome":"retry","detail":"cannot connect","took":"0s"}`+"\n" {
		t.Errorf("%s", a.body)
	}
	h.do("POST", "/v1/subscriptions/absent:test", "").problem(404)
	h.do("POST", path+":test", `{"event":{}}`).problem(400, "/event")
}

// TestRoomsThatAreAbsent: resources whose room is not there say so.
func TestRoomsThatAreAbsent(t *testing.T) {
	h := newHarness(t, nil)
	for _, verb := range []string{":pull", ":ack", ":nack", ":extend", ":test", ":replay", ":pause"} {
		h.do("POST", "/v1/subscriptions/a"+verb, `{}`).problem(501)
	}
	h.do("GET", "/v1/subscriptions/a/deliveries", "").problem(501)
}
