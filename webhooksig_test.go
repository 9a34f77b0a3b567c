package tandem_test

import (
	"fmt"
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
	secret, err := tandem.ParseWebhookKey(hookSecret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := tandem.SignWebhook(hookID, hookTime, []byte(hookBody), secret); got != hookSig {
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
		if err := tandem.VerifyWebhook(c.h, []byte(c.body), c.now, secret); tandem.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseWebhookKeyRefuses(t *testing.T) {
	for _, in := range []string{"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_secret!", "whsec_c2hvcnQ=",
		"whsec_" + strings.Repeat("AAAA", 30), "whsk_AAAA", "whpk_AAAA", "whpk_" + strings.Repeat("AAAA", 16), "whsk_" + strings.Repeat("AAAA", 21) + "AA==",
		"whxx_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		_, err := tandem.ParseWebhookKey(in)
		if tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q: %v", in, err)
		} else if len(in) > 10 && strings.Contains(err.Error(), in[6:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

// A key pair in the form that other implementations write.
const (
	hookPrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	hookPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

func key(t *testing.T, s string) tandem.WebhookKey {
	t.Helper()
	k, err := tandem.ParseWebhookKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWebhookKeys(t *testing.T) {
	secret, private, public := key(t, hookSecret), key(t, hookPrivate), key(t, hookPublic)
	other := key(t, "whsec_"+strings.Repeat("AAAA", 8))
	if secret.Signs() != true || private.Signs() != true || public.Signs() || (tandem.WebhookKey{}).Signs() {
		t.Error("who signs")
	}
	signed := func(keys ...tandem.WebhookKey) http.Header {
		return header("webhook-id", hookID, "webhook-timestamp", "1614265330",
			"webhook-signature", tandem.SignWebhook(hookID, hookTime, []byte(hookBody), keys...))
	}
	both := signed(secret, public, private)
	if sigs := strings.Fields(both.Get("webhook-signature")); len(sigs) != 2 || sigs[0] != hookSig || !strings.HasPrefix(sigs[1], "v1a,") {
		t.Fatalf("%q", sigs)
	}
	for name, c := range map[string]struct {
		h    http.Header
		keys []tandem.WebhookKey
		ok   bool
	}{
		"by the secret":                  {both, []tandem.WebhookKey{secret}, true},
		"by the public key":              {both, []tandem.WebhookKey{public}, true},
		"by the private key":             {both, []tandem.WebhookKey{private}, true},
		"by one of several":              {both, []tandem.WebhookKey{other, public}, true},
		"by another secret":              {both, []tandem.WebhookKey{other}, false},
		"by nothing":                     {both, nil, false},
		"by a zero key":                  {both, []tandem.WebhookKey{{}}, false},
		"v1 where the receiver has v1a":  {signed(secret), []tandem.WebhookKey{public}, false},
		"v1a where the receiver has v1":  {signed(private), []tandem.WebhookKey{secret}, false},
		"more signatures than one reads": {header("webhook-id", hookID, "webhook-timestamp", "1614265330", "webhook-signature", strings.Repeat("v1,AAAA ", 16)+hookSig), []tandem.WebhookKey{secret}, false},
	} {
		if err := tandem.VerifyWebhook(c.h, []byte(hookBody), hookTime, c.keys...); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, shown := range []string{fmt.Sprint(private), fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret)} {
		if strings.Contains(shown, "233") || strings.Contains(shown, "0x") {
			t.Errorf("a key shows as %s", shown)
		}
	}
}

func FuzzVerifyWebhook(f *testing.F) {
	f.Add(hookID, "1614265330", hookSig, []byte(hookBody))
	f.Add("", "x", "v1a,,v1, v1", []byte(nil))
	secret, _ := tandem.ParseWebhookKey(hookSecret)
	public, _ := tandem.ParseWebhookKey(hookPublic)
	f.Fuzz(func(t *testing.T, id, stamp, sigs string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {sigs}}
		err := tandem.VerifyWebhook(h, body, hookTime, secret, public)
		if err == nil && !strings.Contains(sigs, tandem.SignWebhook(id, hookTime, body, secret)) && stamp == "1614265330" {
			t.Fatalf("a forged signature passes: %q", sigs)
		}
		_, _ = tandem.ParseWebhookKey(sigs)
	})
}

// With a dot in its id one signed request could be given out for another, of another time.
func TestWebhookIDWithDot(t *testing.T) {
	key, err := tandem.ParseWebhookKey("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
	if err != nil {
		t.Fatal(err)
	}
	signed, later := time.Unix(1_700_000_000, 0), time.Unix(1_800_000_000, 0)
	h := http.Header{}
	h.Set(tandem.HeaderWebhookID, "msg_1.1700000000")
	h.Set(tandem.HeaderWebhookTimestamp, "1800000000")
	h.Set(tandem.HeaderWebhookSignature, tandem.SignWebhook("msg_1", signed, []byte("1800000000.body"), key))
	if err := tandem.VerifyWebhook(h, []byte("body"), later, key); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("%v", err)
	}
}
