package gateway

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// TestRespondToRepeats: repeats of one request that wait for its reply share a reader with all others, and each is answered.
func TestRespondToRepeats(t *testing.T) {
	w := newWorld(t, nil, `[{"match":"POST /price","topic":"orders","type":"order.asked","respond":{"type":"order.priced","timeout":"1h","topics":["replies"]}}]`)
	reply := func() {
		for _, ev := range w.events("orders") {
			priced := tandem.Event{Source: "/pricing", Type: "order.priced", Data: ev.Data, Meta: tandem.Meta{Flow: ev.Meta.Flow, Hops: 1}}
			if _, err := w.log.Append(t.Context(), "replies", []tandem.Event{priced}); err != nil {
				t.Fatal(err)
			}
		}
	}
	const others = 10
	answers := make(chan answer, others+2)
	ask := func(body string, header ...string) {
		go func() { answers <- w.do("POST", "/price", body, header...) }()
	}
	if a := w.do("POST", "/price", "7", "Idempotency-Key", "k", "Prefer", "respond-async"); a.StatusCode != 202 {
		t.Errorf("without waiting: %d %s", a.StatusCode, a.body)
	}
	ask("7", "Idempotency-Key", "k")
	ask("7", "Idempotency-Key", "k")
	for range others {
		ask("7")
	}
	impatient, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(impatient, "POST", w.url+"/price", strings.NewReader("7"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "k")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("%s for a client that went", resp.Status)
		}
	}()
	const all = others + 2*2 // a repeat waits for its own reply, before it turns out to be one, and for that of the first
	for w.waiting() < all+2 {
		runtime.Gosched()
	}
	leave()
	<-gone
	for w.waiting() > all || len(w.events("orders")) < others+1 {
		runtime.Gosched()
	}
	w.replies.mu.Lock()
	if n := len(w.replies.readers); n != 1 {
		t.Errorf("%d readers", n)
	}
	w.replies.mu.Unlock()
	reply()
	for range others + 2 {
		if a := <-answers; a.StatusCode != 200 || a.body != "7" {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	// A reply that is stored is found at once.
	if a := w.do("POST", "/price", "7", "Idempotency-Key", "k"); a.StatusCode != 200 || a.body != "7" {
		t.Errorf("a repeat: %d %s", a.StatusCode, a.body)
	}
}

// silentLink takes every event of orders and has no reply.
type silentLink struct{}

func (silentLink) Name() string                                          { return "silent" }
func (silentLink) Born() int64                                           { return 1 }
func (silentLink) Parallel() bool                                        { return false }
func (silentLink) Reads(topic string) bool                               { return topic == "orders" }
func (silentLink) Matches(*tandem.Event) bool                            { return true }
func (silentLink) Call(context.Context, *tandem.Record) (a chain.Answer) { return a }
func (silentLink) Note(*chain.Called)                                    {}

// TestRespondBehindLinks: links have said all there is to say, to a repeat as well.
func TestRespondBehindLinks(t *testing.T) {
	w := newWorld(t, nil, `[{"match":"POST /price","topic":"orders","type":"order.asked","respond":{"type":"order.priced","timeout":"1h","topics":["replies"]}}]`)
	w.opts.Chain.Use([]chain.Link{silentLink{}})
	for _, duplicate := range []tandem.Duplicate{tandem.DuplicateNo, tandem.DuplicateYes} {
		if a := w.do("POST", "/price", "7", "Idempotency-Key", "k"); a.StatusCode != 202 || receiptOf(t, a).Duplicate != duplicate {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
}
