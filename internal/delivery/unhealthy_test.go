package delivery

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const sick = "service svc is unhealthy: GET /healthz: status 503"

// unwell lets the bed's service be unhealthy until the answer is set.
func (b *bed) unwell() *atomic.Bool {
	healthy := new(atomic.Bool)
	b.opts.Healthy = func(service string) (bool, string) {
		if service != "svc" || healthy.Load() {
			return true, ""
		}
		return false, sick
	}
	return healthy
}

// TestUnhealthyService: an unhealthy service is an endpoint that fails, of which nothing is counted. When it has recovered, all goes on at once.
func TestUnhealthyService(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		healthy := b.unwell()
		f.set(func(attemptSeen) *http.Response { return nil })
		other := sub("other")
		other.Service = "well"
		b.start(sub("s"), other)
		want := b.publish(keys(20, 300)...)
		b.wait(2 * time.Hour)
		st := b.status("s")
		if st.State != "failing" || st.Dead+st.ParkedKeys+st.Waiting+int(st.Delivered) != 0 || st.Lag != 300 {
			t.Fatalf("status %+v", st)
		}
		for _, a := range f.all() {
			if a.attempt != 1 {
				t.Fatalf("attempt %d of %s", a.attempt, a.id)
			}
		}
		if n := len(f.all()); n == 0 || n > 4000 {
			t.Errorf("%d probes in two hours", n)
		}
		if st := b.status("other"); st.State != "running" || st.Delivered != 300 {
			t.Errorf("who has another service: %+v", st)
		}
		f.set(nil)
		healthy.Store(true)
		b.m.Recovered("well") // is nothing to s
		b.idle()
		if st := b.status("s"); st.Delivered != 0 {
			t.Errorf("it went on before its time: %+v", st)
		}
		b.m.Recovered("svc")
		b.wait(time.Second)
		b.settled("s")
		if st := b.status("s"); st.State != "running" || st.Delivered != 300 || len(f.ids()) != len(want) {
			t.Errorf("%+v", st)
		}
		inKeyOrder(t, f)
	})
}

// TestWrongCheck: where only the check is wrong, deliveries go on as probes: slowly, in order, past an event that is at fault itself, and without
// the state going to and fro.
func TestWrongCheck(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		healthy := b.unwell()
		poisoned := b.publish("bad")
		f.set(func(a attemptSeen) *http.Response {
			if a.id == poisoned[0] {
				return status(500)
			}
			return status(204)
		})
		b.start(sub("s"))
		b.publish(keys(3, 30)...)
		b.wait(time.Second)
		if n := len(f.all()); n > 3 || b.status("s").Reason == "" {
			t.Errorf("%d requests in the first second", n)
		}
		b.wait(time.Hour)
		st := b.status("s")
		if st.State != "failing" || st.Delivered != 30 || st.Lag != 1 || st.Dead != 0 {
			t.Errorf("status %+v", st)
		}
		inKeyOrder(t, f)
		b.publish(keys(3, 30)...)
		b.idle()
		healthy.Store(true)
		b.m.Recovered("svc")
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "running" || st.Delivered != 60 {
			t.Errorf("status %+v", st)
		}
		inKeyOrder(t, f)
	})
}

// TestRecoveredBehindTheLast: a service that answered the last probe there was is no failing endpoint when it has recovered.
func TestRecoveredBehindTheLast(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		healthy := b.unwell()
		f.set(nil)
		b.start(sub("s"))
		b.publish("a")
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "failing" || st.Delivered != 1 || st.Lag != 0 {
			t.Fatalf("status %+v", st)
		}
		healthy.Store(true)
		b.m.Recovered("svc")
		if st := b.status("s"); st.State != "running" || st.Reason != "" {
			t.Errorf("status %+v", st)
		}
	})
}

// TestThrough: requests to a service go through what the options say, requests to a URL do not.
func TestThrough(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		through := new(atomic.Int32)
		b.opts.Through = func(s tandem.Service, next http.RoundTripper) http.RoundTripper {
			if s.Name != "svc" || s.URL != "http://svc" {
				t.Errorf("the service is %+v", s)
			}
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				through.Add(1)
				return next.RoundTrip(req)
			})
		}
		direct := sub("direct")
		direct.Service, direct.Path, direct.URL = "", "", "http://elsewhere/events"
		b.start(sub("s"), direct)
		b.publish("a", "b")
		b.wait(time.Second)
		if n := through.Load(); n != 2 || len(f.all()) != 2 || b.status("direct").Delivered != 2 {
			t.Errorf("%d requests went through, %d to the service", n, len(f.all()))
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestUnhealthyRequestLink: a link to an unhealthy service fails at once, without a call, until the service has recovered.
func TestUnhealthyRequestLink(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		healthy := b.unwell()
		b.start(requestSub("s"))
		if _, _, err := b.ask("a"); outcomeOf(err) != tandem.LinkUnavailable || len(f.all()) != 0 {
			t.Errorf("%v, %d calls", err, len(f.all()))
		}
		healthy.Store(true)
		if _, _, err := b.ask("a"); err != nil || len(f.all()) != 1 {
			t.Errorf("%v, %d calls", err, len(f.all()))
		}
	})
}
