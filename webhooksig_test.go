package tandem_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// The example of the Standard Webhooks specification.
const (
	hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hookID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	hookBody   = `{"test": 2432232314}`
	hookSig    = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var hookTime = time.Unix(1614265330, 0)

func TestWebhookSignature(t *testing.T) {
	secret, err := tandem.ParseWebhookSecret(hookSecret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := tandem.SignWebhook(secret, hookID, hookTime, []byte(hookBody)); got != hookSig {
		t.Errorf("got %s, want %s", got, hookSig)
	}
	signed := func(change func(http.Header)) http.Header {
		h := header("webhook-id", hookID, "webhook-timestamp", "1614265330", "webhook-signature", hookSig)
		change(h)
		return h
	}
	for name, c := range map[string]struct {
		h    http.Header
		body string
		now  time.Time
		want tandem.Code
	}{
		"valid":            {signed(func(http.Header) {}), hookBody, hookTime, ""},
		"at the tolerance": {signed(func(http.Header) {}), hookBody, hookTime.Add(5 * time.Minute), ""},
		"too old":          {signed(func(http.Header) {}), hookBody, hookTime.Add(5*time.Minute + time.Second), tandem.CodeUnauthorized},
		"from the future":  {signed(func(http.Header) {}), hookBody, hookTime.Add(-5*time.Minute - time.Second), tandem.CodeUnauthorized},
		"other body":       {signed(func(http.Header) {}), hookBody + " ", hookTime, tandem.CodeUnauthorized},
		"other id":         {signed(func(h http.Header) { h.Set("webhook-id", "x") }), hookBody, hookTime, tandem.CodeUnauthorized},
		"other time":       {signed(func(h http.Header) { h.Set("webhook-timestamp", "1614265331") }), hookBody, hookTime, tandem.CodeUnauthorized},
		"other spelling of the time": {signed(func(h http.Header) { h.Set("webhook-timestamp", "01614265330") }), hookBody, hookTime,
			tandem.CodeUnauthorized},
		"rotated": {signed(func(h http.Header) { h.Set("webhook-signature", "v1,AAAA v1a,xyz "+hookSig) }), hookBody, hookTime, ""},
		"only other schemes": {signed(func(h http.Header) { h.Set("webhook-signature", "v1a,"+hookSig[3:]) }), hookBody, hookTime,
			tandem.CodeUnauthorized},
		"no id":        {signed(func(h http.Header) { h.Del("webhook-id") }), hookBody, hookTime, tandem.CodeInvalid},
		"no time":      {signed(func(h http.Header) { h.Set("webhook-timestamp", "soon") }), hookBody, hookTime, tandem.CodeInvalid},
		"no signature": {signed(func(h http.Header) { h.Del("webhook-signature") }), hookBody, hookTime, tandem.CodeInvalid},
	} {
		if err := tandem.VerifyWebhook(secret, c.h, []byte(c.body), c.now); tandem.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseWebhookSecretRefuses(t *testing.T) {
	for _, in := range []string{"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_secret!", "whsec_c2hvcnQ=",
		"whsec_" + strings.Repeat("AAAA", 30)} {
		_, err := tandem.ParseWebhookSecret(in)
		if tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q: %v", in, err)
		} else if len(in) > 10 && strings.Contains(err.Error(), in[6:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}
