package gateway

import (
	"context"
	"net/http"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// refuser is a request link of all events, of which it refuses those with data "no".
type refuser struct {
	chain.Link
	called []string
}

func (r *refuser) Name() string               { return "refuser" }
func (r *refuser) Born() int64                { return 1 }
func (r *refuser) Parallel() bool             { return false }
func (r *refuser) Reads(string) bool          { return true }
func (r *refuser) Matches(*tandem.Event) bool { return true }
func (r *refuser) Note(*chain.Called)         {}
func (r *refuser) Call(_ context.Context, rec *tandem.Record) chain.Answer {
	r.called = append(r.called, string(rec.Data))
	if string(rec.Data) == `{"to":"no"}` {
		return chain.Answer{Outcome: tandem.LinkRefused, Status: 422}
	}
	return chain.Answer{Status: 204}
}

// TestStreamThroughLinks: what comes over the WebSocket of a route goes through the request links of its topic, each event for itself.
func TestStreamThroughLinks(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(whoAsks)}, chatRoutes)
	link := &refuser{}
	w.opts.Chain = chain.New(w.log, chain.Options{})
	w.opts.Chain.Use([]chain.Link{link})
	stored := w.talk("alice", "/rooms/1").say(`"data":{"to":"a"}`, `"data":{"to":"no"}`, `"data":{"to":"b"}`)
	refused(t, stored[1], tandem.CodeRequestLink, "")
	if stored[0].Err != nil || stored[2].Err != nil || len(link.called) != 3 {
		t.Errorf("%+v, called with %q", stored, link.called)
	}
	if list := w.events("orders"); len(list) != 2 || !chain.Took(&list[0], "refuser", 1) {
		t.Errorf("stored %+v", list)
	}
}
