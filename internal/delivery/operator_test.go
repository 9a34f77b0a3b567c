package delivery

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// news returns what operators were told, in short, of subscription s.
func (b *bed) news() string {
	b.t.Helper()
	if _, err := b.log.Topic(b.ctx, operatorTopic); err != nil {
		return ""
	}
	var out []string
	for _, rec := range b.stored(operatorTopic) {
		var data struct{ Subscription, State, Reason string }
		if err := json.Unmarshal(rec.Data, &data); err != nil || data.Subscription != "s" || rec.Source != "/tandem/subscriptions/s" || rec.Subject != "s" {
			b.t.Fatalf("%+v %s %v", rec.Event, rec.Data, err)
		}
		if data.Reason == "" && data.State != "running" {
			b.t.Errorf("%s without a reason", rec.Type)
		}
		out = append(out, strings.TrimPrefix(rec.Type, "tandem.subscription."))
	}
	return strings.Join(out, " ")
}

func TestOperatorsAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.ParkedKeys = 2
		b.start(sub("s"))
		b.publish("k")
		b.wait(time.Minute)
		if got := b.news(); got != "" {
			t.Fatalf("told %s", got)
		}
		f.set(func(attemptSeen) *http.Response { return nil })
		b.publish("k")
		b.wait(time.Minute)
		f.set(nil)
		b.wait(time.Minute)
		want := "failing recovered"
		check := func(more string) {
			t.Helper()
			if want = strings.TrimSpace(want + " " + more); b.news() != want {
				t.Fatalf("told %s, want %s", b.news(), want)
			}
		}
		check("")
		f.set(func(a attemptSeen) *http.Response { return status(404) })
		b.publish("p", "q", "r")
		b.wait(time.Minute)
		check("capped")
		f.set(nil)
		b.wait(time.Hour)
		b.settled("s")
		check("recovered")
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		check("paused")
		b.stop()
		b.start()
		b.wait(time.Minute)
		check("") // nothing is new
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		f.set(func(attemptSeen) *http.Response { return status(410) })
		b.wait(time.Minute)
		check("recovered")
		b.publish("k")
		b.wait(time.Second)
		check("disabled")
		info, err := b.log.Topic(b.ctx, operatorTopic)
		if err != nil || info.Partitions != 1 || time.Duration(info.Retention) != operatorRetention || info.RetentionBytes != operatorBytes {
			t.Errorf("%+v %v", info, err)
		}
	})
}

// An endpoint that comes and goes does not fill the topic, and what is told last is how it is.
func TestOperatorsAreNotFlooded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		var down atomic.Bool
		f.set(func(attemptSeen) *http.Response {
			if down.Load() {
				return nil
			}
			return status(204)
		})
		for range 300 {
			down.Store(!down.Load())
			b.publish("k")
			b.wait(2 * time.Second)
		}
		if n := len(strings.Fields(b.news())); n > 61 || n < 20 {
			t.Fatalf("told %d times in ten minutes", n)
		}
		down.Store(false)
		b.wait(time.Hour)
		b.settled("s")
		if got := b.news(); !strings.HasSuffix(got, "recovered") {
			t.Fatalf("told %s", got)
		}
	})
}

// noEvents is an engine below its free-space mark: state can be stored, and no events.
type noEvents struct {
	*memlog.Engine
	full    atomic.Bool
	refused atomic.Int32
}

func (e *noEvents) Append(ctx context.Context, b *driver.Batch) error {
	if e.full.Load() && len(b.Records) > 0 {
		e.refused.Add(1)
		return tandem.Errorf(tandem.CodeUnavailable, "no space")
	}
	return e.Engine.Append(ctx, b)
}

// What cannot be told holds no outcome back, and is told when it can be.
func TestOperatorsHoldNothingBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		if err := b.log.Close(); err != nil {
			t.Fatal(err)
		}
		b.eng = memlog.New(memlog.Options{})
		eng := &noEvents{Engine: b.eng}
		var err error
		if b.log, err = eventlog.Open(b.ctx, eng, eventlog.Options{Logger: b.opts.Logger}); err != nil {
			t.Fatal(err)
		}
		b.topic("orders", 1)
		b.start(sub("s"))
		b.publish("k")
		f.set(func(a attemptSeen) *http.Response {
			if a.attempt == 1 {
				return status(404)
			}
			return status(410)
		})
		b.publish("k")
		eng.full.Store(true)
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "disabled" || b.news() != "" {
			t.Fatalf("status %+v, told %s", st, b.news())
		}
		if n := eng.refused.Load(); n == 0 || n > 10 {
			t.Fatalf("tried %d times in a minute", n)
		}
		eng.full.Store(false)
		b.wait(time.Minute)
		if got := b.news(); got != "disabled" {
			t.Fatalf("told %q", got)
		}
	})
}
