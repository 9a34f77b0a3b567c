package tandem

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of Standard Webhooks.
const (
	HeaderWebhookID        = "Webhook-Id"
	HeaderWebhookTimestamp = "Webhook-Timestamp" // seconds since 1970
	HeaderWebhookSignature = "Webhook-Signature" // signatures, separated by spaces
)

// WebhookTolerance is how far a signed timestamp may be from the receiver's clock, either way.
const WebhookTolerance = 5 * time.Minute

const webhookSecretPrefix = "whsec_"

// ParseWebhookSecret reads a secret of Standard Webhooks: whsec_ and base64 of 24 to 64 bytes. White space around it is
// ignored, since files end in a newline. The error does not show the secret. Code: Invalid.
func ParseWebhookSecret(s string) ([]byte, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), webhookSecretPrefix)
	if !ok {
		return nil, Errorf(CodeInvalid, "a webhook secret begins with %s", webhookSecretPrefix)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, Errorf(CodeInvalid, "what follows %s in a webhook secret is not base64", webhookSecretPrefix)
	}
	if len(b) < 24 || len(b) > 64 {
		return nil, Errorf(CodeInvalid, "a webhook secret has 24 to 64 bytes, not %d", len(b))
	}
	return b, nil
}

// SignWebhook returns the signature of a webhook by Standard Webhooks, scheme v1: HMAC-SHA256 over id, time in seconds
// and body, joined by dots. The id must not have a dot.
func SignWebhook(secret []byte, id string, at time.Time, body []byte) string {
	sum := webhookMAC(secret, id, strconv.FormatInt(at.Unix(), 10), body)
	return "v1," + base64.StdEncoding.EncodeToString(sum)
}

func webhookMAC(secret []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// VerifyWebhook checks the signature of a received webhook. One valid v1 signature among several is enough, so that
// secrets can be rotated. Codes: Invalid (headers are missing or malformed), Unauthorized (no signature matches, or the
// time is further than WebhookTolerance from now).
func VerifyWebhook(secret []byte, h http.Header, body []byte, now time.Time) error {
	id, stamp, sigs := h.Get(HeaderWebhookID), h.Get(HeaderWebhookTimestamp), h.Get(HeaderWebhookSignature)
	bad := Errorf(CodeInvalid, "not a signed webhook")
	if id == "" {
		bad.WithField("webhook-id", "is required")
	}
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		bad.WithField("webhook-timestamp", "must be seconds since 1970")
	}
	if sigs == "" {
		bad.WithField("webhook-signature", "is required")
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	if at := time.Unix(sec, 0); at.Before(now.Add(-WebhookTolerance)) || at.After(now.Add(WebhookTolerance)) {
		return Errorf(CodeUnauthorized, "the webhook's time is more than %v away from now", WebhookTolerance).
			WithHint("compare the clocks of both sides; a repeat of an old request is refused")
	}
	want := webhookMAC(secret, id, stamp, body)
	for sig := range strings.FieldsSeq(sigs) {
		text, ok := strings.CutPrefix(sig, "v1,")
		if !ok {
			continue
		}
		if got, err := base64.StdEncoding.DecodeString(text); err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return Errorf(CodeUnauthorized, "no signature of the webhook matches")
}
