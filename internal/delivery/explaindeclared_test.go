package delivery

import (
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/condition"
)

// TestExplainDeclared has what a declaration in force, a seek or a replay leaves out.
func TestExplainDeclared(t *testing.T) {
	explainCases(t, []explainCase{
		{
			name: "topics",
			run: func(b *bed, f *endpointFake) tandem.Position {
				s := sub("s")
				s.Topics = []string{"payments", "mails.*"}
				b.start(s)
				b.wait(time.Second)
				return b.place(b.publish("a")[0])
			},
			code: tandem.WhyTopics, sentence: "Version 1 of its declaration, in force since 2000-01-01T00:00:00Z, selects payments, mails.* and not orders.",
			facts: tandem.Reason{Since: clockAt(0), Topics: []string{"payments", "mails.*"}},
		},
		{
			// The second version is in force when it is published, the third when it is asked about. A change of the concurrency makes no version.
			name: "filter",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(filtered(sub("s"), `{"type":"order.placed"}`))
				b.wait(time.Minute)
				s := filtered(sub("s"), `{"all":[{"exact":{"type":"order.placed"}},{"exact":{"subject":"b"}}]}`)
				b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
				id := b.publish("a")[0]
				b.wait(time.Minute)
				s.Concurrency = 3
				b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
				b.wait(time.Minute)
				b.must(b.m.Apply(b.ctx, []tandem.Subscription{filtered(sub("s"), `{"type":"order.placed"}`)}))
				b.wait(time.Minute)
				return b.place(id)
			},
			code:     tandem.WhyFilter,
			sentence: `The filter of version 2 of its declaration, in force since 2000-01-01T00:01:00Z, does not match: {"exact":{"subject":"b"}} is false, where subject is "a".`,
			facts:    tandem.Reason{Since: clockAt(time.Minute)},
			also: func(r *tandem.Reason) bool {
				c := r.Clause
				return c != nil && r.Delivery.Version == 2 && c.Text == `{"exact":{"subject":"b"}}` && len(c.Saw) == 1 && c.Saw[0] == tandem.SeenValue{Name: "subject", Value: "a"}
			},
		},
		{
			name: "filter on data",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.opts.Conditions = condition.New(condition.Options{}).Compile
				b.start(filtered(sub("s"), `{"cel":"event.type == 'order.placed' && data.n > 5 && data.m == 1"}`))
				return b.place(b.publish("a")[0])
			},
			code:  tandem.WhyFilter,
			facts: tandem.Reason{Since: clockAt(0)},
			also: func(r *tandem.Reason) bool {
				c := r.Clause
				return c != nil && c.Dialect == "cel" && c.Text == "data.n > 5" && len(c.Saw) == 1 && c.Saw[0].Name == "data.n" && len(c.Saw[0].Value) == 1
			},
		},
		{
			name: "before",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start()
				id := b.publish("a")[0]
				b.wait(time.Minute)
				s := sub("s")
				s.From = "latest"
				b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
				return b.place(id)
			},
			code: tandem.WhyBefore, sentence: "The subscription began at 2000-01-01T00:01:00Z, after the event.",
			facts: tandem.Reason{Since: clockAt(time.Minute)},
		},
		{
			name: "sought over",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.must(b.m.Pause(b.ctx, "s"))
				id := b.publish("a")[0]
				b.wait(time.Hour)
				_, err := b.m.Seek(b.ctx, "s", tandem.Start{}, false)
				b.must(err)
				b.wait(time.Hour)
				b.must(b.m.Resume(b.ctx, "s"))
				return b.place(id)
			},
			code: tandem.WhySeek, sentence: "A seek at 2000-01-01T01:00:00Z went over it.", facts: tandem.Reason{Since: clockAt(time.Hour)},
		},
		{
			name: "replay ends",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.publish("a")
				b.wait(time.Second)
				_, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
				b.must(err)
				return b.placed("a", time.Second)
			},
			code: tandem.WhyReplayEnd, sentence: "The replay ends before it.",
		},
	})
}
