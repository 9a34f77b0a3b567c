package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// harness is an API over a log in memory.
type harness struct {
	t      testing.TB
	engine *memlog.Engine
	log    *eventlog.Log
	api    *api.API
	logged *bytes.Buffer
}

func newHarness(t testing.TB, change func(*api.Options)) *harness {
	t.Helper()
	return newHarnessOver(t, memlog.Options{}, change)
}

func newHarnessOver(t testing.TB, engine memlog.Options, change func(*api.Options)) *harness {
	t.Helper()
	h := &harness{t: t, engine: memlog.New(engine), logged: new(bytes.Buffer)}
	var err error
	logger := slog.New(slog.NewTextHandler(h.logged, nil))
	h.log, err = eventlog.Open(context.Background(), h.engine, eventlog.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	streams := stream.New(h.log, stream.Options{Logger: logger})
	opts := api.Options{Log: h.log, Auth: auth.New(nil), Streams: streams, Logger: logger}
	if change != nil {
		change(&opts)
	}
	h.api = api.New(opts)
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = streams.Stop(now) // at once
		h.api.Close()
		h.log.Close()
	})
	h.create(tandem.Topic{Name: "orders", Partitions: 2})
	return h
}

func (h *harness) create(topic tandem.Topic) {
	h.t.Helper()
	if _, err := h.log.CreateTopic(context.Background(), topic); err != nil {
		h.t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// do sends a request to the handler; headers are pairs.
func (h *harness) do(method, target, body string, headers ...string) answer {
	h.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8090"
	for i := 0; i+1 < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "Host") {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{h.t, w.Code, w.Result().Header, string(b)}
}

const (
	events    = "/v1/topics/orders/events"
	anEvent   = `{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"42","data":{"total":12}}`
	plainType = "?type=order.placed&source=/shop"
)

func (h *harness) publish(form, body string, headers ...string) answer {
	h.t.Helper()
	return h.do("POST", events, body, append([]string{"Content-Type", form}, headers...)...)
}

// stored returns the events of a topic, oldest first.
func (h *harness) stored(topic string) []tandem.Record {
	h.t.Helper()
	return h.await(topic, 0)
}

// await is stored once there are n.
func (h *harness) await(topic string, n int) []tandem.Record {
	h.t.Helper()
	sel, err := eventlog.Select(topic)
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := h.log.NewReader(context.Background(), sel, tandem.Start{Earliest: true})
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Close()
	var all []tandem.Record
	read := r.Next
	for {
		if len(all) >= n {
			read = r.Read
		}
		page, err := read(context.Background(), tandem.Filter{}, 1000)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(page.Events) == 0 {
			return all
		}
		all = append(all, page.Events...)
	}
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// problem checks status and pointers and returns the problem.
func (a answer) problem(status int, pointers ...string) tandem.Problem {
	a.t.Helper()
	a.want(status)
	if ct := a.header.Get("Content-Type"); ct != tandem.MediaProblem {
		a.t.Fatalf("content type %q: %s", ct, a.body)
	}
	p := decode[tandem.Problem](a)
	if p.Status != status || p.Title == "" || p.Detail == "" {
		a.t.Errorf("problem %+v", p)
	}
	var got []string
	for _, f := range p.Errors {
		got = append(got, f.Pointer)
		if f.Detail == "" {
			a.t.Errorf("%s has no detail", f.Pointer)
		}
	}
	if strings.Join(got, " ") != strings.Join(pointers, " ") {
		a.t.Errorf("pointers %q, want %q: %s", got, pointers, a.body)
	}
	return p
}

func decode[T any](a answer) T {
	a.t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func lines(a answer) []string {
	return strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
}
