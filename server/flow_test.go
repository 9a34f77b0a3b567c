package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// books are what the services of TestFlows recorded: for each flow, what they were sent and answered, in order for each subscription.
type books struct {
	mu    sync.Mutex
	lines map[string][]string // by flow: "subscription type status"
	heal  bool                // payments refuses nobody any more
}

func (b *books) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e, err := tandem.ParseEventJSON(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	var order struct{ N int }
	_ = json.Unmarshal(e.Data, &order)
	b.mu.Lock()
	defer b.mu.Unlock()
	flow, sub := r.Header.Get(tandem.HeaderFlow), r.Header.Get(tandem.HeaderSubscription)
	status := http.StatusOK
	if sub == "payments" {
		switch {
		case order.N%7 == 3 && !b.heal:
			status = http.StatusBadRequest // refused for good: a dead letter
		case order.N%3 == 0 && len(b.lines[flow]) == 0:
			status = http.StatusInternalServerError
		}
	}
	b.lines[flow] = append(b.lines[flow], fmt.Sprintf("%s %s %d", sub, e.Type, status))
	if status == http.StatusOK && sub == "payments" {
		w.Header().Set("Content-Type", tandem.MediaEvent)
		fmt.Fprintf(w, `{"specversion":"1.0","id":"own","source":"/payments","type":"payment.taken","data":{"n":%d}}`, order.N)
		return
	}
	w.WriteHeader(status)
}

func (b *books) of(flow string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.lines[flow]))
}

func (b *books) count() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, lines := range b.lines {
		n += len(lines)
	}
	return n
}

// attemptsOf tells the attempts of a flow as books do.
func attemptsOf(f *tandem.Flow) (lines []string) {
	byID := map[string]*tandem.FlowNode{}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		byID[n.ID] = n
		if n.Kind == tandem.NodeAttempt {
			d := byID[n.Causes[0]] // a cause comes first
			lines = append(lines, fmt.Sprintf("%s %s %d", d.Delivery.Subscription, byID[d.Causes[0]].Event.Type, n.Attempt.Status))
		}
	}
	return slices.Sorted(slices.Values(lines))
}

// shape is a flow as a list of edges, without times.
func shape(f *tandem.Flow) string {
	label := map[string]string{}
	var lines []string
	for i := range f.Nodes {
		n := &f.Nodes[i]
		name := n.Kind
		switch {
		case n.Event != nil:
			name += " " + n.Event.Type
		case n.Delivery != nil:
			name += " " + n.Delivery.Subscription
		}
		if n.State == "uncounted" { // when three keys have failed, it is the endpoint that fails
			n.State = "failed"
		}
		name += " " + n.State
		label[n.ID] = name
		causes := make([]string, len(n.Causes))
		for j, c := range n.Causes {
			causes[j] = label[c]
		}
		lines = append(lines, strings.Join(causes, "+")+" > "+name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestFlows compares what the flow API says of orders, of which payments fail, with what the services recorded.
func TestFlows(t *testing.T) {
	b := &books{lines: map[string][]string{}}
	svc := httptest.NewServer(http.HandlerFunc(b.serve))
	defer svc.Close()
	opts := server.Options{
		Data:     t.TempDir(),
		Services: []tandem.Service{{Name: "shop", URL: svc.URL}},
		Topics:   []tandem.Topic{{Name: "orders", Partitions: 2, Source: "/orders"}, {Name: "payments"}},
		Routes: []gateway.Route{{Match: "POST /orders", Topic: "orders", Type: "order.placed", Key: "data.n", Operation: &gateway.Operation{
			Spec: tandem.OperationSpec{Topics: []string{"payments"}, Succeed: []string{"payment.taken"}}}},
			{Match: "/operations/{id}", Operation: &gateway.Operation{Public: true}}},
		Subscriptions: []tandem.Subscription{
			{Name: "payments", Topics: []string{"orders"}, Service: "shop", Replies: "payments", Backoff: tandem.Backoff{Base: tandem.Duration(20 * time.Millisecond)}},
			{Name: "mail", Topics: []string{"orders", "payments"}, Filter: exactType("payment.taken"), Service: "shop"},
			{Name: "audit", Topics: []string{"payments"}, Service: "shop"},
		},
	}
	s := startServer(t, opts)
	api := newClient(t, s)
	if _, err := api.Pause(t.Context(), "audit"); err != nil {
		t.Fatal(err)
	}
	flows := map[string]int{}
	for n := range 20 {
		res, body := send(t, "POST", "http://"+s.PublicAddr()+"/orders", "application/json", fmt.Sprintf(`{"n":%d}`, n))
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		flows[res.Header.Get(tandem.HeaderFlow)] = n
	}
	until(t, "every payment has its outcome", func() bool {
		if b.count() < 20+6+17 { // payments, those that failed once, and mails
			return false
		}
		st, err := api.Subscription(t.Context(), "payments")
		mail, err2 := api.Subscription(t.Context(), "mail")
		return err == nil && err2 == nil && st.Status.Lag == 0 && mail.Status.Lag == 0 && st.Status.Dead == 3
	})
	for flow, n := range flows {
		f, err := api.Flow(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := attemptsOf(&f), b.of(flow); !slices.Equal(got, want) {
			t.Errorf("order %d: the attempts are %v, the services recorded %v", n, got, want)
		}
		want := []string{
			" > request answered",
			"request answered > event order.placed stored",
			"event order.placed stored > delivery mail skipped",
			"event order.placed stored > operation running",
		}
		switch {
		case n%7 == 3:
			want = append(want, "event order.placed stored > delivery payments dead", "delivery payments dead > attempt failed")
		case n%3 == 0:
			want = append(want, "delivery payments delivered > attempt failed")
			fallthrough
		default:
			want = append(want,
				"event order.placed stored > delivery payments delivered",
				"delivery payments delivered > attempt succeeded",
				"attempt succeeded > reply payment.taken stored",
				"reply payment.taken stored > delivery mail delivered",
				"delivery mail delivered > attempt succeeded",
				"reply payment.taken stored > delivery audit unread",
				"reply payment.taken stored+operation running > operation succeeded")
		}
		want[3] = "request answered > operation running"
		slices.Sort(want)
		if got := shape(&f); got != strings.Join(want, "\n") {
			t.Errorf("order %d:\n%s\nwant\n%s", n, got, strings.Join(want, "\n"))
		}
		if len(f.Missing) > 0 || len(f.Links) > 0 || f.State != tandem.FlowRunning {
			t.Errorf("order %d: %s, missing %v, links %v", n, f.State, f.Missing, f.Links)
		}
		if f.Trace != strings.ReplaceAll(flow, "-", "") {
			t.Errorf("order %d: trace %s", n, f.Trace)
		}
	}

	// Every way leads there, and none elsewhere.
	all, err := api.Flows(t.Context(), tandem.FlowQuery{})
	if err != nil || len(all.Flows) != 20 || all.Next != "" {
		t.Fatalf("%d flows, next %q, %v", len(all.Flows), all.Next, err)
	}
	if !slices.IsSortedFunc(all.Flows, func(a, b tandem.FlowSummary) int { return strings.Compare(b.ID, a.ID) }) {
		t.Error("the newest flow is not the first")
	}
	some := all.Flows[4]
	whole, err := api.Flow(t.Context(), some.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []tandem.FlowQuery{
		{Event: some.First.ID, Source: some.First.Source}, {Trace: whole.Trace},
		{Operation: some.First.Operation}, {Key: some.First.Key, Type: "order.placed", State: tandem.FlowRunning, Since: some.Started.Add(-time.Second)},
	} {
		if p, err := api.Flows(t.Context(), q); err != nil || len(p.Flows) != 1 || p.Flows[0].ID != some.ID || p.Flows[0].First.ID != some.First.ID {
			t.Errorf("%+v: %+v, %v", q, p, err)
		}
	}
	var paged []string
	for q := (tandem.FlowQuery{Limit: 7}); len(paged) <= 20; {
		p, err := api.Flows(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Flows {
			paged = append(paged, f.ID)
		}
		if q.After = p.Next; q.After == "" {
			break
		}
	}
	if slices.Sort(paged); !slices.Equal(paged, slices.Sorted(maps.Keys(flows))) {
		t.Errorf("the pages have %d flows", len(paged))
	}
	for what, q := range map[string]tandem.FlowQuery{"event": {Event: "no", Source: "/s"}, "operation": {Operation: tandem.NewID()}, "trace": {Trace: strings.Repeat("1", 32)}} {
		if _, err := api.Flows(t.Context(), q); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Errorf("no such %s: %v", what, err)
		}
	}
	if _, err := api.Flow(t.Context(), tandem.NewID()); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("no such flow: %v", err)
	}

	// A redriven dead letter, a subscription that goes on, and a restart.
	b.mu.Lock()
	b.heal = true
	b.mu.Unlock()
	if _, err := api.Redrive(t.Context(), "payments", tandem.DeadLetterSelection{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Resume(t.Context(), "audit"); err != nil {
		t.Fatal(err)
	}
	until(t, "every flow is done", func() bool {
		p, err := api.Flows(t.Context(), tandem.FlowQuery{State: tandem.FlowDone})
		return err == nil && len(p.Flows) == 20
	})
	before := map[string]string{}
	for flow := range flows {
		f, err := api.Flow(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := attemptsOf(&f), b.of(flow); !slices.Equal(got, want) {
			t.Errorf("order %d: the attempts are %v, the services recorded %v", flows[flow], got, want)
		}
		before[flow] = shape(&f)
	}
	stopServer(t, s)
	s = startServer(t, opts)
	api = newClient(t, s)
	for flow := range flows {
		f, err := api.Flow(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(&f); got != before[flow] {
			t.Errorf("after a restart:\n%s\nbefore\n%s", got, before[flow])
		}
	}
}

func newClient(t *testing.T, s *server.Server) *tandemclient.Client {
	t.Helper()
	c, err := tandemclient.New("http://"+s.APIAddr(), tandemclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFlowOfRequests: the calls of a chain are in its flow, whether it was stored or not.
func TestFlowOfRequests(t *testing.T) {
	svc := newRequestService(t)
	s := startServer(t, requestOptions(svc))
	api := newClient(t, s)
	publish := func(flow, id string, status int) {
		t.Helper()
		res, body := send(t, "POST", "http://"+s.APIAddr()+"/v1/topics/orders/events?id="+id, "application/json", `{}`, tandem.HeaderFlow, flow)
		if res.StatusCode != status {
			t.Fatalf("%d, want %d: %s", res.StatusCode, status, body)
		}
	}
	check := func(flow, state string, want ...string) {
		t.Helper()
		f, err := api.Flow(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		if got := shape(&f); f.State != state || got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant %s:\n%s", f.State, got, state, strings.Join(want, "\n"))
		}
	}
	good, bad := tandem.NewID(), tandem.NewID()
	publish(good, "1", 200)
	whole := []string{
		" > event order.placed stored",
		"event order.placed stored > call inventory delivered",
		"call inventory delivered > attempt succeeded",
		"attempt succeeded > reply inventory.done stored",
		"reply inventory.done stored > call payments delivered",
		"call payments delivered > attempt succeeded",
		"attempt succeeded > reply payments.done stored",
		// Each link looks at every event of the topic.
		"event order.placed stored > delivery payments skipped",
		"reply inventory.done stored > delivery inventory skipped",
		"reply payments.done stored > delivery inventory skipped",
		"reply payments.done stored > delivery payments skipped",
	}
	check(good, tandem.FlowDone, whole...)
	svc.answer("payments", 500)
	publish(bad, "2", 503)
	check(bad, tandem.FlowFailed,
		" > call inventory failed", "call inventory failed > attempt succeeded",
		" > call payments failed", "call payments failed > attempt failed")
	check(good, tandem.FlowDone, whole...)
}
