package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestSignature: a delivery's signature is accepted by the npm libraries standardwebhooks and svix, and refused when a byte differs.
func TestSignature(t *testing.T) {
	type delivery struct {
		header http.Header
		body   []byte
	}
	got := make(chan delivery, 1)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case got <- delivery{r.Header.Clone(), body}:
		default:
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	os.Setenv("HOOK_SECRET", secret)
	s := start(t, `
services:
  sink: {url: `+sink.URL+`}
topics:
  orders: {}
subscriptions:
  sink: {topics: [orders], service: sink, path: /hook, secret: "env:HOOK_SECRET"}
`)
	s.publish("orders", "Z%C3%BCrich%20%221%22", 1)
	var d delivery
	select {
	case d = <-got:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was delivered within 30 s")
	}
	if ct := d.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/cloudevents+json") {
		t.Errorf("content type %q", ct)
	}
	verify := func(library string, body []byte) error {
		in, err := json.Marshal(map[string]any{"library": library, "secret": secret, "body": string(body), "headers": map[string]string{
			"webhook-id":        d.header.Get("Webhook-Id"),
			"webhook-timestamp": d.header.Get("Webhook-Timestamp"),
			"webhook-signature": d.header.Get("Webhook-Signature"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", "js/verify.mjs")
		cmd.Stdin = bytes.NewReader(in)
		return cmd.Run()
	}
	for _, library := range []string{"standardwebhooks", "svix"} {
		if err := verify(library, d.body); err != nil {
			t.Errorf("%s refused: %v", library, err)
		}
		if verify(library, append(bytes.Clone(d.body), ' ')) == nil {
			t.Errorf("%s accepted a changed body", library)
		}
	}
}
