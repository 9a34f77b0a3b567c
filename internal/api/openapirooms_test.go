package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// newDocumented is an API with stand-ins for all rooms.
func newDocumented(t *testing.T) *API {
	log, err := eventlog.Open(context.Background(), memlog.New(memlog.Options{}), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	streams := stream.New(log, stream.Options{})
	one := &oneSubscription{}
	a := New(Options{Log: log, Auth: auth.New(nil), Streams: streams, Operations: oneOperation{}, Subscriptions: one,
		Leases: oneLease{one}, Ledger: oneRow{one}, Flows: oneFlow{}, Tests: oneRow{one}, Replays: oneRow{one}, Window: func() Window { return Window{Oldest: time.Unix(0, 0)} }, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = streams.Stop(now) // at once
		a.Close()
		log.Close()
	})
	return a
}

// everything is a declaration with every member, though not all go together.
const everything = `{"topics":["orders"],"filter":{"all":[{"type":"t"},{"not":{"prefix":{"subject":"x"}}}]},"service":"s","path":"/p","url":"https://example.org/hook",
"pull":{"visibility":"1m"},"secret":"env:A","oldSecrets":[{"secret":"env:B","until":"2026-01-31T09:30:00Z"}],"headers":{"X-Team":"shop"},
"auth":{"basic":{"user":"u","password":"env:TANDEM_SECRET_P"},"oauth2":{"tokenUrl":"https://example.org/token","clientId":"c","clientSecret":"env:TANDEM_SECRET_C","scopes":["a"],"audience":"x"},
"tls":{"cert":"env:TANDEM_SECRET_A","key":"env:TANDEM_SECRET_B","ca":"env:TANDEM_SECRET_D"}},"handshake":true,"content":"batch","batchSize":10,"mode":"event","from":"earliest","replies":"answers",
"ordering":"none","concurrency":4,"rate":2.5,"timeout":"5s","attempts":7,"backoff":{"base":"2s","max":"3s","list":["1s","2s"]},"retryAfter":"5m","answers":{"404":"delivered","5xx":"retry"},
"breaker":{"failures":3,"wait":"10s"},"exhausted":"pause","pauseAfter":"48h","replay":{"of":"x","to":"2026-01-31T09:30:00Z","evenIfSeen":true}}`

// oneFlow has every kind of node.
type oneFlow struct{}

func (oneFlow) Get(_ context.Context, id string) (tandem.Flow, error) {
	at := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	event := &tandem.FlowEvent{Position: tandem.Position{Topic: "orders"}, Ref: "r", ID: "1", DataBytes: 7, Hops: 1}
	return tandem.Flow{ID: id, State: tandem.FlowFailed, Started: at, Ended: at, Missing: []string{"something"},
		Links: []tandem.FlowLink{{Node: "orders/0/0", Kind: tandem.FlowEffect, Ref: "x", Flow: "y", Position: tandem.Position{Topic: "a"}}},
		Nodes: []tandem.FlowNode{
			{ID: "request/0", Kind: tandem.NodeRequest, At: at, Took: 1, State: "answered", Request: &tandem.FlowRequest{Method: "POST", Path: "/", Route: "/", Status: 200}},
			{ID: "orders/0/0", Kind: tandem.NodeEvent, Causes: []string{"request/0"}, At: at, State: "stored", Event: event},
			{ID: "d", Kind: tandem.NodeDelivery, At: at, State: tandem.DeliveryDead, Reason: "why", Delivery: &tandem.Delivery{Subscription: "pay", State: tandem.DeliveryDead}, Time: &tandem.FlowTime{}},
			{ID: "a", Kind: tandem.NodeAttempt, At: at, State: "failed", Attempt: &tandem.Attempt{At: at}},
			{ID: "o", Kind: tandem.NodeOperation, At: at, State: "running", Operation: &tandem.Operation{ID: "o", State: tandem.OperationRunning, Created: "2026-01-31T09:30:00Z"}},
		}}, nil
}

func (oneFlow) List(_ context.Context, q tandem.FlowQuery) (tandem.FlowPage, error) {
	if q.Trace != "" {
		return tandem.FlowPage{}, tandem.Errorf(tandem.CodeNotFound, "there is none")
	}
	return tandem.FlowPage{Flows: []tandem.FlowSummary{{ID: "f", State: q.State, Started: q.Since, Events: 1, First: &tandem.FlowEvent{Ref: "r", Position: tandem.Position{Topic: "orders"}}}}, Next: "f"}, nil
}

func (oneFlow) Status(context.Context) tandem.FlowIndexStatus {
	return tandem.FlowIndexStatus{Kept: true, Behind: 1, Lag: 1, Since: time.Unix(0, 0)}
}

func (oneFlow) Explain(_ context.Context, q tandem.ExplainQuery) (tandem.Explanation, error) {
	at, first := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC), tandem.Position{Topic: "orders"}
	return tandem.Explanation{Events: []tandem.FlowEvent{{Position: first, Ref: "r", ID: q.Event}}, Searched: &tandem.Searched{Topics: 1, Since: at, Behind: 1},
		Reasons: []tandem.Reason{{Code: tandem.WhyFilter, Sentence: "It is so.", Subscription: "pay", Position: first, Since: at, Until: at, By: "alice", NextAttempt: at,
			Clause: &tandem.FilterClause{Dialect: "cel", Text: "true", Fault: "none", Saw: []tandem.SeenValue{{Name: "data.n", Value: "1"}, {Name: "a", Missing: true}, {Name: "b", Hidden: true}}},
			Topics: []string{"a"}, Behind: &tandem.FlowEvent{Position: first, Ref: "r"}, Unread: 1, First: &first, Conflict: true, Detail: "why",
			Delivery: &tandem.Delivery{Subscription: "pay", State: tandem.DeliverySkipped}, Earlier: []tandem.Delivery{{Subscription: "pay", State: tandem.DeliveryDead}}}}}, nil
}

type oneOperation struct{}

func (oneOperation) Running() int { return 1 }

func (oneOperation) Serve(w http.ResponseWriter, _ *http.Request, id string) {
	w.Header().Set("ETag", `"1"`)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(tandem.Operation{ID: id, State: tandem.OperationRunning, Created: "2026-01-31T09:30:00Z"})
}

type oneSubscription struct{ sub *tandem.Subscription }

func (o *oneSubscription) List() []tandem.Subscription {
	return []tandem.Subscription{{Name: "pay", Topics: []string{"a"}}}
}
func (o *oneSubscription) Get(name string) (tandem.Subscription, string, string, error) {
	if name != "pay" {
		return tandem.Subscription{}, "", "", tandem.Errorf(tandem.CodeNotFound, "no subscription %s", name)
	}
	if o.sub != nil {
		return *o.sub, `"1"`, "api", nil
	}
	return o.List()[0], `"1"`, "api", nil
}

type oneLease struct{ *oneSubscription }

func (o oneLease) Pull(_ context.Context, name string, _ tandem.PullRequest) ([]tandem.Lease, error) {
	_, _, _, err := o.Get(name)
	return []tandem.Lease{{Token: "a", Until: "2026-01-31T09:30:00Z", Attempt: 1, MaxAttempts: 12, ID: "d",
		Event: tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t"}, Position: tandem.Position{Topic: "orders", Offset: 7}}}}, err
}
func (o oneLease) Ack(context.Context, string, []string) ([]tandem.LeaseResult, error) {
	return []tandem.LeaseResult{{Token: "a", Outcome: tandem.LeaseAcknowledged}}, nil
}
func (o oneLease) Nack(context.Context, string, []string, time.Duration) ([]tandem.LeaseResult, error) {
	return []tandem.LeaseResult{{Token: "a", Outcome: tandem.LeaseReleased}}, nil
}
func (o oneLease) Extend(context.Context, string, []string, time.Duration) ([]tandem.LeaseResult, error) {
	return []tandem.LeaseResult{{Token: "a", Outcome: tandem.LeaseExtended, Until: "2026-01-31T09:30:00Z"}}, nil
}

type oneRow struct{ *oneSubscription }

func (o oneRow) Deliveries(_ context.Context, name string, _ tandem.DeliveryQuery) (tandem.DeliveryPage, error) {
	_, _, _, err := o.Get(name)
	const at = "2026-01-31T09:30:00Z"
	behind := tandem.Position{Topic: "orders", Partition: 1, Offset: 6}
	return tandem.DeliveryPage{Next: "x", Deliveries: []tandem.Delivery{{Subscription: name, Epoch: 1, Position: tandem.Position{Topic: "orders", Partition: 1, Offset: 7},
		ID: "1", Source: "/s", Type: "t", Key: "k", State: tandem.DeliveryRetrying, Reason: "r", Attempts: 1, Probes: 1, NextAttempt: at, Behind: &behind, DeadLetter: "d", Version: 1, Accepted: at, Ended: at,
		History: []tandem.Attempt{{Number: 1, At: time.Unix(0, 0).UTC(), Wait: tandem.Duration(time.Second), Took: tandem.Duration(time.Millisecond), Status: 500, Detail: "x"}}}}}, err
}
func (o oneRow) Test(_ context.Context, name string) (tandem.TestExchange, error) {
	_, _, _, err := o.Get(name)
	return tandem.TestExchange{Sent: tandem.TestMessage{Method: "POST", URL: "http://u", Headers: map[string]string{"A": "b"}, Body: "x"},
		Received: &tandem.TestMessage{Status: 200}, Outcome: "delivered", Detail: "d", Took: tandem.Duration(time.Second)}, err
}
func (o oneRow) Replay(_ context.Context, name string, ask tandem.ReplayRequest) (tandem.Subscription, error) {
	o.sub.Replay = &tandem.Replay{Of: name, To: ask.To, EvenIfSeen: ask.EvenIfSeen}
	return *o.sub, nil
}

func (o *oneSubscription) Put(_ context.Context, sub tandem.Subscription, _ string) (bool, error) {
	o.sub = &sub
	return true, nil
}
func (o *oneSubscription) Status(_ context.Context, name string) (tandem.SubscriptionStatus, error) {
	return tandem.SubscriptionStatus{Name: name, State: "running", Cursor: "c", Expired: 1}, nil
}
func (o *oneSubscription) Delete(context.Context, string) error { return nil }
func (o *oneSubscription) Pause(context.Context, string) error  { return nil }
func (o *oneSubscription) Resume(context.Context, string) error { return nil }
func (o *oneSubscription) Seek(context.Context, string, tandem.Start, bool) (tandem.SeekPlan, error) {
	return tandem.SeekPlan{DryRun: true, Again: 1, Over: 1, Parked: 1}, nil
}
func (o *oneSubscription) DeadLetters(context.Context, string, string, int) ([]tandem.DeadLetter, string, error) {
	return []tandem.DeadLetter{{ID: "1", Subscription: "pay", Reason: "refused", Detail: "400", Status: 400, Attempts: 1, At: "2026-01-31T09:30:00Z",
		Event: tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t"}}}}, "1", nil
}
func (o *oneSubscription) DeadLetter(ctx context.Context, name, _ string) (tandem.DeadLetter, error) {
	all, _, err := o.DeadLetters(ctx, name, "", 1)
	return all[0], err
}
func (o *oneSubscription) Redrive(context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	return tandem.DeadLetterCount{Count: 1}, nil
}
func (o *oneSubscription) Discard(context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	return tandem.DeadLetterCount{Count: 1}, nil
}
