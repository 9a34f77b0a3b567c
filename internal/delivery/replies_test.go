package delivery

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// stored returns all events of a topic.
func (b *bed) stored(topic string) (all []tandem.Record) {
	b.t.Helper()
	info, err := b.log.Topic(b.ctx, topic)
	if err != nil {
		b.t.Fatal(err)
	}
	for p := range info.Partitions {
		if all, err = b.log.ReadPartition(b.ctx, info.ID, p, 0, 1<<20, all); err != nil {
			b.t.Fatal(err)
		}
	}
	return all
}

const replyBody = `{"specversion":"1.0","id":"mine","source":"/svc","type":"payment.processed","data":{"a": 1}}`

func TestReplies(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.topic("payments", 2)
		f.set(func(a attemptSeen) *http.Response { return reply(tandem.MediaEvent, replyBody) })
		s := sub("s")
		s.Replies = "payments"
		b.start(s)
		cause := event("k")
		cause.Meta = tandem.Meta{Flow: "f1", Operation: "o1", Hops: 2, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
		if _, err := b.log.Append(b.ctx, "orders", []tandem.Event{cause}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.settled("s")
		all := b.stored("payments")
		if len(all) != 1 {
			t.Fatalf("%d replies", len(all))
		}
		r := all[0]
		id, _ := r.Extension(tandem.AttrReplyID)
		if r.Source != "/svc" || r.Type != "payment.processed" || id != "mine" || string(r.Data) != `{"a": 1}` ||
			r.ID != tandem.DerivedID("orders", "/test", cause.ID, "s", "0", "0") {
			t.Errorf("reply %+v", r.Event)
		}
		m := r.Meta
		if m.Flow != "f1" || m.Operation != "o1" || m.Hops != 3 || m.Producer != "s" || m.TraceParent != cause.Meta.TraceParent ||
			len(m.Causes) != 1 || m.Causes[0] != tandem.Ref("orders", "/test", cause.ID) || r.Ordering() != "k" {
			t.Errorf("meta %+v", m)
		}
	})
}

func TestReplyForms(t *testing.T) {
	for _, tt := range []struct {
		name  string
		resp  func() *http.Response
		count int
		fails bool
	}{
		{"batch", func() *http.Response {
			return reply(tandem.MediaBatch, "["+replyBody+","+strings.Replace(replyBody, "mine", "other", 1)+"]")
		}, 2, false},
		{"empty batch", func() *http.Response { return reply(tandem.MediaBatch, "[]") }, 0, false},
		{"binary", func() *http.Response {
			r := reply("text/plain", "hello")
			r.Header.Set("Ce-Specversion", "1.0")
			r.Header.Set("Ce-Id", "1")
			r.Header.Set("Ce-Source", "/svc")
			r.Header.Set("Ce-Type", "x")
			return r
		}, 1, false},
		{"plain JSON", func() *http.Response { return reply("application/json", `{"ok":true}`) }, 0, false},
		{"no body", func() *http.Response { return reply(tandem.MediaEvent, "") }, 0, false},
		{"not JSON", func() *http.Response { return reply(tandem.MediaEvent, "{") }, 0, true},
		{"no type", func() *http.Response { return reply(tandem.MediaEvent, `{"specversion":"1.0","id":"1","source":"/s"}`) }, 0, true},
		{"another format", func() *http.Response { return reply("application/cloudevents+avro", "x") }, 0, true},
		{"too long", func() *http.Response {
			return reply(tandem.MediaEvent, strings.Replace(replyBody, `"a": 1`, `"a":"`+strings.Repeat("x", 1<<20)+`"`, 1))
		}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				b.topic("out", 1)
				f.set(func(a attemptSeen) *http.Response { return tt.resp() })
				s := sub("s")
				s.Replies, s.Attempts = "out", 2
				b.start(s)
				b.publish("k")
				b.wait(time.Minute)
				if n := len(b.stored("out")); n != tt.count {
					t.Errorf("%d replies, want %d", n, tt.count)
				}
				st := b.status("s")
				if dead := st.Dead == 1; dead != tt.fails || st.Delivered == 1 == tt.fails {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

// A reply that the log refuses is a failed attempt of that delivery, and of none that is stored in the same group.
func TestRefusedReplyFailsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.topic("out", 1)
		long := `{"specversion":"1.0","id":"1","source":"/s","type":"x","data":"` + strings.Repeat("s", 100_000) + `"}`
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return reply(tandem.MediaEvent, long)
			}
			return reply(tandem.MediaEvent, replyBody)
		})
		s := sub("s")
		s.Replies, s.Attempts = "out", 2
		b.start(s)
		b.publish("a", "bad", "b", "c", "a", "bad", "d")
		b.wait(time.Minute)
		b.settled("s")
		if st := b.status("s"); st.Dead != 2 || st.Delivered != 5 {
			t.Errorf("status %+v", st)
		}
		if n := len(b.stored("out")); n != 5 {
			t.Errorf("%d replies, want 5", n)
		}
		inKeyOrder(t, f)
		last := map[string]uint64{}
		for _, a := range f.all() {
			if a.position.Offset < last[a.key] {
				t.Errorf("%s was sent again after a later event of its key: the key must wait until its reply is stored", a.id)
			}
			last[a.key] = a.position.Offset
		}
	})
}

// The topic for replies may be deleted while they are under way.
func TestReplyTopicGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return reply(tandem.MediaEvent, replyBody) })
		s := sub("s")
		s.Replies = "later"
		b.start(s)
		b.publish("a", "b", "c")
		b.wait(time.Second)
		if st := b.status("s"); st.Delivered != 0 || st.Failed == 0 {
			t.Fatalf("status %+v", st)
		}
		b.topic("later", 1)
		b.wait(time.Hour)
		b.settled("s")
		if n := len(b.stored("later")); n != 3 {
			t.Fatalf("%d replies", n)
		}
	})
}

// Replies take effect once although crashes come between answer and commit.
func TestRepliesOnceOverCrashes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.topic("out", 1)
		f.set(func(a attemptSeen) *http.Response {
			return after(2*time.Millisecond, reply(tandem.MediaEvent, replyBody))
		})
		s := sub("s")
		s.Replies, s.Concurrency = "out", 3
		b.start(s)
		b.publish(keys(10, 400)...)
		for range 20 {
			time.Sleep(11 * time.Millisecond)
			b.crash()
			b.start()
		}
		b.wait(time.Minute)
		b.settled("s")
		ids := map[string]bool{}
		for _, r := range b.stored("out") {
			if ids[r.ID] {
				t.Errorf("reply %s is stored twice", r.ID)
			}
			ids[r.ID] = true
		}
		if len(ids) != 400 {
			t.Fatalf("%d replies, want 400", len(ids))
		}
	})
}

// A subscription that replies into its own topic is ended by the hop limit.
func TestHops(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return reply(tandem.MediaEvent, replyBody) })
		b.start(sub("s"))
		b.publish("k")
		b.wait(time.Minute)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 1 || letters[0].Reason != "loop" || letters[0].Event.Meta.Hops != 33 || letters[0].Attempts != 0 {
			t.Fatalf("%+v %v", letters, err)
		}
		if n := len(f.all()); n != 33 {
			t.Errorf("%d deliveries, want 33", n)
		}
	})
}
