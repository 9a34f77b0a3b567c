package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// scripted is a server that expects requests and has answers.
func scripted(t *testing.T, steps ...[2]string) *client.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := r.Method + " " + r.URL.RequestURI()
		if len(body) > 0 {
			got += " " + string(body)
		}
		if len(steps) == 0 || got != steps[0][0] {
			t.Errorf("got  %s\nwant %q", got, steps)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answer := steps[0][1]
		steps = steps[1:]
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(func() {
		srv.Close()
		if len(steps) > 0 {
			t.Errorf("not asked: %q", steps)
		}
	})
	c, err := client.New(srv.URL, client.Options{Retries: -1, HTTP: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLeases(t *testing.T) {
	c := scripted(t,
		[2]string{`POST /v1/subscriptions/work:pull {"max":2,"wait":"5s","visibility":"1m0s"}`, `{"leases":[{"lease":"a","until":"2026-01-31T09:30:00Z","attempt":2,"maxAttempts":12,"deliveryId":"msg_1",` +
			`"position":"orders/3/42","event":{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n": 1}}}]}`},
		[2]string{`POST /v1/subscriptions/work:pull {}`, `{"leases":[]}`},
		[2]string{`POST /v1/subscriptions/work:ack {"leases":["a","b"]}`, `{"results":[{"lease":"a","outcome":"acknowledged"},{"lease":"b","outcome":"lost"}]}`},
		[2]string{`POST /v1/subscriptions/work:nack {"leases":["a"]}`, `{"results":[{"lease":"a","outcome":"released"}]}`},
		[2]string{`POST /v1/subscriptions/work:nack {"delay":"0s","leases":["a"]}`, `{"results":[{"lease":"a","outcome":"released"}]}`},
		[2]string{`POST /v1/subscriptions/work:extend {"leases":["a"],"visibility":"5m0s"}`, `{"results":[{"lease":"a","outcome":"extended","until":"2026-01-31T09:35:00Z"}]}`},
	)
	ctx := t.Context()
	leases, err := c.Pull(ctx, "work", tandem.PullRequest{Max: 2, Wait: tandem.Duration(5 * time.Second), Visibility: tandem.Duration(time.Minute)})
	if err != nil || len(leases) != 1 || leases[0].Token != "a" || leases[0].Attempt != 2 || leases[0].ID != "msg_1" ||
		leases[0].Event.ID != "1" || string(leases[0].Event.Data) != `{"n": 1}` || leases[0].Event.Position.String() != "orders/3/42" {
		t.Errorf("%+v %v", leases, err)
	}
	if leases, err := c.Pull(ctx, "work", tandem.PullRequest{}); err != nil || len(leases) > 0 {
		t.Errorf("%+v %v", leases, err)
	}
	if got, err := c.Ack(ctx, "work", "a", "b"); err != nil || len(got) != 2 || got[1].Outcome != tandem.LeaseLost {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Nack(ctx, "work", -1, "a"); err != nil || got[0].Outcome != tandem.LeaseReleased {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Nack(ctx, "work", 0, "a"); err != nil || got[0].Outcome != tandem.LeaseReleased {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Extend(ctx, "work", 5*time.Minute, "a"); err != nil || got[0].Until == "" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestOperating(t *testing.T) {
	filter, err := tandem.ParseFilter([]byte(`{"type":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	letter := `{"id":"d","subscription":"pay","event":{"specversion":"1.0","id":"1","source":"/s","type":"t"},"reason":"loop","detail":"x","attempts":1,"at":"2026-01-31T09:30:00Z"}`
	c := scripted(t,
		[2]string{`POST /v1/subscriptions/pay:seek {"dryRun":true,"from":"earliest"}`, `{"dryRun":true,"again":3,"over":2,"parked":1}`},
		[2]string{`POST /v1/subscriptions/pay:seek {"cursor":"abc"}`, `{"again":0,"over":0,"parked":0}`},
		[2]string{`GET /v1/subscriptions/pay/dead-letters/d`, letter},
		[2]string{`POST /v1/subscriptions/pay/dead-letters:redrive {"all":true}`, `{"count":3}`},
		[2]string{`POST /v1/subscriptions/pay/dead-letters:redrive {"filter":{"exact":{"type":"t"}},"since":"2026-01-31T09:30:00Z","rate":5,"dryRun":true}`, `{"count":2,"dryRun":true}`},
		[2]string{`POST /v1/subscriptions/pay/dead-letters:discard {"ids":["d"]}`, `{"count":1}`},
		[2]string{`POST /v1/subscriptions/pay/dead-letters:discard {}`, `{"count":0}`},
		[2]string{`POST /v1/subscriptions/pay:replay {"evenIfSeen":true,"filter":{"exact":{"type":"t"}},"from":"2026-01-31T09:30:00Z","rate":10,"to":"2026-02-01T00:00:00Z"}`, `{"name":"pay.replay-1","topics":["a"],"replay":{"of":"pay"}}`},
		[2]string{`POST /v1/subscriptions/pay:test`, `{"sent":{"method":"POST"},"outcome":"retry","took":"1s"}`},
		[2]string{`GET /v1/subscriptions/pay/deliveries?after=x&event=1&key=k&limit=5&position=orders%2F3%2F42&since=2026-01-31T09%3A30%3A00Z&source=%2Fs&state=dead&until=2026-01-31T09%3A30%3A00Z`,
			`{"deliveries":[{"subscription":"pay","epoch":1,"position":"orders/3/42","state":"dead","history":[{"number":1,"at":"2026-01-31T09:30:00Z","wait":"1s","took":"2ms","status":500}]}],"next":"y"}`},
	)
	ctx := t.Context()
	if plan, err := c.Seek(ctx, "pay", tandem.Start{Earliest: true}, true); err != nil || plan != (tandem.SeekPlan{DryRun: true, Again: 3, Over: 2, Parked: 1}) {
		t.Errorf("%+v %v", plan, err)
	}
	if _, err := c.Seek(ctx, "pay", tandem.Start{Cursor: "abc"}, false); err != nil {
		t.Error(err)
	}
	if got, err := c.DeadLetter(ctx, "pay", "d"); err != nil || got.Event.ID != "1" || got.Reason != "loop" {
		t.Errorf("%+v %v", got, err)
	}
	for _, which := range []tandem.DeadLetterSelection{{}, {Filter: filter, Since: at, Rate: 5, DryRun: true}} {
		if n, err := c.Redrive(ctx, "pay", which); err != nil || n.Count == 0 || n.DryRun != which.DryRun {
			t.Errorf("%+v %v", n, err)
		}
	}
	for _, ids := range [][]string{{"d"}, {}} { // a list that came out empty is not all of them
		if _, err := c.Discard(ctx, "pay", tandem.DeadLetterSelection{IDs: ids}); err != nil {
			t.Error(err)
		}
	}
	sub, err := c.Replay(ctx, "pay", tandem.ReplayRequest{From: tandem.Start{Time: "2026-01-31T09:30:00Z"}, To: "2026-02-01T00:00:00Z", Filter: filter, EvenIfSeen: true, Rate: 10})
	if err != nil || sub.Name != "pay.replay-1" || sub.Replay.Of != "pay" {
		t.Errorf("%+v %v", sub, err)
	}
	if x, err := c.Test(ctx, "pay"); err != nil || x.Outcome != tandem.AnswerRetry || x.Received != nil {
		t.Errorf("%+v %v", x, err)
	}
	page, err := c.Deliveries(ctx, "pay", tandem.DeliveryQuery{ID: "1", Source: "/s", Key: "k", Position: &tandem.Position{Topic: "orders", Partition: 3, Offset: 42}, State: "dead", Since: at, Until: at, After: "x", Limit: 5})
	if err != nil || page.Next != "y" || len(page.Deliveries) != 1 || page.Deliveries[0].History[0].Status != 500 {
		b, _ := json.Marshal(page)
		t.Errorf("%s %v", strings.TrimSpace(string(b)), err)
	}
}
