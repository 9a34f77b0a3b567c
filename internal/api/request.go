package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// answered is what became of one event of a publish to a topic with request links.
type answered struct {
	chain.Result
	err error
}

// request publishes the events to a topic with request links, one after another.
func (a *API) request(c *call, p *publishing, mode tandem.Mode) error {
	// The time in which the body was to arrive is no concern of the chains.
	_ = http.NewResponseController(&c.w).SetReadDeadline(time.Time{}) // not every writer of a test has one
	ctx, cancel := p.patience(c)
	defer cancel()
	results := make([]answered, len(p.events))
	for i := range p.events {
		results[i] = a.requestOne(ctx, p.topic, &p.events[i])
	}
	h := c.w.Header()
	h["Cache-Control"] = noStore
	h[tandem.HeaderFlow] = []string{p.events0Flow()}
	if mode == tandem.ModeBatch {
		a.answerEach(c, p, results)
		return nil
	}
	if results[0].err != nil {
		return p.inForm(results[0].err, mode)
	}
	a.answerReplies(c, p, &results[0].Result)
	return nil
}

func acceptedBeside(topic string) error {
	return tandem.Errorf(tandem.CodeInvalid, "topic %s has request links, which answer before anything is stored", topic).
		WithField("ack", "cannot be accepted").WithHint("leave ack=accepted out")
}

// patience bounds chains by Prefer: wait.
func (p *publishing) patience(c *call) (context.Context, context.CancelFunc) {
	prefer := httpx.ParsePrefer(c.r.Header)
	if !prefer.HasWait {
		return c.r.Context(), func() {}
	}
	c.w.Header().Add("Preference-Applied", "wait="+strconv.Itoa(int(prefer.Wait.Seconds())))
	return context.WithTimeout(c.r.Context(), prefer.Wait)
}

func (a *API) requestOne(ctx context.Context, topic string, e *tandem.Event) answered {
	tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: topic, Event: *e}}}
	res, err := a.opts.Chain.Publish(ctx, tx)
	*e = tx.Events[0].Event // of a repeat, it has the flow of the first
	if err != nil {
		return answered{err: err}
	}
	a.metrics.published(topic, []tandem.Event{*e})
	return answered{Result: res}
}

// answerReplies answers with the replies as a batch of CloudEvents; what a receipt says is in the header.
func (a *API) answerReplies(c *call, p *publishing, res *chain.Result) {
	h, r := c.w.Header(), &res.Receipt
	if r.Cursor != "" {
		h[tandem.HeaderCursor] = []string{string(r.Cursor)}
	}
	h[tandem.HeaderPosition] = []string{tandem.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}.String()}
	if !strings.ContainsFunc(r.ID, func(c rune) bool { return c <= ' ' || c >= 0x7f }) { // else the client chose it, and knows it
		h[tandem.HeaderID] = []string{r.ID}
	}
	switch r.Duplicate {
	case tandem.DuplicateYes:
		h[tandem.HeaderDuplicate] = []string{"true"}
	case tandem.DuplicateUnknown:
		h[tandem.HeaderDuplicate] = []string{"unknown"}
	}
	if p.minimal {
		h.Add("Preference-Applied", "return=minimal")
		h["Content-Length"] = []string{"0"}
		c.w.WriteHeader(http.StatusOK)
		return
	}
	p.out = append(tandem.AppendBatchJSON(p.out[:0], res.Replies), '\n')
	h["Content-Type"] = []string{tandem.MediaBatch}
	h["Content-Length"] = []string{strconv.Itoa(len(p.out))}
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(p.out) // a client that has gone away is nobody's error
}

// answerEach answers a batch with a receipt or a problem for each event.
func (a *API) answerEach(c *call, p *publishing, results []answered) {
	p.out = append(p.out[:0], '[')
	for i := range results {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		p.out = appendAnswered(p.out, &results[i], p.minimal)
	}
	p.out = append(p.out, ']', '\n')
	h := c.w.Header()
	h["Content-Type"] = contentJSON
	h["Content-Length"] = []string{strconv.Itoa(len(p.out))}
	c.w.WriteHeader(http.StatusMultiStatus)
	_, _ = c.w.Write(p.out)
}

// appendAnswered writes a receipt with the replies, or a problem.
func appendAnswered(dst []byte, r *answered, minimal bool) []byte {
	if r.err != nil {
		return httpx.AppendProblem(dst, r.err)
	}
	dst = tandem.AppendReceiptJSON(dst, &r.Receipt)
	if minimal {
		return dst
	}
	dst = append(dst[:len(dst)-1], `,"replies":`...)
	return append(tandem.AppendBatchJSON(dst, r.Replies), '}')
}
