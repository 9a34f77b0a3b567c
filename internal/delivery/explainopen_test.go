package delivery

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestExplainOpen has what an event without outcome waits for.
func TestExplainOpen(t *testing.T) {
	explainCases(t, []explainCase{
		{
			name: "unread",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				s, err := b.m.find("s")
				b.must(err)
				s.hold() // as while its declaration changes
				id := b.publish("a", "a", "a")[2]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyUnread, sentence: "It is not read yet: 2 stored events of its partition come before it.", facts: tandem.Reason{Unread: 2},
		},
		{
			name: "queued",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(attemptSeen) *http.Response { return after(5*time.Second, status(204)) })
				s := sub("s")
				s.Concurrency = 1
				b.start(s)
				b.publish("a")
				b.wait(time.Second)
				return b.placed("b", time.Second)
			},
			code: tandem.WhyQueued, sentence: "It was read, and waits for a slot or for the rate.",
		},
		{
			name: "not pulled",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(pulledSub("s"))
				return b.placed("a", time.Second)
			},
			code: tandem.WhyQueued, sentence: "It is ready, and no client has pulled it.", facts: tandem.Reason{Detail: "no client has pulled it"},
		},
		{
			name: "sending",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(attemptSeen) *http.Response { return after(5*time.Second, status(204)) })
				b.start(sub("s"))
				return b.placed("a", time.Second)
			},
			code: tandem.WhySending, sentence: "Attempt 1 is under way.", attempts: 1,
		},
		{
			name: "leased",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(pulledSub("s"))
				id := b.publish("a")[0]
				b.wait(time.Minute)
				leases := b.pull(1, 0)
				b.wait(10 * time.Second)
				b.extend(time.Hour, leases...)
				return b.place(id)
			},
			code: tandem.WhyLeased, sentence: "It is leased to alice since 2000-01-01T00:01:00Z, until 2000-01-01T01:01:10Z.", attempts: 1,
			facts: tandem.Reason{Since: clockAt(time.Minute), Until: clockAt(time.Hour + 70*time.Second), By: "alice"},
		},
		{
			name: "behind",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(404)
				b.start(hourly())
				id := b.publish("a", "a")[1]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyBehind, sentence: `It waits behind # of the same key "a", which has no outcome yet after 1 attempt, the last with status 404, and is tried again at *.`,
			also: func(r *tandem.Reason) bool {
				return r.Behind != nil && r.Behind.Key == "a" && strings.HasPrefix(r.Behind.ID, "a-") && *r.Delivery.Behind == r.Behind.Position && r.NextAttempt.After(clockAt(0))
			},
		},
		{
			name: "retrying",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(404)
				b.start(hourly())
				return b.placed("a", time.Second)
			},
			code: tandem.WhyRetrying, sentence: "It is not delivered yet after 1 attempt, the last with status 404; the next attempt is at *.", attempts: 1,
			also: func(r *tandem.Reason) bool {
				return r.NextAttempt.After(clockAt(0)) && r.Delivery.History[0].Status == 404
			},
		},
		{
			name: "redriving",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(422)
				b.start(sub("s"))
				ids := b.publish("a", "b", "c")
				b.wait(time.Second)
				f.set(func(attemptSeen) *http.Response { return after(time.Hour, status(204)) })
				_, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Rate: 0.001})
				b.must(err)
				b.wait(time.Second)
				i := slices.IndexFunc(ids, func(id string) bool { return b.explain(b.place(id), "s").Code != tandem.WhySending })
				return b.place(ids[i])
			},
			code: tandem.WhyRedriving, sentence: "It was a dead letter, and waits to be delivered again.", attempts: 1,
		},
	})
}
