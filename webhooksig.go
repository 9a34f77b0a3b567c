package tandem

import (
	"crypto/ed25519"
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

// Prefixes of keys and signatures.
const (
	webhookSecretPrefix  = "whsec_"
	webhookPrivatePrefix = "whsk_"
	webhookPublicPrefix  = "whpk_"
	webhookHMAC          = "v1,"
	webhookEd25519       = "v1a,"
)

// WebhookKey is a key of Standard Webhooks. It prints as a mask. The zero value neither signs nor verifies.
type WebhookKey struct {
	secret  []byte             // v1
	private ed25519.PrivateKey // v1a
	public  ed25519.PublicKey  // v1a
}

// ParseWebhookKey reads a key of Standard Webhooks: whsec_ and 24 to 64 bytes in base64 (HMAC-SHA256, signs and verifies),
// whsk_ and an ed25519 private key (32 bytes of seed, or those and the public key; signs and verifies), or whpk_ and an ed25519
// public key (verifies). White space around it is ignored, since files end in a newline. The error does not show the key.
// Code: Invalid.
func ParseWebhookKey(s string) (WebhookKey, error) {
	kind, text, ok := strings.Cut(strings.TrimSpace(s), "_")
	kind += "_"
	if !ok || kind != webhookSecretPrefix && kind != webhookPrivatePrefix && kind != webhookPublicPrefix {
		return WebhookKey{}, Errorf(CodeInvalid, "a webhook key begins with %s, %s or %s", webhookSecretPrefix, webhookPrivatePrefix, webhookPublicPrefix)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return WebhookKey{}, Errorf(CodeInvalid, "what follows %s in a webhook key is not base64", kind)
	}
	switch kind {
	case webhookSecretPrefix:
		if len(b) < 24 || len(b) > 64 {
			return WebhookKey{}, Errorf(CodeInvalid, "a webhook secret has 24 to 64 bytes, not %d", len(b))
		}
		return WebhookKey{secret: b}, nil
	case webhookPublicPrefix:
		if len(b) != ed25519.PublicKeySize {
			return WebhookKey{}, Errorf(CodeInvalid, "a public webhook key has %d bytes, not %d", ed25519.PublicKeySize, len(b))
		}
		return WebhookKey{public: b}, nil
	}
	if len(b) != ed25519.SeedSize && len(b) != ed25519.PrivateKeySize {
		return WebhookKey{}, Errorf(CodeInvalid, "a private webhook key has %d or %d bytes, not %d", ed25519.SeedSize, ed25519.PrivateKeySize, len(b))
	}
	private := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	if len(b) == ed25519.PrivateKeySize && !hmac.Equal(b, private) {
		// Signing with a public key that is not its own gives the private one away.
		return WebhookKey{}, Errorf(CodeInvalid, "the two halves of the private webhook key do not belong together")
	}
	return WebhookKey{private: private, public: ed25519.PublicKey(private[ed25519.SeedSize:])}, nil
}

// Signs reports whether the key can sign.
func (k WebhookKey) Signs() bool { return k.secret != nil || k.private != nil }

// String implements fmt.Stringer without showing the key.
func (k WebhookKey) String() string { return "[webhook key]" }

// GoString implements fmt.GoStringer without showing the key.
func (k WebhookKey) GoString() string { return k.String() }

// SignWebhook returns the value of HeaderWebhookSignature: the signature of each key over id, time in seconds and body, joined by
// dots. The id must not have a dot. Keys that cannot sign are left out.
func SignWebhook(id string, at time.Time, body []byte, keys ...WebhookKey) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	sigs := make([]byte, 0, 96*len(keys)) // a v1a signature has 92 bytes, with the space before it
	for i := range keys {
		k := &keys[i]
		if !k.Signs() {
			continue
		}
		if len(sigs) > 0 {
			sigs = append(sigs, ' ')
		}
		if k.secret != nil {
			sigs = base64.StdEncoding.AppendEncode(append(sigs, webhookHMAC...), webhookMAC(k.secret, id, stamp, body))
		} else {
			sigs = base64.StdEncoding.AppendEncode(append(sigs, webhookEd25519...), ed25519.Sign(k.private, webhookSigned(id, stamp, body)))
		}
	}
	return string(sigs)
}

func webhookMAC(secret []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(webhookSigned(id, timestamp, nil))
	mac.Write(body)
	return mac.Sum(nil)
}

func webhookSigned(id, timestamp string, body []byte) []byte {
	b := make([]byte, 0, len(id)+len(timestamp)+2+len(body))
	b = append(append(b, id...), '.')
	b = append(append(b, timestamp...), '.')
	return append(b, body...)
}

// maxWebhookSignatures bounds what a stranger's request can make a receiver compute.
const maxWebhookSignatures = 16

// VerifyWebhook checks the signature of a received webhook. One valid signature of one of keys is enough, so that keys can be
// rotated; of the signatures of a request the first 16 are looked at. Codes: Invalid (headers are missing or malformed),
// Unauthorized (no signature matches, or the time is further than WebhookTolerance from now).
func VerifyWebhook(h http.Header, body []byte, now time.Time, keys ...WebhookKey) error {
	id, stamp, sigs := h.Get(HeaderWebhookID), h.Get(HeaderWebhookTimestamp), h.Get(HeaderWebhookSignature)
	bad := Errorf(CodeInvalid, "not a signed webhook")
	switch {
	case id == "":
		bad.WithField("webhook-id", "is required")
	case strings.Contains(id, "."): // a part of it could be taken for the time, and that for the beginning of the body
		bad.WithField("webhook-id", "must not have a dot")
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
	n := 0
	for sig := range strings.FieldsSeq(sigs) {
		if n++; n > maxWebhookSignatures {
			break
		}
		scheme, text, _ := strings.Cut(sig, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for i := range keys {
			if keys[i].verifies(scheme+",", got, id, stamp, body) {
				return nil
			}
		}
	}
	return Errorf(CodeUnauthorized, "no signature of the webhook matches")
}

// verifies takes only the scheme of the key: which one is used is never the sender's choice.
func (k *WebhookKey) verifies(scheme string, sig []byte, id, stamp string, body []byte) bool {
	switch {
	case scheme == webhookHMAC && k.secret != nil:
		return hmac.Equal(sig, webhookMAC(k.secret, id, stamp, body))
	case scheme == webhookEd25519 && k.public != nil:
		return ed25519.Verify(k.public, webhookSigned(id, stamp, body), sig)
	}
	return false
}
