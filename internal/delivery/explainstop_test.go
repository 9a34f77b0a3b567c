package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestExplainStop has why nothing of a subscription is delivered.
func TestExplainStop(t *testing.T) {
	explainCases(t, []explainCase{
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
			facts: tandem.Reason{Since: clockAt(time.Minute), By: "alice", Detail: "by request"},
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
			facts: tandem.Reason{Since: clockAt(time.Second), By: "alice", Detail: "by request"},
			also: func(r *tandem.Reason) bool {
				return len(r.Earlier) == 1 && r.Earlier[0].State == tandem.DeliveryDelivered
			},
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
			facts: tandem.Reason{Since: clockAt(time.Minute), Detail: "the configuration file does not name it any more"},
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
			facts:    tandem.Reason{Detail: "no further events are read: the limit of parked keys is reached"},
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
	})
}
