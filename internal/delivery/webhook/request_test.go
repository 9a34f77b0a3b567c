package webhook

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func key(t *testing.T, s string) tandem.WebhookKey {
	t.Helper()
	k, err := tandem.ParseWebhookKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	secretA  = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	secretB  = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
	privateC = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	publicC  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

// An old key signs beside the new one until its day, and not after it.
func TestOldKeysSignUntilTheirDay(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	target := &Target{Keys: []Key{{Key: key(t, privateC)}, {Key: key(t, secretA), Until: now.Add(time.Hour)}, {Key: key(t, secretB), Until: now}}}
	valid := func(at time.Time, k string) bool {
		h, body := single(target, message(), at)
		return tandem.VerifyWebhook(h, body, at, key(t, k)) == nil
	}
	for _, c := range []struct {
		at      time.Time
		c, a, b bool
	}{{now.Add(-time.Second), true, true, true}, {now, true, true, false}, {now.Add(time.Hour), true, false, false}} {
		if got := [3]bool{valid(c.at, publicC), valid(c.at, secretA), valid(c.at, secretB)}; got != [3]bool{c.c, c.a, c.b} {
			t.Errorf("at %v: %v", c.at, got)
		}
	}
}

func TestBinaryMode(t *testing.T) {
	var got *http.Request
	var body []byte
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	})
	target.Content = tandem.ContentBinary
	target.Keys = []Key{{Key: key(t, secretA)}}
	m := message()
	m.Record.Subject = "Müller 5%"
	if a := Send(context.Background(), target, m); a.Err != nil || a.Status != 200 {
		t.Fatalf("%+v", a)
	}
	e, err := tandem.ParseBinaryHTTP(got.Header, body)
	if err != nil || e.Subject != "Müller 5%" || e.ID != "1" || string(e.Data) != `{"a": 1}` || e.Meta.Flow != "f" {
		t.Errorf("%+v %v", e, err)
	}
	if got.Header.Get("Content-Type") != "application/json" || got.Header.Get(tandem.HeaderPosition) != "orders/3/42" || got.ContentLength != 8 {
		t.Errorf("%d bytes, %v", got.ContentLength, got.Header)
	}
	if err := tandem.VerifyWebhook(got.Header, body, time.Now(), key(t, secretA)); err != nil {
		t.Error(err)
	}
	m.Record.Data = nil
	if a := Send(context.Background(), target, m); a.Err != nil || got.ContentLength != 0 || len(got.TransferEncoding) != 0 {
		t.Errorf("without data: %v, %d bytes, %v", a.Err, got.ContentLength, got.TransferEncoding)
	}
}

func TestBatch(t *testing.T) {
	var got http.Header
	var body []byte
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		body, _ = io.ReadAll(r.Body)
	})
	target.Keys = []Key{{Key: key(t, secretA)}}
	one, two := message(), message()
	two.ID, two.Attempt, two.Record.ID, two.Record.Position.Offset = "msg_2", 4, "2", 43
	two.Record.Extensions = []tandem.Extension{{Name: tandem.AttrAttempt, Value: "9"}, {Name: "shop", Value: "x"}}
	SendBatch(context.Background(), target, []Message{*one, *two})
	id := got.Get(tandem.HeaderWebhookID)
	if got.Get("Content-Type") != tandem.MediaBatch || got.Get(tandem.HeaderAttempt) != "4" || got.Get(tandem.HeaderMaxAttempts) != "5" ||
		got.Get(tandem.HeaderSubscription) != "s" || got.Get(tandem.HeaderPosition) != "" {
		t.Errorf("%v", got)
	}
	if err := tandem.VerifyWebhook(got, body, time.Now(), key(t, secretA)); err != nil {
		t.Error(err)
	}
	events, err := tandem.ParseBatchJSON(body)
	if err != nil || len(events) != 2 {
		t.Fatalf("%s: %v", body, err)
	}
	for i, want := range []string{"msg_1 2 orders/3/42", "msg_2 4 orders/3/43"} {
		var told []string
		for _, name := range []string{tandem.AttrDelivery, tandem.AttrAttempt, tandem.AttrPosition} {
			v, _ := events[i].Extension(name)
			told = append(told, v)
		}
		if strings.Join(told, " ") != want {
			t.Errorf("event %d: %v, want %s", i, told, want)
		}
	}
	if v, _ := events[1].Extension("shop"); v != "x" || len(two.Record.Extensions) != 2 || two.Record.Extensions[0].Value != "9" {
		t.Errorf("%q; the message has %v", v, two.Record.Extensions)
	}
	SendBatch(context.Background(), target, []Message{*one, *two})
	if again := got.Get(tandem.HeaderWebhookID); again != id || strings.Contains(id, ".") {
		t.Errorf("ids %s and %s", id, again)
	}
	SendBatch(context.Background(), target, []Message{*two})
	if other := got.Get(tandem.HeaderWebhookID); other == id {
		t.Errorf("another batch has the same id")
	}
	target.Content = tandem.ContentBatch
	Send(context.Background(), target, one)
	if events, err := tandem.ParseBatchJSON(body); err != nil || len(events) != 1 || got.Get("Content-Type") != tandem.MediaBatch {
		t.Errorf("one event for a target of batches: %s", body)
	}
}
