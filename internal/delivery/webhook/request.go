package webhook

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Header names in canonical form, which the map is keyed by.
const (
	headerTraceParent = "Traceparent"
	headerTraceState  = "Tracestate"
)

func newRequest(ctx context.Context, t *Target, method string, header http.Header, body []byte) *http.Request {
	r := (&http.Request{
		Method: method, URL: t.URL, Host: t.URL.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, ContentLength: int64(len(body)),
		// GetBody lets the transport repeat a request of which nothing was written, because the kept connection was gone.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	if len(body) == 0 {
		r.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	r.Body, _ = r.GetBody()
	return r
}

// fields builds a header whose values share one array.
type fields struct {
	h      http.Header
	values []string
}

func newFields() fields { return fields{make(http.Header, 16), make([]string, 0, 16)} }

// set takes a name in canonical form; an empty value is no header.
func (f *fields) set(name, value string) {
	if value != "" {
		f.values = append(f.values, value)
		f.h[name] = f.values[len(f.values)-1 : len(f.values) : len(f.values)]
	}
}

// replay says which replay a message is part of.
func (f *fields) replay(m *Message) {
	if m.Replay > 0 {
		f.set(tandem.HeaderReplay, strconv.Itoa(m.Replay))
	}
}

// single returns the request of one event alone, in structured or binary mode.
func single(t *Target, m *Message, now time.Time) (http.Header, []byte) {
	f := newFields()
	rec := m.Record
	body := rec.Data
	if t.Content == tandem.ContentBinary {
		rec.WriteBinaryHeader(f.h)
	} else {
		body = tandem.AppendEventJSON(make([]byte, 0, 512+len(rec.Data)), &rec.Event)
		f.set("Content-Type", tandem.MediaEvent)
	}
	f.set(tandem.HeaderFlow, rec.Meta.Flow)
	if rec.Position.Topic != "" { // a test has no place
		f.set(tandem.HeaderCause, tandem.Ref(rec.Position.Topic, rec.Source, rec.ID))
	}
	if rec.Position.Topic != "" && !m.Unstored {
		f.set(tandem.HeaderPosition, rec.Position.String())
	}
	f.set(tandem.HeaderOperation, rec.Meta.Operation)
	f.set(tandem.HeaderAttempt, strconv.Itoa(m.Attempt))
	f.set(tandem.HeaderMaxAttempts, strconv.Itoa(m.MaxAttempts))
	f.set(tandem.HeaderSubscription, m.Subscription)
	f.replay(m)
	f.set(headerTraceParent, cmp.Or(m.TraceParent, rec.Meta.TraceParent))
	f.set(headerTraceState, rec.Meta.TraceState)
	f.finish(t, m.ID, m.Test, body, now)
	return f.h, body
}

// batch returns the request of many events. What the headers say of one that is sent alone its attributes say here.
func batch(t *Target, all []Message, now time.Time) (http.Header, []byte) {
	size := 2
	for i := range all {
		size += 768 + len(all[i].Record.Data)
	}
	body := append(make([]byte, 0, size), '[')
	ids := make([]string, len(all))
	attempt := 0
	for i := range all {
		m := &all[i]
		if i > 0 {
			body = append(body, ',')
		}
		body = appendDelivered(body, m)
		ids[i] = m.ID
		attempt = max(attempt, m.Attempt)
	}
	body = append(body, ']')
	f := newFields()
	f.set("Content-Type", tandem.MediaBatch)
	f.set(tandem.HeaderAttempt, strconv.Itoa(attempt))
	f.set(tandem.HeaderMaxAttempts, strconv.Itoa(all[0].MaxAttempts))
	f.set(tandem.HeaderSubscription, all[0].Subscription)
	f.replay(&all[0])
	f.set(headerTraceParent, all[0].TraceParent)
	// The same events in the same order are the same message.
	f.finish(t, "msg_"+tandem.DerivedID(ids...), all[0].Test, body, now)
	return f.h, body
}

func appendDelivered(dst []byte, m *Message) []byte {
	e := m.Record.Event
	e.Extensions = append(make([]tandem.Extension, 0, len(e.Extensions)+3), e.Extensions...)
	e.Extensions = slices.DeleteFunc(e.Extensions, func(x tandem.Extension) bool { // those of a batch that it was a reply to
		return x.Name == tandem.AttrDelivery || x.Name == tandem.AttrAttempt || x.Name == tandem.AttrPosition
	})
	e.Extensions = append(e.Extensions,
		tandem.Extension{Name: tandem.AttrDelivery, Value: m.ID},
		tandem.Extension{Name: tandem.AttrAttempt, Value: strconv.Itoa(m.Attempt), Kind: tandem.ExtensionInteger},
		tandem.Extension{Name: tandem.AttrPosition, Value: m.Record.Position.String()})
	return tandem.AppendEventJSON(dst, &e)
}

// finish adds what all requests of a target have, and the signature.
func (f *fields) finish(t *Target, id string, test bool, body []byte, now time.Time) {
	f.set("User-Agent", t.UserAgent)
	maps.Copy(f.h, t.Headers)
	if test {
		f.set(tandem.HeaderTest, "true")
	}
	f.set(tandem.HeaderWebhookID, id)
	f.set(tandem.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	var valid [4]tandem.WebhookKey
	keys := valid[:0]
	for i := range t.Keys {
		if k := &t.Keys[i]; k.Until.IsZero() || now.Before(k.Until) {
			keys = append(keys, k.Key)
		}
	}
	if len(keys) > 0 {
		f.set(tandem.HeaderWebhookSignature, tandem.SignWebhook(id, now, body, keys...))
	}
}
