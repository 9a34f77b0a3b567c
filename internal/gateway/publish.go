package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// publicReceipt is what clients learn of a stored event. Partition and offset would tell them how much a topic holds.
type publicReceipt struct {
	ID        string           `json:"id"`
	Duplicate tandem.Duplicate `json:"duplicate"`
}

// publish makes an event of a request and stores it.
func (x *exchange) publish(r *http.Request) error {
	ev, err := x.event(r)
	if err != nil {
		return err
	}
	prefer := httpx.ParsePrefer(r.Header)
	switch {
	case x.route.Operation != nil:
		return x.publishOperation(r, ev)
	case x.route.Respond != nil && !prefer.RespondAsync:
		return x.publishAndWait(r, ev, prefer)
	case x.route.Respond != nil:
		x.Header().Set("Preference-Applied", "respond-async")
	}
	receipt, err := x.append(r.Context(), &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: x.route.Topic, Event: *ev}}})
	if err != nil {
		return err
	}
	if receipt.Duplicate == tandem.DuplicateYes {
		x.recall(r.Context(), receipt)
	}
	x.accepted(prefer, receipt)
	return nil
}

// accepted answers that the event is stored.
func (x *exchange) accepted(prefer httpx.Prefer, receipt tandem.Receipt) {
	if prefer.Return == "minimal" {
		x.Header().Add("Preference-Applied", "return=minimal")
		x.WriteHeader(http.StatusAccepted)
		return
	}
	httpx.WriteJSON(x, http.StatusAccepted, publicReceipt{receipt.ID, receipt.Duplicate})
}

// append stores the event of the request, with what belongs to it, after the request links of its topic have taken it.
func (x *exchange) append(ctx context.Context, tx *eventlog.Tx) (tandem.Receipt, error) {
	if x.g.opts.Chain.Has(x.route.Topic) {
		return x.request(ctx, tx)
	}
	receipts, err := x.g.log.Commit(ctx, tx)
	if err == nil {
		return receipts[0], nil
	}
	return tandem.Receipt{}, x.topicGone(err)
}

// request is append where the topic has request links. It keeps what they answered.
func (x *exchange) request(ctx context.Context, tx *eventlog.Tx) (tandem.Receipt, error) {
	res, err := x.g.opts.Chain.Publish(ctx, tx)
	x.replied = res.Replies
	x.flow = tx.Events[0].Event.Meta.Flow // of a repeat, that of the first
	x.Header().Set(tandem.HeaderFlow, x.flow)
	return res.Receipt, x.topicGone(err)
}

// topicGone makes a missing topic of the route 503: the path is there, and somebody can make the topic.
func (x *exchange) topicGone(err error) error {
	if tandem.CodeOf(err) != tandem.CodeNotFound {
		return err
	}
	x.g.opts.Logger.Error("a topic of a route is not there", "route", x.route.Match, "flow", x.flow, "error", err)
	return tandem.Errorf(tandem.CodeUnavailable, "a topic of this route is not there")
}

// event is the request as an event. The body is its data, byte for byte.
func (x *exchange) event(r *http.Request) (*tandem.Event, error) {
	ev := &tandem.Event{
		Source: x.route.source,
		Type:   x.route.Type,
		Time:   time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		Meta: tandem.Meta{Flow: x.flow, Producer: x.principal, Route: x.route.Match,
			TraceParent: x.traceParent, TraceState: x.traceState},
	}
	var err error
	if ev.ID, err = x.idempotent(r.Header); err != nil {
		return nil, err
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, tandem.Errorf(tandem.CodeMediaType, "the body is encoded as %s", coding).WithHint("send it as it is, without Content-Encoding")
	}
	rc := http.NewResponseController(x.ResponseWriter)
	_ = rc.SetReadDeadline(time.Now().Add(x.g.bodyTimeout)) // not every writer has deadlines
	ev.Data, err = httpx.ReadBody(r, x.route.maxBody)
	if err != nil {
		return nil, err // the deadline stays: what is left of the body is not worth waiting for
	}
	_ = rc.SetReadDeadline(time.Time{})
	contentType := r.Header.Get("Content-Type")
	if err := setContent(ev, contentType); err != nil {
		return nil, err
	}
	if ev.Subject, err = x.route.subject.of(x, ev); err != nil {
		return nil, err
	}
	ev.Meta.Key, err = x.route.key.of(x, ev)
	return ev, err
}

// setContent checks the body against its type, while the error can still be said in terms of the request.
func setContent(ev *tandem.Event, contentType string) error {
	if len(ev.Data) == 0 {
		if contentType != "" && tandem.IsJSON(contentType) {
			return invalid("the body is empty where JSON is expected").WithHint("without a Content-Type it is an event without data")
		}
		ev.Data = nil
		return nil
	}
	if strings.HasPrefix(httpx.MediaType(contentType), "application/cloudevents") {
		return tandem.Errorf(tandem.CodeMediaType, "this route makes the event itself").
			WithHint("send the data alone; whole CloudEvents are published through the API")
	}
	ev.DataContentType = contentType
	if !tandem.IsJSON(contentType) {
		return nil // DataAuto: text or bytes, by the type
	}
	if !tandem.JSONValid(ev.Data) {
		detail := "is not JSON in UTF-8"
		var raw json.RawMessage
		var syntax *json.SyntaxError
		if errors.As(json.Unmarshal(ev.Data, &raw), &syntax) {
			detail = fmt.Sprintf("is not JSON: %s, at byte %d", syntax, syntax.Offset)
		}
		return invalid("the body is malformed").WithField("", "%s", detail).WithHint("another kind of data is sent with its own Content-Type")
	}
	ev.Encoding = tandem.DataJSON
	return nil
}

// idempotent returns the id of the event of a request with Idempotency-Key, "" without.
func (x *exchange) idempotent(h http.Header) (string, error) {
	const name = "Idempotency-Key"
	values := h[name]
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' { // the form of the IETF draft
		key = key[1 : n-1]
	}
	if len(values) > 1 || key == "" || len(key) > 255 {
		return "", invalid("a header is wrong").WithField(name, "must be there once, with 1 to 255 characters")
	}
	return tandem.DerivedID("route", x.principal, x.route.source, key), nil
}

// recall puts the flow of the first request in place of that of its repeat, and returns the event that is stored. It may
// be gone: then there is nothing to recall.
func (x *exchange) recall(ctx context.Context, receipt tandem.Receipt) (ev tandem.Event) {
	info, err := x.g.log.Topic(ctx, receipt.Topic)
	if err != nil {
		return ev
	}
	found, err := x.g.log.ReadPartition(ctx, info.ID, receipt.Partition, receipt.Offset, 1, nil)
	if err != nil || len(found) == 0 || found[0].Position.Offset != receipt.Offset {
		return ev
	}
	x.flow = found[0].Meta.Flow
	x.Header().Set(tandem.HeaderFlow, x.flow)
	return found[0].Event
}

// publishOperation stores the event together with an operation and answers with that.
func (x *exchange) publishOperation(r *http.Request, ev *tandem.Event) error {
	ops := x.g.opts.Operations
	op, state, err := ops.Begin(r.Context(), x.route.Operation.Spec, x.flow)
	if err != nil {
		return x.topicGone(err)
	}
	ev.Meta.Operation = op.ID
	tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: x.route.Topic, Event: *ev}}}
	tx.State = append(tx.State, state)
	// Not bound to the client: whether it was stored must not be in doubt.
	receipt, err := x.append(context.WithoutCancel(r.Context()), tx)
	if err != nil {
		ops.Abandon(op.ID, true)
		return err
	}
	h := x.Header()
	h.Set("Retry-After", "1")
	if receipt.Duplicate != tandem.DuplicateYes {
		x.operationID = op.ID
		h.Set("Location", x.table.operationPath(op.ID))
		httpx.WriteJSON(x, http.StatusAccepted, &op)
		return nil
	}
	ops.Abandon(op.ID, true) // the first request has its own
	first := x.recall(r.Context(), receipt)
	if first.Meta.Operation != "" {
		h.Set("Location", x.table.operationPath(first.Meta.Operation))
	}
	httpx.WriteJSON(x, http.StatusAccepted, publicReceipt{receipt.ID, tandem.DuplicateYes})
	return nil
}

// publishAndWait stores the event and answers with the data of its reply or, when the time is out, that it is stored. Request links have said all there
// is to say when it is stored: nothing is waited for then.
func (x *exchange) publishAndWait(r *http.Request, ev *tandem.Event, prefer httpx.Prefer) error {
	timeout := x.route.respondTimeout
	if prefer.HasWait && prefer.Wait < timeout {
		timeout = prefer.Wait
		x.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(timeout/time.Second)))
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	want := wanted{x.flow, x.route.Respond.Type, ev.Source}
	tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: x.route.Topic, Event: *ev}}}
	var receipt tandem.Receipt
	var w *waiter
	var err error
	if x.g.opts.Chain.Has(x.route.Topic) {
		receipt, err = x.request(ctx, tx)
	} else {
		// Before the event can be seen by anybody: its reply must not be faster.
		if w, err = x.g.replies.wait(r.Context(), x.route.respondTopics, want); err != nil {
			return tandem.Errorf(tandem.CodeUnavailable, "the reply could not be waited for: %w", x.topicGone(err))
		}
		defer w.leave()
		receipt, err = x.append(r.Context(), tx)
	}
	if err != nil {
		return err
	}
	// A write timeout of the server was meant for answers that do not wait.
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Time{})
	if receipt.Duplicate == tandem.DuplicateYes {
		x.recall(r.Context(), receipt)
		want.flow = x.flow
	}
	var reply *tandem.Event
	switch i := slices.IndexFunc(x.replied, func(e tandem.Event) bool { return e.Type == want.typ }); {
	case i >= 0:
		reply = &x.replied[i]
	case w == nil: // so it is for a repeat
	case receipt.Duplicate == tandem.DuplicateYes:
		reply = x.g.replies.find(ctx, x.route.respondTopics, receipt.Cursor, want)
	default:
		reply = w.reply(ctx)
	}
	if reply == nil {
		x.accepted(prefer, receipt)
		return nil
	}
	h := x.Header()
	switch {
	case len(reply.Data) == 0:
	case reply.DataContentType != "":
		h.Set("Content-Type", reply.DataContentType)
	default:
		h.Set("Content-Type", "application/json")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(reply.Data)))
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write(reply.Data) // a client that has gone away is nobody's error
	return nil
}
