package delivery

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/condition"
)

// place returns where the event with an id is stored.
func (b *bed) place(id string) tandem.Position {
	b.t.Helper()
	all := b.stored("orders")
	i := slices.IndexFunc(all, func(r tandem.Record) bool { return r.ID == id })
	if i < 0 {
		b.t.Fatalf("%s is not stored", id)
	}
	return all[i].Position
}

func (b *bed) explain(at tandem.Position, subscription string) tandem.Reason {
	b.t.Helper()
	all, err := b.m.Explain(b.ctx, at, subscription)
	if err != nil || len(all) != 1 {
		b.t.Fatalf("%d reasons, %v", len(all), err)
	}
	return all[0]
}

func filtered(s tandem.Subscription, filter string) tandem.Subscription {
	var err error
	if s.Filter, err = tandem.ParseFilter([]byte(filter)); err != nil {
		panic(err)
	}
	return s
}

// hourly is the subscription "s" whose attempts are an hour apart.
func hourly() tandem.Subscription {
	s := sub("s")
	s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Hour), Max: tandem.Duration(time.Hour)}
	return s
}

// answer lets an endpoint answer with a status.
func (f *endpointFake) answer(code int) {
	f.set(func(attemptSeen) *http.Response { return status(code) })
}

// clockAt is a time of virtual time, which begins at midnight.
func clockAt(offset time.Duration) time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(offset)
}

// TestExplain has a case for each cause, with the sentence and the facts. In a sentence, @ is the position that is asked about and # the event that it
// waits behind; time begins at midnight.
func TestExplain(t *testing.T) {
	type facts = tandem.Reason
	for _, tt := range []struct {
		name     string
		run      func(b *bed, f *endpointFake) tandem.Position
		code     string
		sentence string
		facts    facts // Until, By, Topics and Unread; Since and Detail where they are given
		attempts int
		also     func(r *tandem.Reason) bool
	}{
		{
			name: "delivered",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				id := b.publish("a")[0]
				b.wait(time.Minute)
				return b.place(id)
			},
			code: tandem.WhyDelivered, sentence: "It was delivered at 2000-01-01T00:00:00Z, at the first attempt.",
			facts: facts{Since: clockAt(0)}, attempts: 1,
		},
		{
			name: "delivered late",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(a attemptSeen) *http.Response { return status(map[bool]int{true: 404, false: 204}[a.attempt < 3]) })
				b.start(hourly())
				id := b.publish("a")[0]
				b.wait(3 * time.Hour)
				return b.place(id)
			},
			code: tandem.WhyDelivered, attempts: 3, sentence: "It was delivered at *, after 3 attempts.",
		},
		{
			name: "no topic",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				return tandem.Position{Topic: "nowhere"}
			},
			code: tandem.WhyNoTopic, sentence: `There is no topic "nowhere".`,
		},
		{
			name: "no event",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				return tandem.Position{Topic: "orders", Partition: 1, Offset: 1 << 40}
			},
			code: tandem.WhyNoEvent, sentence: "There is no event at @.",
		},
		{
			name: "no subscription",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start()
				return b.place(b.publish("a")[0])
			},
			code: tandem.WhyNoSubscription, sentence: `There is no subscription "s".`,
		},
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
			facts: facts{Since: clockAt(0), Topics: []string{"payments", "mails.*"}},
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
			facts:    facts{Since: clockAt(time.Minute)},
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
			facts: facts{Since: clockAt(0)},
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
			facts: facts{Since: clockAt(time.Minute)},
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
			code: tandem.WhySeek, sentence: "A seek at 2000-01-01T01:00:00Z went over it.", facts: facts{Since: clockAt(time.Hour)},
		},
		{
			name: "replay ends",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.publish("a")
				b.wait(time.Second)
				_, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
				b.must(err)
				id := b.publish("a")[0]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyReplayEnd, sentence: "The replay ends before it.",
		},
		{
			name: "paused",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.wait(time.Minute)
				b.must(b.m.Pause(b.ctx, "s"))
				b.wait(time.Minute)
				b.must(b.m.Pause(b.ctx, "s")) // the first counts
				id := b.publish("a")[0]
				b.stop()
				b.start()
				b.wait(time.Minute)
				return b.place(id)
			},
			code: tandem.WhyPaused, sentence: "The subscription is paused since 2000-01-01T00:01:00Z by alice.",
			facts: facts{Since: clockAt(time.Minute), By: "alice", Detail: "by request"},
		},
		{
			name: "paused by its policy",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(404)
				s := hourly()
				s.Attempts, s.Exhausted = 1, "pause"
				s.PauseAfter = tandem.Duration(time.Minute)
				b.start(s)
				b.publish("a")
				b.wait(3 * time.Hour)
				return b.place(b.publish("b")[0])
			},
			code:     tandem.WhyPaused,
			sentence: "The subscription is paused since *, the event * used up its attempts: status 404.",
			also:     func(r *tandem.Reason) bool { return !r.Since.IsZero() && r.By == "" },
		},
		{
			name: "orphan",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.wait(time.Minute)
				b.must(b.m.Apply(b.ctx, nil))
				return b.place(b.publish("a")[0])
			},
			code: tandem.WhyOrphan, sentence: "The subscription is orphan since 2000-01-01T00:01:00Z: the configuration file does not name it any more.",
			facts: facts{Since: clockAt(time.Minute), Detail: "the configuration file does not name it any more"},
		},
		{
			name: "disabled",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(410)
				b.start(sub("s"))
				b.wait(time.Minute)
				b.publish("gone")
				b.wait(time.Minute)
				return b.place(b.publish("a")[0])
			},
			code: tandem.WhyDisabled, sentence: "The subscription is disabled since 2000-01-01T00:01:00Z: the endpoint answered 410*",
		},
		{
			name: "capped",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.opts.ParkedKeys = 1
				f.set(func(a attemptSeen) *http.Response { return status(map[bool]int{true: 404, false: 204}[a.key == "bad"]) })
				b.start(hourly())
				b.publish("bad", "good")
				b.wait(time.Minute)
				return b.place(b.publish("a")[0])
			},
			code:     tandem.WhyCapped,
			sentence: "The subscription stands still: no further events are read: the limit of parked keys is reached.",
			facts:    facts{Detail: "no further events are read: the limit of parked keys is reached"},
		},
		{
			name: "damaged",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.publish("a")
				b.wait(time.Minute)
				b.stop()
				b.overwrite(subPrefix("s")+kindAt, "x")
				b.start()
				return b.place(b.publish("a")[0])
			},
			code: tandem.WhyDamaged, sentence: "The subscription is damaged: *",
		},
		{
			name: "damaged declaration",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				b.stop()
				b.overwrite(configPrefix+"s", "x")
				b.start()
				return b.place(b.publish("a")[0])
			},
			code: tandem.WhyDamaged, sentence: "The subscription is damaged: *",
		},
		{
			name: "store fails",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(attemptSeen) *http.Response { return after(5*time.Second, status(204)) })
				b.start(sub("s"))
				id := b.publish("a", "a", "a")[2] // what was delivered last cannot be told
				at := b.place(id)
				b.wait(time.Second)
				b.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full"))
				b.t.Cleanup(func() { b.eng.Fail(nil) })
				b.wait(15 * time.Second)
				return at
			},
			code: tandem.WhyStore, sentence: "The subscription stands still: outcomes cannot be stored*",
		},
		{
			name: "endpoint",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(attemptSeen) *http.Response { return nil })
				b.start(hourly())
				b.wait(time.Minute)
				b.publish("a")
				b.wait(time.Minute)
				return b.place(b.publish("b")[0])
			},
			code: tandem.WhyEndpoint, sentence: "The endpoint fails since 2000-01-01T00:01:00Z: cannot connect: *; the next attempt is at *.",
			also: func(r *tandem.Reason) bool {
				return r.Since.Equal(clockAt(time.Minute)) && r.NextAttempt.After(clockAt(time.Minute))
			},
		},
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
			code: tandem.WhyUnread, sentence: "It is not read yet: 2 stored events of its partition come before it.", facts: facts{Unread: 2},
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
				id := b.publish("b")[0]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyQueued, sentence: "It was read, and waits for a slot or for the rate.",
		},
		{
			name: "not pulled",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(pulledSub("s"))
				id := b.publish("a")[0]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyQueued, sentence: "It is ready, and no client has pulled it.", facts: facts{Detail: "no client has pulled it"},
		},
		{
			name: "sending",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(attemptSeen) *http.Response { return after(5*time.Second, status(204)) })
				b.start(sub("s"))
				id := b.publish("a")[0]
				b.wait(time.Second)
				return b.place(id)
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
			facts: facts{Since: clockAt(time.Minute), Until: clockAt(time.Hour + 70*time.Second), By: "alice"},
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
				id := b.publish("a")[0]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyRetrying, sentence: "It is not delivered yet after 1 attempt, the last with status 404; the next attempt is at *.", attempts: 1,
			also: func(r *tandem.Reason) bool {
				return r.NextAttempt.After(clockAt(0)) && r.Delivery.History[0].Status == 404
			},
		},
		{
			name: "dead",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(404)
				s := hourly()
				s.Attempts = 2
				b.start(s)
				id := b.publish("a")[0]
				b.wait(3 * time.Hour)
				return b.place(id)
			},
			code: tandem.WhyDead, sentence: "It is a dead letter since *, after 2 attempts: its attempts are used up; the last: status 404.", attempts: 2,
			also: func(r *tandem.Reason) bool {
				return len(r.Delivery.History) == 2 && r.Delivery.DeadLetter != "" && !r.Since.IsZero()
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
		{
			name: "discarded",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(422)
				b.start(sub("s"))
				id := b.publish("a")[0]
				b.wait(time.Minute)
				_, err := b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{})
				b.must(err)
				return b.place(id)
			},
			code: tandem.WhyDiscarded, sentence: "It was discarded at 2000-01-01T00:01:00Z, by request; it was a dead letter: refused.",
			facts: facts{Since: clockAt(time.Minute)}, attempts: 1,
		},
		{
			name: "expired",
			run: func(b *bed, f *endpointFake) tandem.Position {
				_, err := b.log.UpdateTopic(b.ctx, tandem.Topic{Name: "orders", Partitions: 4, Retention: tandem.Duration(time.Hour)})
				b.must(err)
				b.start(sub("s"))
				b.must(b.m.Pause(b.ctx, "s"))
				at := b.place(b.publish("a")[0])
				b.wait(2 * time.Hour)
				b.eng.RunRetention()
				b.publish("a")
				b.must(b.m.Resume(b.ctx, "s"))
				b.wait(time.Second)
				return at
			},
			code: tandem.WhyExpired, sentence: "It expired at 2000-01-01T02:00:00Z: retention removed *.", facts: facts{Since: clockAt(2 * time.Hour)},
		},
		{
			name: "unknown",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.opts.LedgerBytes = -1
				b.start(sub("s"))
				id := b.publish("a")[0]
				b.wait(time.Second)
				return b.place(id)
			},
			code: tandem.WhyUnknown, sentence: "What became of it is not known: no ledger is kept.",
		},
		{
			name: "again after a seek",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				id := b.publish("a")[0]
				b.wait(time.Second)
				b.must(b.m.Pause(b.ctx, "s"))
				_, err := b.m.Seek(b.ctx, "s", tandem.Start{Earliest: true}, false)
				b.must(err)
				return b.place(id)
			},
			code:  tandem.WhyPaused,
			facts: facts{Since: clockAt(time.Second), By: "alice", Detail: "by request"},
			also: func(r *tandem.Reason) bool {
				return len(r.Earlier) == 1 && r.Earlier[0].State == tandem.DeliveryDelivered
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				b.opts.Principal = func(context.Context) string { return "alice" }
				at := tt.run(b, f)
				name := "s"
				if tt.code == tandem.WhyReplayEnd {
					name = "s.replay-1"
				}
				r := b.explain(at, name)
				if r.Code != tt.code || r.Position != at {
					t.Fatalf("%s at %s: %+v", r.Code, r.Position, r)
				}
				want := strings.ReplaceAll(tt.sentence, "@", at.String())
				if r.Behind != nil {
					want = strings.ReplaceAll(want, "#", r.Behind.ID+" ("+r.Behind.Position.String()+")")
				}
				if want != "" && !like(r.Sentence, want) {
					t.Errorf("%s\nwant\n%s", r.Sentence, want)
				}
				if w := &tt.facts; !w.Since.IsZero() && !r.Since.Equal(w.Since) || !r.Until.Equal(w.Until) || w.By != r.By || !slices.Equal(r.Topics, w.Topics) ||
					r.Unread != w.Unread || w.Detail != "" && r.Detail != w.Detail {
					t.Errorf("%+v\nwant\n%+v", r, w)
				}
				if tt.also != nil && !tt.also(&r) {
					t.Errorf("%+v\n%+v", r, r.Delivery)
				}
				if d := r.Delivery; d != nil && d.Attempts != tt.attempts {
					t.Errorf("%d attempts: %+v", d.Attempts, d)
				}
			})
		})
	}
}

// like reports whether a text is what a pattern says, in which * is any text.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	text, ok := strings.CutPrefix(text, parts[0])
	for i, p := range parts[1:] {
		if i == len(parts)-2 {
			return ok && strings.HasSuffix(text, p)
		}
		at := strings.Index(text, p)
		if at < 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return ok && text == ""
}

// TestExplainAll: without a name, every subscription that selects the topic is asked, and no other.
func TestExplainAll(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		other := sub("c")
		other.Topics = []string{"payments"}
		b.start()
		none := b.place(b.publish("a")[0])
		if r := b.explain(none, ""); r.Code != tandem.WhyNoSubscription || r.Sentence != "No subscription selects the topic orders." {
			t.Errorf("%+v", r)
		}
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{filtered(sub("b"), `{"type":"x"}`), sub("a"), other}))
		b.wait(time.Second)
		all, err := b.m.Explain(b.ctx, none, "")
		if err != nil || len(all) != 2 || all[0].Subscription != "a" || all[0].Code != tandem.WhyDelivered || all[1].Subscription != "b" || all[1].Code != tandem.WhyFilter {
			t.Errorf("%+v %v", all, err)
		}
	})
}

// TestExplainCalls: a chain that failed is told by its newest calls, who did what stands and who did not.
func TestExplainCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		first, second := requestSub("a"), requestSub("b")
		second.Service = "other"
		b.start(first, second)
		b.endpoint("other").answer(422)
		e := event("k")
		for _, flow := range []string{"before", "now"} { // the newest counts
			e.Meta.Flow = flow
			if _, err := b.opts.Chain.Publish(b.ctx, &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: e}}}); err == nil {
				t.Fatal("the chain did not fail")
			}
			b.wait(time.Minute)
		}
		got, err := b.m.ExplainCalls(b.ctx, e.Source, e.ID)
		if err != nil || len(got) != 2 {
			t.Fatalf("%+v %v", got, err)
		}
		for i, want := range []string{
			"The event was not stored: the call of a in its request chain ended at 2000-01-01T00:01:00Z with: what it did stands, and the event was not stored: *.",
			"The event was not stored: the call of b in its request chain ended at 2000-01-01T00:01:00Z with: refused; the event was not stored.",
		} {
			if r := &got[i]; r.Code != tandem.WhyCallFailed || !like(r.Sentence, want) || r.Delivery.State != tandem.DeliveryFailed {
				t.Errorf("%s\nwant\n%s", r.Sentence, want)
			}
		}
		if got, err := b.m.ExplainCalls(b.ctx, e.Source, "another"); err != nil || len(got) > 0 {
			t.Errorf("%+v %v", got, err)
		}
	})
}

// TestExplainDuplicate: where an engine stores repeats, one is given to nobody, and the event that it repeats is named.
func TestExplainDuplicate(t *testing.T) {
	eng := memlog.New(memlog.Options{Partitioned: true, LateDedup: true})
	b := &bed{t: t, eng: eng, real: true}
	b.furnish(eng, slog.New(slog.DiscardHandler))
	t.Cleanup(b.close)
	e := event("k")
	var at []tandem.Position
	for _, data := range []string{`1`, `1`, `2`} { // before anybody reads: what was read is known when it is published again
		e.Data = []byte(data)
		got, err := b.log.Append(b.ctx, "orders", []tandem.Event{e})
		b.must(err)
		at = append(at, tandem.Position{Topic: "orders", Partition: got[0].Partition, Offset: got[0].Offset})
	}
	b.start(sub("s"))
	for i, want := range []string{"", "It is given to nobody: it repeats the event at " + at[0].String() + ".",
		"It is given to nobody: its id and source were used before, for other data, by the event at " + at[0].String() + "."} {
		r := b.explain(at[i], "s")
		switch {
		case i == 0 && r.Code == tandem.WhyDuplicate:
			t.Errorf("%+v", r)
		case i > 0 && (r.Code != tandem.WhyDuplicate || r.Sentence != want || *r.First != at[0] || r.Conflict != (i == 2)):
			t.Errorf("%+v", r)
		}
	}
}
