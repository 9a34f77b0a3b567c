package client_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

const (
	hookSecret  = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	hookPrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	hookPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

// hook returns a request as a subscription sends it.
func hook(at time.Time, key, media, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	k, err := tandem.ParseWebhookKey(key)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", media)
	r.Header.Set("Webhook-Id", "msg_1")
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", tandem.SignWebhook("msg_1", at, []byte(body), k))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestWebhook(t *testing.T) {
	w, err := client.NewWebhook(hookPublic, hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	const event = `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}`
	told := []string{"Tandem-Attempt", "2", "Tandem-Max-Attempts", "12", "Tandem-Position", "orders/3/42", "Tandem-Subscription", "s"}
	for name, r := range map[string]*http.Request{
		"structured": hook(now, hookSecret, tandem.MediaEvent, event, told...),
		"ed25519":    hook(now, hookPrivate, tandem.MediaEvent, event, told...),
		"binary":     hook(now, hookSecret, "application/json", `{"a":1}`, append([]string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/s", "Ce-Type", "t"}, told...)...),
	} {
		all, err := w.Verify(r)
		if err != nil || len(all) != 1 {
			t.Errorf("%s: %v %v", name, all, err)
			continue
		}
		d := all[0]
		if d.ID != "msg_1" || d.Attempt != 2 || d.MaxAttempts != 12 || d.Position.Offset != 42 || d.Subscription != "s" || d.Event.Type != "t" || string(d.Event.Data) != `{"a":1}` || d.Test {
			t.Errorf("%s: %+v", name, d)
		}
		if body, err := io.ReadAll(r.Body); err != nil || len(body) == 0 {
			t.Errorf("%s: the body is gone: %v", name, err)
		}
	}
	batch := `[{"specversion":"1.0","id":"1","source":"/s","type":"t","tandemdelivery":"msg_a","tandemattempt":3,"tandemposition":"orders/0/7"},
		{"specversion":"1.0","id":"2","source":"/s","type":"t","tandemdelivery":"msg_b","tandemattempt":1,"tandemposition":"orders/1/9"}]`
	all, err := w.Verify(hook(now, hookSecret, tandem.MediaBatch, batch, "Tandem-Attempt", "3", "Tandem-Test", "true"))
	if err != nil || len(all) != 2 || all[0].ID != "msg_a" || all[0].Attempt != 3 || all[1].ID != "msg_b" || all[1].Attempt != 1 || all[1].Position.Partition != 1 || !all[1].Test {
		t.Errorf("%+v %v", all, err)
	}
	small := *w
	small.MaxBytes = 10
	later := *w
	later.Now = func() time.Time { return now.Add(time.Hour) }
	forged := hook(now, hookSecret, tandem.MediaEvent, event)
	forged.Body = io.NopCloser(strings.NewReader(event + " "))
	unsigned := hook(now, hookSecret, tandem.MediaEvent, event)
	unsigned.Header.Del("Webhook-Signature")
	for name, c := range map[string]struct {
		w    *client.Webhook
		r    *http.Request
		want tandem.Code
	}{
		"another body":   {w, forged, tandem.CodeUnauthorized},
		"another key":    {w, hook(now, "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldY", tandem.MediaEvent, event), tandem.CodeUnauthorized},
		"an hour later":  {&later, hook(now, hookSecret, tandem.MediaEvent, event), tandem.CodeUnauthorized},
		"unsigned":       {w, unsigned, tandem.CodeInvalid},
		"no event":       {w, hook(now, hookSecret, tandem.MediaEvent, "{}"), tandem.CodeInvalid},
		"something else": {w, hook(now, hookSecret, "text/plain", "hello"), tandem.CodeMediaType},
		"too large":      {&small, hook(now, hookSecret, tandem.MediaEvent, event), tandem.CodeTooLarge},
	} {
		if _, err := c.w.Verify(c.r); tandem.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, keys := range [][]string{nil, {"secret"}, {hookSecret, ""}} {
		if _, err := client.NewWebhook(keys...); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%d keys: %v", len(keys), err)
		}
	}
}

func ExampleWebhook() {
	hooks, err := client.NewWebhook(hookSecret) // from the environment, and the old one beside it while it is replaced
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		events, err := hooks.Verify(r)
		if err != nil {
			http.Error(w, "not for me", tandem.ProblemOf(err).Status)
			return
		}
		for _, e := range events {
			fmt.Println(e.Event.Type, "attempt", e.Attempt)
		}
		w.WriteHeader(http.StatusNoContent)
	}
	w := httptest.NewRecorder()
	handler(w, hook(time.Now(), hookSecret, tandem.MediaEvent, `{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"}`, "Tandem-Attempt", "1"))
	fmt.Println(w.Code)
	// Output:
	// order.placed attempt 1
	// 204
}
