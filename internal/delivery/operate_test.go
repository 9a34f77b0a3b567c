package delivery

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func filter(t *testing.T, json string) tandem.Filter {
	t.Helper()
	f, err := tandem.ParseFilter([]byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (b *bed) publishType(typ string, n int) (ids []string) {
	b.t.Helper()
	for range n {
		e := event("k")
		e.Type = typ
		if _, err := b.log.Append(b.ctx, "orders", []tandem.Event{e}); err != nil {
			b.t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func TestFilterHoldsFromTheNextEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Filter = filter(t, `{"type":"one"}`)
		b.start(s)
		if err := b.m.Apply(b.ctx, []tandem.Subscription{s}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		f.set(func(a attemptSeen) *http.Response { return nil }) // it falls behind
		want := b.publishType("one", 1500)
		b.publishType("two", 5)
		b.wait(time.Second)
		s.Filter = filter(t, `{"type":"two"}`)
		if err := b.m.Apply(b.ctx, []tandem.Subscription{s}); err != nil {
			t.Fatal(err)
		}
		want = append(want, b.publishType("two", 5)...)
		b.publishType("one", 5)
		b.crash()
		b.start()
		f.set(nil)
		b.wait(time.Hour)
		b.settled("s")
		if got := f.ids(); !slices.Equal(got, want) {
			t.Fatalf("%d events were sent, want %d", len(got), len(want))
		}
	})
}

func TestFromLatestMissesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.publish("old")
		s := sub("s")
		s.From = ""
		b.start(s)
		want := b.publish("a") // may not have been read when the process ends
		b.crash()
		want = append(want, b.publish("b")...)
		b.start()
		b.wait(time.Second)
		got := f.ids()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("sent %v, want %v", got, want)
		}
	})
}

func TestTopicsThatAppearLater(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Topics, s.From = []string{"shop.*"}, ""
		b.topic("shop.old", 2)
		b.publishTo("shop.old", "before")
		b.start(s)
		b.topic("shop.new", 3)
		want := b.publishTo("shop.new", "a", "b", "c", "d")
		b.wait(time.Second)
		want = append(want, b.publishTo("shop.old", "e")...)
		b.wait(time.Second)
		got := f.ids()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("sent %v, want %v", got, want)
		}
		if err := b.log.DeleteTopic(b.ctx, "shop.new"); err != nil {
			t.Fatal(err)
		}
		b.topic("shop.new", 2)
		again := b.publishTo("shop.new", "f")
		b.wait(time.Second)
		b.settled("s")
		if got := f.ids(); !slices.Contains(got, again[0]) {
			t.Fatal("the new incarnation of a topic is not read")
		}
	})
}

func TestOrphan(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"), sub("other"))
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("other")}); err != nil {
			t.Fatal(err)
		}
		b.publish("a")
		b.wait(time.Second)
		if st := b.status("s"); st.State != "orphan" || st.Lag != 1 {
			t.Fatalf("status %+v", st)
		}
		for name, want := range map[string]string{"s": OwnerOrphan, "other": OwnerFile} {
			if _, _, owner, err := b.m.Get(name); err != nil || owner != want {
				t.Fatalf("%s is owned by %q, want %q: %v", name, owner, want, err)
			}
		}
		if err := b.m.Resume(b.ctx, "s"); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Fatal(err)
		}
		if err := b.m.Delete(b.ctx, "other"); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Fatal(err)
		}
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("other"), sub("s")}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.settled("s")
		if err := b.m.Apply(b.ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.m.Delete(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.m.Status(b.ctx, "s"); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Fatal(err)
		}
		if n := b.records("s", ""); n != 0 {
			t.Fatalf("%d records are left", n)
		}
	})
}

func TestApplyIsAllOrNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		bad := sub("bad")
		bad.Service = "unknown"
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("new"), bad}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatal(err)
		}
		b.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "disk"))
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("new")}); tandem.CodeOf(err) != tandem.CodeUnavailable {
			t.Fatal(err)
		}
		b.eng.Fail(nil)
		b.wait(time.Second)
		all := b.m.List()
		if len(all) != 1 || all[0].Name != "s" || b.status("s").State != "running" {
			t.Fatalf("%+v", all)
		}
	})
}

func TestPut(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("file"))
		s := sub("api")
		created, err := b.m.Put(b.ctx, s, "")
		if err != nil || !created {
			t.Fatal(created, err)
		}
		_, tag, owner, err := b.m.Get("api")
		if err != nil || owner != OwnerAPI || tag == "" {
			t.Fatal(tag, owner, err)
		}
		s.Attempts = 5
		if _, err := b.m.Put(b.ctx, s, `"other"`); tandem.CodeOf(err) != tandem.CodePrecondition {
			t.Fatal(err)
		}
		if created, err := b.m.Put(b.ctx, s, tag); err != nil || created {
			t.Fatal(created, err)
		}
		if got, next, _, _ := b.m.Get("api"); got.Attempts != 5 || next == tag {
			t.Fatal(got, next)
		}
		if _, err := b.m.Put(b.ctx, sub("file"), ""); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Fatal(err)
		}
		if _, err := b.m.Put(b.ctx, sub("none"), "*"); tandem.CodeOf(err) != tandem.CodePrecondition {
			t.Fatal(err)
		}
		direct := sub("direct")
		direct.Service, direct.Path, direct.URL = "", "", "http://169.254.169.254/"
		if _, err := b.m.Put(b.ctx, direct, ""); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatal(err)
		}
		request := sub("request")
		request.Mode = "request"
		if _, err := b.m.Put(b.ctx, request, ""); tandem.CodeOf(err) != tandem.CodeUnsupported {
			t.Fatal(err)
		}
		b.publish("a")
		b.wait(time.Second)
		if n := len(f.all()); n != 2 {
			t.Fatalf("%d deliveries, want one to each subscription", n)
		}
	})
}

func TestCheckNamesTheField(t *testing.T) {
	m := New(nil, Options{Services: func(name string) (tandem.Service, bool) { return tandem.Service{}, name == "svc" }})
	for field, change := range map[string]func(*tandem.Subscription){
		"/name":         func(s *tandem.Subscription) { s.Name = "No" },
		"/topics":       func(s *tandem.Subscription) { s.Topics = nil },
		"/topics/0":     func(s *tandem.Subscription) { s.Topics = []string{"a.**.b"} },
		"/topics/1":     func(s *tandem.Subscription) { s.Topics = []string{"orders", "_tandem"} },
		"/mode":         func(s *tandem.Subscription) { s.Mode = "push" },
		"/from":         func(s *tandem.Subscription) { s.From = "yesterday" },
		"/replies":      func(s *tandem.Subscription) { s.Replies = "a.*" },
		"/attempts":     func(s *tandem.Subscription) { s.Attempts = -1 },
		"/concurrency":  func(s *tandem.Subscription) { s.Concurrency = 5000 },
		"/timeout":      func(s *tandem.Subscription) { s.Timeout = -1 },
		"/backoff/base": func(s *tandem.Subscription) { s.Backoff.Base = -1 },
		"/service":      func(s *tandem.Subscription) { s.Service = "none" },
		"/path":         func(s *tandem.Subscription) { s.Path = "http://elsewhere/" },
		"/url":          func(s *tandem.Subscription) { s.Service, s.Path, s.URL = "", "", "ftp://x" },
		"/url ":         func(s *tandem.Subscription) { s.Service, s.Path, s.URL = "", "", "http://me:secret@x/" },
		"/secret":       func(s *tandem.Subscription) { s.Secret = "env:X" },
	} {
		s := sub("s")
		change(&s)
		err := m.Check([]tandem.Subscription{s})
		p := tandem.ProblemOf(err)
		if tandem.CodeOf(err) != tandem.CodeInvalid || len(p.Errors) != 1 || p.Errors[0].Pointer != "/subscriptions/"+s.Name+strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestSecretOfTheAPI: what the API is told of a secret says nothing about files and variables of the machine.
func TestSecretOfTheAPI(t *testing.T) {
	var asked []string
	m := New(nil, Options{
		Services: func(string) (tandem.Service, bool) { return tandem.Service{}, true },
		Secrets: func(ref string) (string, error) {
			asked = append(asked, ref)
			switch ref {
			case "env:GOOD", "file:/good":
				return "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", nil
			case "env:OTHER":
				return "not a secret of webhooks", nil
			}
			return "", tandem.Errorf(tandem.CodeNotFound, "%s is not there", ref)
		},
	})
	answer := func(ref string, trusted bool) string {
		s := sub("s")
		s.Secret = ref
		if err := m.check(&s, trusted); err != nil {
			return tandem.ProblemOf(err).Errors[0].Detail
		}
		return ""
	}
	if absent, other := answer("env:ABSENT", false), answer("env:OTHER", false); absent == "" || absent != other {
		t.Errorf("an absent variable: %q, another: %q", absent, other)
	}
	if good, file := answer("env:GOOD", false), answer("file:/good", true); good != "" || file != "" {
		t.Errorf("good ones: %q, %q", good, file)
	}
	asked = nil
	there, absent := answer("file:/good", false), answer("file:/absent", false)
	if there == "" || there != absent || len(asked) != 0 {
		t.Errorf("a file that is there: %q, one that is not: %q; looked at %q", there, absent, asked)
	}
	if why := answer("file:/absent", true); !strings.Contains(why, "/absent") {
		t.Errorf("the configuration file is told %q", why)
	}
}

func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.publish("a", "b")
		b.stop()
		b.start()
		b.wait(time.Hour)
		st := b.status("s")
		if st.State != "paused" || len(f.all()) != 0 || st.Lag != 2 || st.LagSeconds < 3600 || st.OldestUnacknowledged == "" {
			t.Fatalf("status %+v", st)
		}
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.settled("s")
	})
}

func TestSeek(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			switch a.key {
			case "bad":
				return status(404)
			case "slow":
				return after(5*time.Second, status(404))
			}
			return status(204)
		})
		b.start(sub("s"))
		first := b.publish("a", "bad", "bad", "slow", "b")
		b.wait(time.Second)
		middle := time.Now()
		b.wait(time.Second)
		second := b.publish("c", "d")
		b.wait(time.Second)
		seek := func(to tandem.Start, want ...string) {
			t.Helper()
			before := len(f.all())
			if _, err := b.m.Seek(b.ctx, "s", to, false); err != nil {
				t.Fatal(err)
			}
			b.wait(time.Second / 2)
			var got []string
			for _, a := range f.all()[before:] {
				if !slices.Contains(got, a.id) {
					got = append(got, a.id)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("after seek to %+v: %v, want %v", to, got, want)
			}
		}
		seek(tandem.Start{}) // nothing, and what was parked is given up
		if st := b.status("s"); st.ParkedKeys+st.Waiting+st.Retrying != 0 || st.Lag != 0 {
			t.Fatalf("status %+v", st)
		}
		seek(tandem.Start{Time: middle.Format(time.RFC3339Nano)}, second...)
		seek(tandem.Start{Earliest: true}, first[0], first[1], first[3], first[4], second[0], second[1])
		receipts, err := b.log.Append(b.ctx, "orders", []tandem.Event{event("x")})
		if err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		seek(tandem.Start{Cursor: receipts[0].Cursor})
		last := b.publish("y")
		b.wait(time.Second)
		seek(tandem.Start{Cursor: receipts[0].Cursor}, last...)
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{Cursor: "nonsense"}, false); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatal(err)
		}
		hooks := map[string]bool{}
		for _, a := range f.all() {
			if a.id == first[0] {
				hooks[a.header.Get(tandem.HeaderWebhookID)] = true
			}
		}
		if len(hooks) != 2 {
			t.Errorf("%d webhook ids of an event that was sent in two epochs", len(hooks))
		}
		b.stop()
		b.start()
		n := len(f.all())
		b.wait(10 * time.Hour)
		if m := len(f.all()); m != n {
			t.Fatalf("%d attempts of an epoch that is gone", m-n)
		}
	})
}

func TestSeekDuringAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return nil })
		b.start(sub("s"))
		b.publish("a", "b", "c")
		b.wait(time.Minute)
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{}, false); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "running" || st.Lag != 0 {
			t.Fatalf("status %+v", st)
		}
		last := b.publish("d")
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "failing" || st.Lag != 1 {
			t.Fatalf("status %+v", st)
		}
		f.set(nil)
		before := len(f.all())
		b.wait(2 * time.Minute)
		b.settled("s")
		if all := f.all()[before:]; len(all) != 1 || all[0].id != last[0] {
			t.Fatalf("sent %+v", all)
		}
	})
}
