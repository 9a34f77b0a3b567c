package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/auth"
)

// TestExplain asks over HTTP, as curl does, why events arrived or did not.
func TestExplain(t *testing.T) {
	svc := newRequestService(t)
	svc.answer("mail", http.StatusNotFound)
	opts := requestOptions(svc)
	onData, err := tandem.ParseFilter([]byte(`{"type":"cart.closed","cel":"data.total > 100 && data.user.apiKey == 'x'"}`))
	if err != nil {
		t.Fatal(err)
	}
	slow := tandem.Backoff{Base: tandem.Duration(time.Hour), Max: tandem.Duration(time.Hour)}
	opts.Topics = append(opts.Topics, tandem.Topic{Name: "carts", Partitions: 1, Type: "cart.closed", Source: "/carts"})
	opts.Subscriptions = append(opts.Subscriptions,
		tandem.Subscription{Name: "audit", Topics: []string{"carts"}, Service: "shop", Path: "/audit", Replies: "orders", Filter: exactType("other")},
		tandem.Subscription{Name: "mail", Topics: []string{"carts"}, Service: "shop", Path: "/mail", Backoff: slow},
		tandem.Subscription{Name: "rich", Topics: []string{"carts"}, Service: "shop", Path: "/rich", Filter: onData},
		tandem.Subscription{Name: "stopped", Topics: []string{"carts"}, Service: "shop", Path: "/stopped"},
		tandem.Subscription{Name: "work", Topics: []string{"carts"}, Pull: &tandem.Pull{}})
	for name, roles := range map[string][]string{"alice": {auth.RoleRead, auth.RolePublish, auth.RoleOperate}, "worker-1": {auth.RolePull}, "nosy": {auth.RolePublish}} {
		sum := sha256.Sum256([]byte(name))
		opts.Tokens = append(opts.Tokens, auth.Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Roles: roles})
	}
	s := startServer(t, opts)
	call := func(method, path, body, who string, status int) string {
		t.Helper()
		contentType := ""
		if body != "" {
			contentType = "application/json"
		}
		res, answer := send(t, method, "http://"+s.APIAddr()+path, contentType, body, "Authorization", "Bearer "+who)
		if res.StatusCode != status {
			t.Fatalf("%s %s: %d, want %d: %s", method, path, res.StatusCode, status, answer)
		}
		return answer
	}
	ask := func(query string) (out tandem.Explanation) {
		t.Helper()
		answer := call("GET", "/v1/explain?"+query, "", "alice", http.StatusOK)
		if strings.Contains(answer, "hush") {
			t.Errorf("a secret is shown: %s", answer)
		}
		if err := json.Unmarshal([]byte(answer), &out); err != nil || len(out.Reasons) == 0 {
			t.Fatalf("%v: %s", err, answer)
		}
		return out
	}

	call("POST", "/v1/subscriptions/stopped:pause", "", "alice", 200)
	var first tandem.Receipt
	if err := json.Unmarshal([]byte(call("POST", "/v1/topics/carts/events?id=1&key=k", `{"total":120,"user":{"apiKey":"hush"}}`, "alice", 201)), &first); err != nil {
		t.Fatal(err)
	}
	call("POST", "/v1/topics/carts/events?id=1&key=k", `{"total":120,"user":{"apiKey":"hush"}}`, "alice", 201) // a repeat
	call("POST", "/v1/topics/carts/events?id=2&key=k", `{"total":1}`, "alice", 201)
	if got := call("POST", "/v1/subscriptions/work:pull", `{"wait":"10s"}`, "worker-1", 200); !strings.Contains(got, `"lease"`) {
		t.Fatal(got)
	}
	until(t, "the first is tried", func() bool {
		return ask("event=1&source=/carts&subscription=mail").Reasons[0].Code == tandem.WhyRetrying
	})
	until(t, "the second is read", func() bool { return ask("event=2&source=/carts&subscription=mail").Reasons[0].Code == tandem.WhyBehind })
	for _, query := range []string{"event=1&source=/carts", "position=" + tandem.Position{Topic: "carts", Offset: first.Offset}.String()} {
		e := ask(query)
		var lines []string
		for _, r := range e.Reasons {
			lines = append(lines, r.Subscription+" "+r.Code+" "+r.By)
		}
		if want := []string{"audit filter ", "mail retrying ", "rich filter ", "stopped paused alice", "work leased worker-1"}; !slices.Equal(lines, want) || len(e.Events) != 1 || e.Events[0].ID != "1" || e.Events[0].Key != "k" || e.Searched != nil {
			t.Errorf("%s: %v, %+v", query, lines, e.Events)
		}
		c := e.Reasons[2].Clause
		if c == nil || c.Text != `data.user.apiKey == "x"` || len(c.Saw) != 1 || c.Saw[0] != (tandem.SeenValue{Name: "data.user.apiKey", Hidden: true}) {
			t.Errorf("%+v", c)
		}
	}
	second := ask("event=2&source=/carts&subscription=rich").Reasons
	if len(second) != 1 || !strings.HasSuffix(second[0].Sentence, `does not match: data.total > 100 is false, where data.total is "1".`) {
		t.Errorf("%+v", second)
	}
	if b := ask("event=2&source=/carts&subscription=mail").Reasons[0].Behind; b == nil || b.ID != "1" || b.Key != "k" || b.Position.Offset != first.Offset {
		t.Errorf("behind %+v", b)
	}

	// Whoever called before the event was stored, and an event that never was.
	svc.answer("payments", 500)
	call("POST", "/v1/topics/orders/events?id=9", `{}`, "alice", 503)
	e := ask("event=9&source=/orders&subscription=payments")
	if r := e.Reasons[0]; len(e.Reasons) != 1 || r.Code != tandem.WhyCallFailed || r.Subscription != "inventory" || !strings.Contains(r.Sentence, "the request link payments is unavailable: status 500") || len(e.Events) != 0 || e.Searched == nil {
		t.Errorf("%+v", e)
	}
	e = ask("event=3&source=/carts")
	if r := e.Reasons[0]; r.Code != tandem.WhyNoEvent || e.Searched == nil || e.Searched.Topics < 2 || e.Searched.Since.IsZero() || e.Events == nil {
		t.Errorf("%+v", e)
	}

	for _, query := range []string{"", "event=1", "source=/carts", "event=1&source=/carts&position=carts/0/1", "position=carts", "event=1&source=/carts&colour=red"} {
		call("GET", "/v1/explain?"+query, "", "alice", http.StatusBadRequest)
	}
	call("GET", "/v1/explain?event=1&source=/carts", "", "nosy", http.StatusForbidden)
	call("GET", "/v1/explain?event=1&source=/carts", "", "nobody", http.StatusUnauthorized)

	api, err := tandemclient.New("http://"+s.APIAddr(), tandemclient.Options{Token: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.Explain(t.Context(), tandem.ExplainQuery{Position: &tandem.Position{Topic: "carts", Offset: first.Offset}, Subscription: "stopped"})
	if err != nil || got.Reasons[0].Code != tandem.WhyPaused || got.Reasons[0].By != "alice" {
		t.Errorf("%+v %v", got, err)
	}
}
