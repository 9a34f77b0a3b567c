package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// publishing is one publish. It is pooled with its buffers: events share body, and the log keeps no reference to either.
type publishing struct {
	options
	body   []byte
	events []tandem.Event
	out    []byte
}

// Larger ones are left to the collector.
const (
	pooledBytes  = 256 << 10
	pooledEvents = 128
)

func (a *API) release(p *publishing) {
	clear(p.events)
	p.options = options{}
	p.events = p.events[:0]
	if p.body = p.body[:0]; cap(p.body) > pooledBytes {
		p.body = nil
	}
	if p.out = p.out[:0]; cap(p.out) > pooledBytes {
		p.out = nil
	}
	if cap(p.events) > pooledEvents {
		p.events = nil
	}
	a.publishes.Put(p)
}

// publish answers POST /v1/topics/{topic}/events.
func (a *API) publish(c *call) error {
	if strings.HasPrefix(c.arg, "_") {
		return tandem.Errorf(tandem.CodeForbidden, "%s is a topic of Tandem's own", shorten(c.arg))
	}
	mode, err := contentMode(c.r.Header)
	if err != nil {
		return err
	}
	p := a.publishes.Get().(*publishing)
	defer a.release(p)
	if err := a.parseOptions(c, mode, &p.options); err != nil {
		return err
	}
	requests := a.opts.Chain.Has(p.topic)
	if requests && p.accepted {
		return acceptedBeside(p.topic)
	}
	if mode == tandem.ModeNDJSON {
		return a.publishLines(c, p)
	}
	if err := a.read(c, p, mode); err != nil {
		return err
	}
	for i := range p.events {
		p.stamp(&p.events[i], i, p.flow)
	}
	if requests {
		return a.request(c, p, mode)
	}
	receipts, err := a.store(c, p)
	if err != nil {
		return p.inForm(err, mode)
	}
	a.metrics.published(p.topic, p.events)
	a.answer(c, p, mode, receipts)
	return nil
}

// store appends the events, or hands them to the queue of ack=accepted.
func (a *API) store(c *call, p *publishing) ([]tandem.Receipt, error) {
	if !p.accepted {
		return a.log.Append(c.r.Context(), p.topic, p.events)
	}
	receipts, err := a.log.Accept(c.r.Context(), p.topic, p.events)
	p.body = nil // the queue keeps what the events share
	return receipts, err
}

// read reads and parses the body.
func (a *API) read(c *call, p *publishing, mode tandem.Mode) (err error) {
	// An event in JSON is longer than what it says: base64, escapes. The log measures the event itself.
	limit := 2*int64(a.opts.MaxEventBytes) + 64<<10
	switch mode {
	case tandem.ModeBatch:
		limit = a.opts.MaxBatchBytes
	case tandem.ModePlain, tandem.ModeBinary:
		limit = int64(a.opts.MaxEventBytes)
	}
	c.deadline(a.opts.BodyTimeout)
	if p.body, err = httpx.AppendBody(p.body[:0], c.r, limit); err != nil {
		return err
	}
	var e tandem.Event
	switch mode {
	case tandem.ModeStructured:
		e, err = tandem.ParseEventJSON(p.body)
	case tandem.ModeBinary:
		e, err = tandem.ParseBinaryHTTP(c.r.Header, p.body)
	case tandem.ModeBatch:
		p.events, err = parseBatch(p.body)
		return err
	default:
		e, err = p.plainEvent(c.r.Header.Get("Content-Type"), p.body)
	}
	p.events = append(p.events[:0], e)
	return err
}

// maxBatchEvents bounds the events of a batch. More go through NDJSON, whose memory does not grow with their number.
const maxBatchEvents = 10_000

func parseBatch(body []byte) ([]tandem.Event, error) {
	events, err := tandem.ParseBatchJSON(body)
	if err == nil && len(events) > maxBatchEvents {
		return nil, tandem.Errorf(tandem.CodeTooLarge, "the batch has %d events, at most %d are taken", len(events), maxBatchEvents).
			WithHint("send %s, which has no limit", tandem.MediaNDJSON)
	}
	return events, err
}

// accepts is what a 415 lists.
const accepts = tandem.MediaEvent + ", " + tandem.MediaBatch + ", application/json, " + tandem.MediaNDJSON +
	", or any type with ce- headers (binary mode)"

// contentMode tells the form of a publish.
func contentMode(h http.Header) (tandem.Mode, error) {
	for _, enc := range h["Content-Encoding"] {
		if !strings.EqualFold(enc, "identity") {
			return 0, tandem.Errorf(tandem.CodeMediaType, "Content-Encoding %q is not supported", shorten(enc)).WithHint("send the body as it is")
		}
	}
	if len(h["Content-Type"]) > 1 {
		return 0, tandem.Errorf(tandem.CodeInvalid, "the form of the events is ambiguous").WithField("Content-Type", "must be there once")
	}
	mode, err := tandem.ContentMode(h)
	if err != nil {
		return 0, err
	}
	if ct := h.Get("Content-Type"); mode == tandem.ModePlain && !tandem.IsJSON(ct) {
		return 0, tandem.Errorf(tandem.CodeMediaType, "%q is not a form in which events are published", shorten(ct)).WithHint("send %s", accepts)
	}
	return mode, nil
}

// answer writes the receipts: one object, or an array for a batch.
func (a *API) answer(c *call, p *publishing, mode tandem.Mode, receipts []tandem.Receipt) {
	h := c.w.Header()
	h["Cache-Control"] = noStore
	h[tandem.HeaderFlow] = []string{p.events0Flow()}
	status := http.StatusCreated
	if p.accepted {
		status = http.StatusAccepted
	}
	if len(receipts) == 1 && !p.accepted {
		h[tandem.HeaderCursor] = []string{string(receipts[0].Cursor)}
	}
	if p.minimal {
		h["Preference-Applied"] = []string{"return=minimal"}
		h["Content-Length"] = []string{"0"}
		c.w.WriteHeader(status)
		return
	}
	out := p.out[:0]
	if mode == tandem.ModeBatch {
		out = append(out, '[')
	}
	for i := range receipts {
		if i > 0 {
			out = append(out, ',')
		}
		out = p.appendReceipt(out, &receipts[i])
	}
	if mode == tandem.ModeBatch {
		out = append(out, ']')
	}
	p.out = append(out, '\n')
	h["Content-Type"] = contentJSON
	if len(p.out) > 1024 { // net/http counts short answers itself
		h["Content-Length"] = []string{strconv.Itoa(len(p.out))}
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(p.out) // a client that has gone away is nobody's error
}

func (p *publishing) appendReceipt(dst []byte, r *tandem.Receipt) []byte {
	if p.accepted {
		return tandem.AppendAcceptedJSON(dst, r)
	}
	return tandem.AppendReceiptJSON(dst, r)
}

// Values of headers that are the same for every answer; net/http does not change them.
var (
	contentJSON = []string{"application/json"}
	noStore     = []string{"no-store"}
)

// inForm makes pointers of the log's, which knows only events, fit the form of the request: a batch has indexes, and
// attributes of plain JSON and of binary mode are parameters and headers.
func (p *publishing) inForm(err error, mode tandem.Mode) error {
	var e *tandem.Error
	for next := err; errors.As(next, &e); next = e.Err {
		for i := range e.Fields {
			f := &e.Fields[i]
			f.Pointer = p.pointer(f.Pointer, mode)
		}
	}
	return err
}

func (p *publishing) pointer(pointer string, mode tandem.Mode) string {
	name, ok := strings.CutPrefix(pointer, "/")
	switch {
	case !ok:
	case mode == tandem.ModeBatch && len(p.events) == 1:
		return "/0" + pointer
	case name == "data":
	case mode == tandem.ModeBinary:
		return "ce-" + name
	case mode == tandem.ModePlain && name == "id" && p.idem != "":
		return "Idempotency-Key"
	case mode == tandem.ModePlain:
		return name
	}
	return pointer
}

// malformed says where JSON is wrong.
func malformed(body []byte) error {
	if len(body) == 0 {
		return tandem.Errorf(tandem.CodeInvalid, "the body is empty where JSON is expected")
	}
	if _, err := tandem.ParseNDJSONLine(body, new(tandem.Event)); err != nil {
		return err
	}
	return tandem.Errorf(tandem.CodeInvalid, "malformed JSON")
}
