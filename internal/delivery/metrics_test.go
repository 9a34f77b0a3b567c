package delivery

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tandem-hybrid/tandem"
)

// gathered returns the values of a metric by subscription and the label beside it.
func gathered(t *testing.T, r *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "tandem_subscription_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "subscription" {
					key = l.GetValue() + key
				} else {
					key += " " + l.GetValue()
				}
			}
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				out[key] = float64(m.GetHistogram().GetSampleCount())
				out[key+" sum"] = m.GetHistogram().GetSampleSum()
			case dto.MetricType_COUNTER:
				out[key] = m.GetCounter().GetValue()
			default:
				out[key] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// The metrics say what the status says, and how attempts ended.
func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		reg := prometheus.NewRegistry()
		b.opts.Metrics = reg
		f.set(func(a attemptSeen) *http.Response {
			switch a.key {
			case "bad":
				return after(100*time.Millisecond, status(422))
			case "slow":
				return after(100*time.Millisecond, status(404))
			}
			return after(100*time.Millisecond, status(204))
		})
		b.start(sub("s"))
		b.publish("a", "bad", "slow", "slow", "b")
		b.wait(time.Second)
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.publish("c", "d")
		b.wait(time.Minute)
		st := b.status("s")
		for name, want := range map[string]float64{
			"lag_events": float64(st.Lag), "lag_seconds": st.LagSeconds, "in_flight": 0, "retrying": float64(st.Retrying), "parked_keys": 1,
			"waiting_events": 1, "dead_letters": 1, "redriving": 0, "delivered_total": 2, "failed_total": float64(st.Failed),
		} {
			if got := gathered(t, reg, name); got["s"] != want || len(got) != 1 {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		if got := gathered(t, reg, "state"); len(got) != 1 || got["s paused"] != 1 {
			t.Errorf("state: %v", got)
		}
		attempts := gathered(t, reg, "attempts_total")
		if attempts["s delivered"] != 2 || attempts["s refused"] != 1 || attempts["s failed"] < 1 {
			t.Errorf("attempts: %v", attempts)
		}
		n := 3 + attempts["s failed"]
		if got := gathered(t, reg, "attempt_seconds"); got["s"] != n || got["s sum"] < n*0.0999 || got["s sum"] > n*0.1001 {
			t.Errorf("seconds: %v, of %v attempts", got, n)
		}
		b.stop()
		if got := gathered(t, reg, "lag_events"); len(got) != 0 {
			t.Errorf("after the stop: %v", got)
		}
		b.start()
	})
}

// However many subscriptions there are, the series are bounded: those beyond are summed.
func TestMetricsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		reg := prometheus.NewRegistry()
		b.opts.Metrics = reg
		subs := make([]tandem.Subscription, maxLabels+5)
		for i := range subs {
			subs[i] = sub(fmt.Sprintf("s%04d", i))
		}
		b.start(subs...)
		b.publish("a", "b")
		b.wait(time.Second)
		got := gathered(t, reg, "delivered_total")
		if len(got) != maxLabels+1 || got["s0000"] != 2 || got[otherLabel] != 10 {
			t.Fatalf("%d series; %v of the others", len(got), got[otherLabel])
		}
		if got := gathered(t, reg, "state"); got[otherLabel+" running"] != 5 {
			t.Fatalf("%v of the others run", got[otherLabel+" running"])
		}
	})
}
