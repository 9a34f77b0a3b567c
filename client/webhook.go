package client

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// DefaultWebhookBytes is the largest request that a Webhook reads, unless it says otherwise.
const DefaultWebhookBytes = 16 << 20

// Webhook takes in what a subscription sends: it verifies the signature (Standard Webhooks) and reads the events, in whichever
// mode they come. It is safe for concurrent use once its fields are set.
type Webhook struct {
	MaxBytes int64            // of a body; zero means DefaultWebhookBytes
	Now      func() time.Time // nil means time.Now

	keys []tandem.WebhookKey
}

// Received is one delivery.
type Received struct {
	Event tandem.Event
	// ID is the same for every attempt to deliver this event to this subscription. Who remembers it takes each event once.
	ID           string
	Subscription string
	Attempt      int // from 1; in a batch that of this event
	MaxAttempts  int
	Position     tandem.Position // of the event in its topic: a lower offset of a key that was seen is stale
	Test         bool            // sent by a test of the subscription, and no delivery: answer, and do nothing
}

// NewWebhook returns a Webhook that takes what is signed by one of keys: whsec_ secrets, or whpk_ public keys of ed25519. While a key
// is being replaced name both. Code: Invalid; the error shows no key.
func NewWebhook(keys ...string) (*Webhook, error) {
	if len(keys) == 0 {
		return nil, tandem.Errorf(tandem.CodeInvalid, "a webhook that is to be verified needs a key")
	}
	w := &Webhook{}
	for _, text := range keys {
		k, err := tandem.ParseWebhookKey(text)
		if err != nil {
			return nil, err
		}
		w.keys = append(w.keys, k)
	}
	return w, nil
}

// Verify reads the body of r, verifies its signature and returns its events: one, or those of a batch. r.Body can be read again.
//
// The signature covers the id, the time and the body. In binary mode the body is the data alone, so that attributes are only as
// trustworthy as the connection; the headers Tandem-… never are covered, while a batch has what they say in its body.
//
// Codes: Unauthorized (not signed by one of the keys, or more than tandem.WebhookTolerance ago), Invalid (no webhook, or no valid events),
// MediaType, TooLarge. tandem.ProblemOf gives the status to answer with: 401 is tried again, the others are not.
func (w *Webhook) Verify(r *http.Request) ([]Received, error) {
	limit := w.MaxBytes
	if limit == 0 {
		limit = DefaultWebhookBytes
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		return nil, tandem.Errorf(tandem.CodeInvalid, "read the webhook: %w", err)
	case int64(len(body)) > limit:
		return nil, tandem.Errorf(tandem.CodeTooLarge, "the webhook is over %d bytes", limit)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	if err := tandem.VerifyWebhook(r.Header, body, now(), w.keys...); err != nil {
		return nil, err
	}
	mode, err := tandem.ContentMode(r.Header)
	if err != nil {
		return nil, err
	}
	var events []tandem.Event
	switch mode {
	case tandem.ModeBatch:
		events, err = tandem.ParseBatchJSON(bytes.Clone(body))
	case tandem.ModeStructured:
		events = make([]tandem.Event, 1)
		events[0], err = tandem.ParseEventJSON(bytes.Clone(body))
	case tandem.ModeBinary:
		events = make([]tandem.Event, 1)
		events[0], err = tandem.ParseBinaryHTTP(r.Header, bytes.Clone(body))
	default:
		err = tandem.Errorf(tandem.CodeMediaType, "the webhook holds no CloudEvent")
	}
	if err != nil {
		return nil, err
	}
	all := make([]Received, len(events))
	for i := range events {
		all[i] = received(r.Header, events[i], mode == tandem.ModeBatch)
	}
	return all, nil
}

// received takes what is told of an event: by its attributes in a batch, else by headers. What is not there, or is not what it should be,
// is left out.
func received(h http.Header, e tandem.Event, batch bool) Received {
	d := Received{Event: e, Subscription: h.Get(tandem.HeaderSubscription), Test: h.Get(tandem.HeaderTest) == "true"}
	d.MaxAttempts, _ = strconv.Atoi(h.Get(tandem.HeaderMaxAttempts))
	id, attempt, position := h.Get(tandem.HeaderWebhookID), h.Get(tandem.HeaderAttempt), h.Get(tandem.HeaderPosition)
	if batch {
		id, _ = e.Extension(tandem.AttrDelivery)
		attempt, _ = e.Extension(tandem.AttrAttempt)
		position, _ = e.Extension(tandem.AttrPosition)
	}
	d.ID = id
	d.Attempt, _ = strconv.Atoi(attempt)
	d.Position, _ = tandem.ParsePosition(position)
	return d
}
