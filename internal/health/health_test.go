package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
)

// town is the hosts there are, in virtual time: what each answers, and when it was asked. Zero answers nothing until it is given up; negative
// takes no connection.
type town struct {
	mu     sync.Mutex
	status map[string]int
	asked  map[string][]time.Time
}

func newTown() *town { return &town{status: map[string]int{}, asked: map[string][]time.Time{}} }

func (c *town) set(host string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status[host] = status
}

func (c *town) of(host string) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[host]
}

func (c *town) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	status := c.status[req.URL.Host]
	c.asked[req.URL.Host] = append(c.asked[req.URL.Host], time.Now())
	c.mu.Unlock()
	switch {
	case status == 0:
		<-req.Context().Done()
		return nil, req.Context().Err()
	case status < 0:
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("said by " + req.URL.String() + " " + req.Host)), Request: req}, nil
}

// world is Services in a town.
type world struct {
	*Services
	town    *town
	log     *bytes.Buffer
	changes []string
}

func newWorld(t *testing.T, services ...tandem.Service) *world {
	w := &world{town: newTown(), log: new(bytes.Buffer)}
	var mu sync.Mutex
	w.Services = New(Options{Transport: w.town, Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(w.log, nil)), Changed: func(service string, healthy bool) {
		mu.Lock()
		defer mu.Unlock()
		w.changes = append(w.changes, fmt.Sprint(service, healthy))
	}})
	for _, s := range services {
		for _, u := range s.BaseURLs() {
			w.town.set(strings.TrimPrefix(u, "http://"), 200)
		}
	}
	w.Apply(services)
	t.Cleanup(func() { w.Stop(context.Background()) })
	return w
}

// after lets time go by.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func (w *world) want(t *testing.T, name string, ok bool, reason string) {
	t.Helper()
	if got, why := w.Healthy(name); got != ok || why != reason {
		t.Errorf("%s is healthy: %v %q, want %v %q", name, got, why, ok, reason)
	}
}

func payments(urls ...string) tandem.Service {
	s := tandem.Service{Name: "payments", URL: "http://a", Health: &tandem.Health{Path: "/healthz", Interval: tandem.Duration(10 * time.Second), Healthy: 2}}
	s.Others = urls
	return s
}

// TestChecks: so many checks in a row make a service unhealthy and healthy again, each change is told once, and nothing else is.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, payments(), tandem.Service{Name: "unchecked", URL: "http://u"})
		w.want(t, "payments", true, "")
		w.want(t, "unchecked", true, "")
		w.want(t, "nobody", true, "")
		after(time.Minute)
		for failure, reason := range map[int]string{503: "status 503", 404: "status 404", 0: "no answer within 1s", -1: "dial: connection refused"} {
			w.town.set("a", failure)
			n := len(w.town.of("a"))
			for len(w.town.of("a")) < n+2 {
				after(time.Second)
			}
			after(1500 * time.Millisecond)
			w.want(t, "payments", true, "")
			for len(w.town.of("a")) < n+3 {
				after(time.Second)
			}
			after(1500 * time.Millisecond)
			w.want(t, "payments", false, "service payments is unhealthy: GET /healthz: "+reason)
			after(time.Minute)
			w.town.set("a", 302)
			n = len(w.town.of("a"))
			for len(w.town.of("a")) < n+1 {
				after(time.Second)
			}
			if ok, _ := w.Healthy("payments"); ok {
				t.Error("one check makes it healthy where two are asked for")
			}
			after(12 * time.Second)
			w.want(t, "payments", true, "")
			after(time.Minute)
		}
		if len(w.changes) != 8 || strings.Count(w.log.String(), "\n") != 8 || w.changes[0] != "paymentsfalse" || w.changes[1] != "paymentstrue" {
			t.Errorf("changes %v, log\n%s", w.changes, w.log)
		}
		if n := len(w.town.of("u")); n != 0 {
			t.Errorf("%d checks of a service that has none", n)
		}
	})
}

// TestChecksAreSpread: the first checks of many come within an interval and not at once, the later ones at about the interval.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var urls []string
		for i := range 99 {
			urls = append(urls, fmt.Sprint("http://h", i))
		}
		w := newWorld(t, payments(urls...))
		began := time.Now()
		after(10 * time.Second)
		early := 0
		for _, u := range w.decl("payments").BaseURLs() {
			at := w.town.of(strings.TrimPrefix(u, "http://"))
			if len(at) == 0 || at[0].Sub(began) > 10*time.Second {
				t.Fatalf("%s: first checked at %v", u, at)
			}
			if at[0].Sub(began) < 5*time.Second {
				early++
			}
		}
		if early < 20 || early > 80 {
			t.Errorf("%d of 100 in the first half of the interval", early)
		}
		after(5 * time.Minute)
		for i, at := 1, w.town.of("a"); i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < 9*time.Second || d > 11*time.Second {
				t.Errorf("the checks %d and %d are %v apart", i, i+1, d)
			}
		}
		n := len(w.town.of("a"))
		w.Stop(t.Context())
		after(time.Minute)
		if len(w.town.of("a")) != n {
			t.Error("it is checked after Stop")
		}
	})
}

// decl is a service as it was declared.
func (s *Services) decl(name string) *tandem.Service { return &s.byName[name].decl }

// TestRequests: what becomes of requests makes a base URL unhealthy, and only a check makes it healthy again.
func TestRequests(t *testing.T) {
	type call struct {
		status int // of the town
		cause  error
		body   io.Reader
	}
	left, short, slow := context.Canceled, context.DeadlineExceeded, tandem.Errorf(tandem.CodeTimeout, "slow")
	for name, c := range map[string]struct {
		calls []call
		want  string // in the reason; empty: healthy
	}{
		"503":              {[]call{{status: 503}, {status: 502}, {status: 504}}, "3 requests in a row failed, the last one with: status 504"},
		"too few":          {[]call{{status: 503}, {status: 503}}, ""},
		"a success":        {[]call{{status: 503}, {status: 503}, {status: 404}, {status: 503}, {status: 503}}, ""},
		"other statuses":   {[]call{{status: 500}, {status: 500}, {status: 500}, {status: 429}}, ""},
		"no connection":    {[]call{{status: -1}, {status: -1}, {status: -1}}, "connection refused"},
		"no answer":        {[]call{{cause: slow}, {cause: slow}, {cause: slow}}, "no answer in time"},
		"short patience":   {[]call{{cause: short}, {cause: short}, {cause: short}, {cause: short}}, ""},
		"clients that go":  {[]call{{cause: left}, {cause: left}, {cause: left}, {cause: errors.New("stopping")}}, ""},
		"bodies of others": {[]call{{status: 1, body: errorReader{}}, {status: 1, body: errorReader{}}, {status: 1, body: errorReader{}}}, ""},
		"broken answers":   {[]call{{status: 1}, {status: 1}, {status: 1}}, "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				decl := payments()
				w := newWorld(t)
				w.town.set("a", 200)
				w.Apply([]tandem.Service{decl})
				calls := newTown()
				rt := w.Through(decl, breaking{calls})
				for _, c := range c.calls {
					calls.set("a", c.status)
					ctx, cancel := context.WithCancelCause(t.Context())
					if c.cause != nil {
						time.AfterFunc(time.Millisecond, func() { cancel(c.cause) })
					}
					req, _ := http.NewRequestWithContext(ctx, "POST", "http://a/x", c.body)
					if res, err := rt.RoundTrip(req); err == nil {
						res.Body.Close()
					}
					cancel(nil)
				}
				ok, reason := w.Healthy("payments")
				if ok != (c.want == "") || !strings.Contains(reason, c.want) {
					t.Errorf("healthy %v %q, want %q", ok, reason, c.want)
				}
				if ok {
					return
				}
				calls.set("a", 200)
				req, _ := http.NewRequest("GET", "http://a/x", nil)
				if res, err := rt.RoundTrip(req); err != nil || res.StatusCode != 200 {
					t.Errorf("it is not tried though there is no other: %v", err)
				}
				if ok, _ := w.Healthy("payments"); ok {
					t.Error("a request makes it healthy")
				}
				after(25 * time.Second)
				w.want(t, "payments", true, "")
			})
		})
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("the client broke off") }

// breaking breaks off where the town says 1.
type breaking struct{ *town }

func (b breaking) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.town.RoundTrip(req)
	if err == nil && res.StatusCode == 1 {
		return nil, errors.New("the exchange broke off")
	}
	return res, err
}

// TestThroughSpreads: requests go to base URLs that are healthy in turn, and to all when none is.
func TestThroughSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decl := payments("http://b", "https://c:9")
		w := newWorld(t, decl)
		w.town.set("c:9", 200)
		calls := newTown()
		for _, host := range []string{"a", "b", "c:9"} {
			calls.set(host, 200)
		}
		rt := w.Through(decl, calls)
		spread := func(want string) {
			t.Helper()
			before := map[string]int{}
			for _, host := range []string{"a", "b", "c:9"} {
				before[host] = len(calls.of(host))
			}
			for range 6 {
				req, _ := http.NewRequest("GET", "http://a/base/x?y=1", nil)
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				said, _ := io.ReadAll(res.Body)
				host := res.Request.URL.Host
				scheme := map[bool]string{true: "https", false: "http"}[host == "c:9"]
				if string(said) != "said by "+scheme+"://"+host+"/base/x?y=1 "+host || req.URL.Host != "a" || req.Host != "a" {
					t.Errorf("%s, and the request is for %s now", said, req.URL)
				}
			}
			got := fmt.Sprint(len(calls.of("a"))-before["a"], len(calls.of("b"))-before["b"], len(calls.of("c:9"))-before["c:9"])
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		spread("2 2 2")
		w.town.set("b", 503)
		after(time.Minute)
		if s := w.Status(); len(s) != 3 || s[1].URL != "http://b" || s[1].Healthy || s[1].Reason != "GET /healthz: status 503" || !s[0].Healthy || s[0].Reason != "" {
			t.Errorf("status %+v", s)
		}
		w.want(t, "payments", true, "")
		spread("3 0 3")
		w.town.set("a", 503)
		w.town.set("c:9", 503)
		after(time.Minute)
		w.want(t, "payments", false, "service payments is unhealthy: GET /healthz: status 503")
		spread("2 2 2")
		if got := fmt.Sprint(w.changes); got != "[paymentsfalse]" {
			t.Errorf("changes of the service as a whole: %s", got)
		}
		// Without checks requests are spread all the same; with one base URL there is nothing to do.
		decl.Health = nil
		rt = New(Options{}).Through(decl, calls)
		spread("2 2 2")
		if plain := w.Through(tandem.Service{URL: "http://a"}, calls); plain != http.RoundTripper(calls) {
			t.Errorf("a service without anything goes through %T", plain)
		}
	})
}

// TestReload: what is known stays where base URLs and checks do, whatever becomes of the timeout and of other services.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decl := payments()
		w := newWorld(t, decl)
		w.town.set("a", 503)
		after(time.Minute)
		reason := "service payments is unhealthy: GET /healthz: status 503"
		w.want(t, "payments", false, reason)
		same := payments()
		same.Timeout = tandem.Duration(time.Second)
		w.Apply([]tandem.Service{{Name: "other", URL: "http://o"}, same})
		w.want(t, "payments", false, reason)
		checks := len(w.town.of("a"))
		after(time.Minute)
		if n := len(w.town.of("a")) - checks; n < 5 || n > 7 {
			t.Errorf("%d checks in a minute", n)
		}
		other := payments()
		other.Health.Path = "/other"
		w.Apply([]tandem.Service{other})
		w.want(t, "payments", true, "")
		after(time.Minute)
		w.want(t, "payments", false, strings.Replace(reason, "/healthz", "/other", 1))
		w.Apply(nil)
		w.want(t, "payments", true, "")
		w.Apply([]tandem.Service{payments()}) // it begins as healthy, and ends as that
		w.Apply(nil)
		if got := fmt.Sprint(w.changes); got != "[paymentsfalse paymentstrue paymentsfalse paymentstrue]" {
			t.Errorf("changes %s", got)
		}
		n := len(w.town.of("a"))
		after(time.Minute)
		if len(w.town.of("a")) != n {
			t.Error("a service that is gone is checked")
		}
	})
}
