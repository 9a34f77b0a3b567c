package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
)

// file is a configuration file that declares the topic and the subscription "declared".
type file struct {
	reloads int
	err     error
}

func (f *file) Owns(kind, name string) bool { return name == "declared" }
func (f *file) Orphan(topic string) bool    { return topic == "orphan" }
func (f *file) Reload(context.Context) error {
	f.reloads++
	return f.err
}

func (f *file) Show() api.Configuration {
	return api.Configuration{File: true, Since: "2026-01-31T09:30:00Z"}
}

type topicAnswer struct {
	tandem.Topic
	Owner  string
	Status *struct {
		Events     int
		Partitions []struct{ Start, End, Events int }
	}
}

func TestTopics(t *testing.T) {
	h := newHarness(t, nil)
	a := h.do("PUT", "/v1/topics/new.topic", `{"partitions":3,"retention":"1h","key":"data.id"}`).want(201)
	etag := a.header.Get("ETag")
	if a.header.Get("Location") != "/v1/topics/new.topic" || etag == "" {
		t.Errorf("header %v", a.header)
	}
	if got := decode[topicAnswer](a); got.Name != "new.topic" || got.Partitions != 3 || got.Retention.String() != "1h0m0s" || got.Owner != "api" {
		t.Errorf("%s", a.body)
	}
	h.do("POST", "/v1/topics/new.topic/events"+plainType, `{"id":1}`).want(201)
	a = h.do("GET", "/v1/topics/new.topic", "").want(200)
	if got := decode[topicAnswer](a); got.Status == nil || got.Status.Events != 1 || len(got.Status.Partitions) != 3 || !strings.HasPrefix(a.header.Get("ETag"), strings.TrimSuffix(etag, `"`)+".") {
		t.Errorf("%s %v", a.body, a.header)
	}
	// What was read can be sent back, whatever was published since.
	h.do("POST", "/v1/topics/new.topic/events"+plainType, `{"id":2}`).want(201)
	h.do("PUT", "/v1/topics/new.topic", a.body, "If-Match", a.header.Get("ETag")).want(200)
	h.do("PUT", "/v1/topics/new.topic", a.body, "If-Match", etag).want(200)

	changed := h.do("PUT", "/v1/topics/new.topic", `{"retention":"2h"}`, "If-Match", etag).want(200)
	if got := decode[topicAnswer](changed); got.Partitions != 3 || changed.header.Get("ETag") == etag {
		t.Errorf("%s %v", changed.body, changed.header)
	}
	h.do("PUT", "/v1/topics/new.topic", `{}`, "If-Match", etag).problem(412)
	h.do("PUT", "/v1/topics/new.topic", `{}`, "If-Match", a.header.Get("ETag")).problem(412)
	h.do("PUT", "/v1/topics/new.topic", `{}`, "If-None-Match", "*").problem(412)
	h.do("PUT", "/v1/topics/absent", `{}`, "If-Match", "*").problem(412)
	h.do("PUT", "/v1/topics/new.topic", `{"partitions":4}`).problem(409, "/partitions")
	h.do("DELETE", "/v1/topics/new.topic", "", "If-Match", etag).problem(412)
	h.do("DELETE", "/v1/topics/new.topic", "").want(204)
	h.do("DELETE", "/v1/topics/new.topic", "").problem(404)
	h.do("GET", "/v1/topics/new.topic", "").problem(404)
}

// TestForever: a retention without end has one word in every place.
func TestForever(t *testing.T) {
	h := newHarness(t, nil)
	for _, sent := range []string{"forever", "-1h"} {
		a := h.do("PUT", "/v1/topics/audit", `{"retention":"`+sent+`"}`)
		if got := decode[topicAnswer](a); got.Retention >= 0 || !strings.Contains(a.body, `"retention":"forever"`) {
			t.Errorf("%s: %d %s", sent, a.status, a.body)
		}
	}
}

func TestTopicsBadInput(t *testing.T) {
	h := newHarness(t, nil)
	for _, c := range []struct {
		target, body string
		status       int
		pointers     []string
	}{
		{"/v1/topics/x", ``, 400, nil},
		{"/v1/topics/x", `{`, 400, nil},
		{"/v1/topics/x", `{"partitions":"2"}`, 400, []string{"/partitions"}},
		{"/v1/topics/x", `{"partitions":2,"partitions":3}`, 400, []string{"/partitions"}},
		{"/v1/topics/x", `{"partition":2}`, 400, []string{"/partition"}},
		{"/v1/topics/x", `{"partitions":-1,"retention":"1ms"}`, 400, []string{"/partitions", "/retention"}},
		{"/v1/topics/x", `{"retention":"soon"}`, 400, []string{"/retention"}},
		{"/v1/topics/x", `{"name":"y"}`, 400, []string{"/name"}},
		{"/v1/topics/_x", `{}`, 400, []string{"topic"}},
		{"/v1/topics/X", `{}`, 400, []string{"topic"}},
		{"/v1/topics/x?dry=1", `{}`, 400, []string{"dry"}},
		{"/v1/topics/x", `{"source":"` + strings.Repeat("x", 2<<20) + `"}`, 413, nil},
	} {
		h.do("PUT", c.target, c.body).problem(c.status, c.pointers...)
	}
	if a := h.do("GET", "/v1/topics", "").want(200); strings.Contains(a.body, `"x"`) {
		t.Errorf("something was created: %s", a.body)
	}
}

func TestWhatTheFileOwns(t *testing.T) {
	f := &file{}
	subs := newFakeSubscriptions()
	h := newHarness(t, func(o *api.Options) { o.Config, o.Subscriptions = f, subs })
	h.create(tandem.Topic{Name: "declared"})
	h.create(tandem.Topic{Name: "orphan"})
	for name, owner := range map[string]string{"declared": "file", "orphan": "orphan", "orders": "api"} {
		if got := decode[topicAnswer](h.do("GET", "/v1/topics/"+name, "").want(200)); got.Owner != owner {
			t.Errorf("%s is owned by %s", name, got.Owner)
		}
	}
	for _, path := range []string{"/v1/topics/declared", "/v1/subscriptions/declared"} {
		h.do("PUT", path, `{}`).problem(409)
		h.do("DELETE", path, ``).problem(409)
	}
	h.do("POST", "/v1/topics/declared/events"+plainType, `{}`).want(201) // its events are not the file's
	h.do("POST", "/v1/config:reload", "").want(204)
	f.err = tandem.Errorf(tandem.CodeInvalid, "tandem.yaml is wrong").WithField("topics.x", "is not known")
	h.do("POST", "/v1/config:reload", "").problem(400, "topics.x")
	if f.reloads != 2 {
		t.Errorf("%d reloads", f.reloads)
	}
	newHarness(t, nil).do("POST", "/v1/config:reload", "").problem(409)
}

func TestListTopicsByPages(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 5 {
		h.create(tandem.Topic{Name: fmt.Sprint("t", i), Partitions: 1})
	}
	type list struct {
		Topics []topicAnswer
		Next   string
	}
	var names []string
	target := "/v1/topics?limit=2"
	for target != "" {
		a := h.do("GET", target, "").want(200)
		l := decode[list](a)
		for _, topic := range l.Topics {
			names = append(names, topic.Name)
		}
		link := a.header.Get("Link")
		if (link == "") != (l.Next == "") || len(l.Topics) > 2 {
			t.Fatalf("link %q, %s", link, a.body)
		}
		target, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	if got := strings.Join(names, " "); got != "orders t0 t1 t2 t3 t4" {
		t.Errorf("got %s", got)
	}
	h.do("GET", "/v1/topics?limit=0", "").problem(400, "limit")
	h.do("GET", "/v1/topics?prefix=t", "").problem(400, "prefix")
}
