package delivery

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
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

// placed publishes an event and returns where it is, a while later.
func (b *bed) placed(key string, later time.Duration) tandem.Position {
	b.t.Helper()
	id := b.publish(key)[0]
	b.wait(later)
	return b.place(id)
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

// explainCase is a cause, with the sentence and the facts. In the sentence, @ is the position that is asked about, # the event that it waits behind, and
// * any text; time begins at midnight.
type explainCase struct {
	name     string
	run      func(b *bed, f *endpointFake) tandem.Position
	code     string
	sentence string
	facts    tandem.Reason // Until, By, Topics and Unread; Since and Detail where they are given
	attempts int
	also     func(r *tandem.Reason) bool
}

func explainCases(t *testing.T, cases []explainCase) {
	for _, tt := range cases {
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

// TestExplain has the outcomes of an event, and where there is none to tell.
func TestExplain(t *testing.T) {
	explainCases(t, []explainCase{
		{
			name: "delivered",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.start(sub("s"))
				return b.placed("a", time.Minute)
			},
			code: tandem.WhyDelivered, sentence: "It was delivered at 2000-01-01T00:00:00Z, at the first attempt.",
			facts: tandem.Reason{Since: clockAt(0)}, attempts: 1,
		},
		{
			name: "delivered late",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.set(func(a attemptSeen) *http.Response { return status(map[bool]int{true: 404, false: 204}[a.attempt < 3]) })
				b.start(hourly())
				return b.placed("a", 3*time.Hour)
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
			name: "dead",
			run: func(b *bed, f *endpointFake) tandem.Position {
				f.answer(404)
				s := hourly()
				s.Attempts = 2
				b.start(s)
				return b.placed("a", 3*time.Hour)
			},
			code: tandem.WhyDead, sentence: "It is a dead letter since *, after 2 attempts: its attempts are used up; the last: status 404.", attempts: 2,
			also: func(r *tandem.Reason) bool {
				return len(r.Delivery.History) == 2 && r.Delivery.DeadLetter != "" && !r.Since.IsZero()
			},
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
			facts: tandem.Reason{Since: clockAt(time.Minute)}, attempts: 1,
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
			code: tandem.WhyExpired, sentence: "It expired at 2000-01-01T02:00:00Z: retention removed *.", facts: tandem.Reason{Since: clockAt(2 * time.Hour)},
		},
		{
			name: "unknown",
			run: func(b *bed, f *endpointFake) tandem.Position {
				b.opts.LedgerBytes = -1
				b.start(sub("s"))
				return b.placed("a", time.Second)
			},
			code: tandem.WhyUnknown, sentence: "What became of it is not known: no ledger is kept.",
		},
	})
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
