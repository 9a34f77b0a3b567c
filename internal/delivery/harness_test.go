package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// attemptSeen is a request that an endpoint got.
type attemptSeen struct {
	id       string
	key      string
	attempt  int
	position tandem.Position
	at       time.Time
	header   http.Header
	body     []byte
}

// endpointFake answers as handle says, and notes what it was sent. It is an http.RoundTripper.
type endpointFake struct {
	mu     sync.Mutex
	seen   []attemptSeen
	handle func(a attemptSeen) *http.Response // nil means 204; nil response means that no connection can be made
	inside map[string]int
	clash  []string // keys with two attempts at once
}

func (f *endpointFake) set(handle func(a attemptSeen) *http.Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = handle
}

func (f *endpointFake) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body.Close()
	e, err := tandem.ParseEventJSON(body)
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(r.Header.Get(tandem.HeaderAttempt))
	var pos tandem.Position // none of a request link
	if p := r.Header.Get(tandem.HeaderPosition); p != "" {
		if pos, err = tandem.ParsePosition(p); err != nil {
			return nil, err
		}
	}
	a := attemptSeen{id: e.ID, key: e.Subject, attempt: n, position: pos, at: time.Now(), header: r.Header, body: body}
	f.mu.Lock()
	f.seen = append(f.seen, a)
	handle := f.handle
	if f.inside == nil {
		f.inside = map[string]int{}
	}
	if f.inside[a.key]++; f.inside[a.key] > 1 && a.key != "" {
		f.clash = append(f.clash, a.key)
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inside[a.key]--
		f.mu.Unlock()
	}()
	resp := status(http.StatusNoContent)
	if handle != nil {
		resp = handle(a)
	}
	if resp == nil {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	if wait := resp.Header.Get("X-Wait"); wait != "" {
		d, _ := time.ParseDuration(wait)
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return resp, nil
}

func (f *endpointFake) all() []attemptSeen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]attemptSeen(nil), f.seen...)
}

// ids returns the ids of events in the order in which they were first sent.
func (f *endpointFake) ids() []string {
	var out []string
	seen := map[string]bool{}
	for _, a := range f.all() {
		if !seen[a.id] {
			seen[a.id] = true
			out = append(out, a.id)
		}
	}
	return out
}

func status(code int) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody}
}

func after(wait time.Duration, resp *http.Response) *http.Response {
	resp.Header.Set("X-Wait", wait.String())
	return resp
}

func reply(mediaType, body string) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {mediaType}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewReader([]byte(body)))}
}

// bed is a log and a manager, in virtual time unless it was made by newRealBed.
type bed struct {
	t    *testing.T
	ctx  context.Context
	eng  *memlog.Engine
	log  *eventlog.Log
	m    *Manager
	opts Options
	ends struct {
		sync.Mutex
		of map[string]*endpointFake
	}
	real bool // the clock is the machine's
}

// inBubble runs a test in virtual time, with a topic "orders" and one endpoint.
func inBubble(t *testing.T, fn func(t *testing.T, b *bed, f *endpointFake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		t.Cleanup(b.close) // also after a failure, so that no goroutine is left in the bubble
		fn(t, b, b.endpoint("svc"))
	})
}

func newBed(t *testing.T) *bed {
	b := &bed{t: t, eng: memlog.New(memlog.Options{})}
	b.furnish(b.eng, slog.New(slog.DiscardHandler))
	return b
}

// furnish opens the log over an engine.
func (b *bed) furnish(drv driver.Driver, logger *slog.Logger) {
	b.ctx, b.ends.of = context.Background(), map[string]*endpointFake{}
	var err error
	if b.log, err = eventlog.Open(b.ctx, drv, eventlog.Options{Logger: logger, MaxEventBytes: 64 << 10}); err != nil {
		b.t.Fatal(err)
	}
	b.topic("orders", 4)
	b.opts = Options{
		Logger: logger,
		Services: func(name string) (tandem.Service, bool) {
			return tandem.Service{Name: name, URL: "http://" + name}, name != "unknown"
		},
		Transport: func(service string) http.RoundTripper { return b.endpoint(service) },
	}
}

// idle returns when nothing is left to do at this time, which only virtual time can tell.
func (b *bed) idle() {
	if !b.real {
		synctest.Wait()
	}
}

func (b *bed) topic(name string, partitions int) {
	b.t.Helper()
	if _, err := b.log.CreateTopic(b.ctx, tandem.Topic{Name: name, Partitions: partitions}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) endpoint(service string) *endpointFake {
	b.ends.Lock()
	defer b.ends.Unlock()
	f := b.ends.of[service]
	if f == nil {
		f = &endpointFake{}
		b.ends.of[service] = f
	}
	return f
}

// start starts a manager with subscriptions, as a process does.
func (b *bed) start(subs ...tandem.Subscription) {
	b.t.Helper()
	b.m = New(b.log, b.opts)
	if err := b.m.Start(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	if len(subs) > 0 {
		if err := b.m.Apply(b.ctx, subs); err != nil {
			b.t.Fatal(err)
		}
	}
	b.idle()
}

func (b *bed) stop() {
	b.t.Helper()
	if err := b.m.Stop(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

// crash ends the manager as the end of the process does: nothing more is stored.
func (b *bed) crash() {
	b.m.crash()
	b.m = nil
}

func (m *Manager) crash() {
	m.ops.Lock()
	defer m.ops.Unlock()
	if !m.running {
		return
	}
	m.running, m.loaded, m.stopped = false, false, true
	for _, s := range m.sorted() {
		s.mu.Lock()
		s.halted = true
		s.mu.Unlock()
	}
	for _, s := range m.sorted() {
		s.abandon()
	}
	m.cancel(errStopped)
	for _, r := range m.takeReaders() {
		r.close()
	}
	m.done.Wait()
}

func (b *bed) close() {
	b.t.Helper()
	if b.m != nil {
		b.stop()
	}
	if err := b.log.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// publish stores an event for each of keys and returns their ids: KEY-N.
func (b *bed) publish(keys ...string) []string {
	b.t.Helper()
	return b.publishTo("orders", keys...)
}

func (b *bed) publishTo(topic string, keys ...string) []string {
	b.t.Helper()
	ids := make([]string, len(keys))
	for i, k := range keys {
		e := event(k)
		if _, err := b.log.Append(b.ctx, topic, []tandem.Event{e}); err != nil {
			b.t.Fatal(err)
		}
		ids[i] = e.ID
	}
	return ids
}

var eventCount struct {
	sync.Mutex
	n int
}

func event(key string) tandem.Event {
	eventCount.Lock()
	defer eventCount.Unlock()
	eventCount.n++
	return tandem.Event{ID: fmt.Sprintf("%s-%d", key, eventCount.n), Source: "/test", Type: "order.placed", Subject: key,
		Data: []byte(`{"n":` + strconv.Itoa(eventCount.n%2) + `}`)}
}

func sub(name string) tandem.Subscription {
	return tandem.Subscription{Name: name, Topics: []string{"orders"}, Service: "svc", Path: "/events", From: "earliest"}
}

func (b *bed) status(name string) tandem.SubscriptionStatus {
	b.t.Helper()
	st, err := b.m.Status(b.ctx, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// wait lets time pass.
func (b *bed) wait(d time.Duration) {
	time.Sleep(b.short(d))
	b.idle()
}

// settled fails unless everything has its outcome and was delivered.
func (b *bed) settled(name string) {
	b.t.Helper()
	st := b.status(name)
	if st.Lag != 0 || st.InFlight != 0 || st.Retrying != 0 || st.ParkedKeys != 0 || st.Waiting != 0 {
		b.t.Fatalf("not settled: %+v", st)
	}
}

// records returns how many state records of a kind there are.
func (b *bed) records(name, kind string) (n int) {
	b.t.Helper()
	if err := b.log.ScanState(b.ctx, subPrefix(name)+kind, func(string, []byte) bool { n++; return true }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// expired returns how many events the ledger says that retention overtook.
func (b *bed) expired(name string) uint64 {
	b.t.Helper()
	return b.status(name).Expired
}

func ctxAfter(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// counted lets a test compare how many dead letters there were.
func counted(c tandem.DeadLetterCount, err error) (int, error) { return c.Count, err }
