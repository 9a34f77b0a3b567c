package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
)

// What Sources began ends with Stop, whatever a test did.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logFake stores in memory what Append is given, once for each identity, and fails as it is told.
type logFake struct {
	*eventlog.Log
	mu    sync.Mutex // guards what follows
	fail  error
	calls int
}

func (l *logFake) Append(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	l.mu.Lock()
	l.calls++
	err := l.fail
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return l.Log.Append(ctx, topic, events)
}

func (l *logFake) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *logFake) called() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

// bed is a source between a broker and a log.
type bed struct {
	t       *testing.T
	broker  *amqptest.Broker
	log     *logFake
	sources *Sources
	metrics *prometheus.Registry
	logged  *buffer
	secret  string // that env:RABBIT names
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, broker: amqptest.New(t), metrics: prometheus.NewRegistry(), logged: &buffer{}}
	b.secret = b.broker.URL()
	log, err := eventlog.Open(t.Context(), memlog.New(memlog.Options{}), eventlog.Options{MaxEventBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "orders", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	b.log = &logFake{Log: log}
	b.sources = New(b.log, Options{Metrics: b.metrics, Logger: slog.New(slog.NewTextHandler(b.logged, nil)), Secrets: func(ref string) (string, error) {
		if ref != "env:RABBIT" {
			return "", tandem.Errorf(tandem.CodeNotFound, "environment variable %s, which holds a secret, is not set", ref)
		}
		return b.secret, nil
	}})
	t.Cleanup(func() {
		if err := b.sources.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bed) decl() Source {
	return Source{Name: "rabbit", Topic: "orders", Type: "plain", AMQP: AMQP{URL: "env:RABBIT", Queue: "q", Prefetch: 10}}
}

func (b *bed) run(all ...Source) {
	b.t.Helper()
	if err := b.sources.Check(all); err != nil {
		b.t.Fatal(err)
	}
	b.sources.Apply(all)
	b.sources.Start()
}

func (b *bed) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not in time\n%s", what, b.logged)
		}
	}
}

// stored returns the events in the log.
func (b *bed) stored() []tandem.Record {
	b.t.Helper()
	t, err := b.log.Topic(b.t.Context(), "orders")
	if err != nil {
		b.t.Fatal(err)
	}
	recs, err := b.log.ReadPartition(b.t.Context(), t.ID, 0, 0, 100_000, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return recs
}

// value returns that of a metric of the source.
func (b *bed) value(name string) float64 {
	b.t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) > 0 {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

func numbered(from, to int) (all []amqptest.Message) {
	for n := from; n < to; n++ {
		all = append(all, amqptest.Message{ContentType: "text/plain", MessageID: fmt.Sprintf("m%d", n), Body: fmt.Sprint(n)})
	}
	return all
}

// TestTakes: messages become events, in order, and are acknowledged.
func TestTakes(t *testing.T) {
	b := newBed(t)
	b.broker.Put(numbered(0, 500)...)
	b.broker.Put(amqptest.Message{ContentType: "text/plain", Body: "x", Headers: map[string]string{"cloudEvents:specversion": "1.0", "cloudEvents:id": "i", "cloudEvents:source": "/erp", "cloudEvents:type": "t"}})
	b.run(b.decl())
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
	recs := b.stored()
	if len(recs) != 501 {
		t.Fatalf("%d events", len(recs))
	}
	for n := range 500 {
		if e := &recs[n]; e.ID != fmt.Sprintf("m%d", n) || string(e.Data) != fmt.Sprint(n) || e.Type != "plain" || e.Source != "/sources/rabbit" ||
			e.Meta.Producer != "rabbit" || e.Meta.Flow == "" || e.DataContentType != "text/plain" {
			t.Fatalf("event %d is %+v", n, recs[n])
		}
	}
	if e := &recs[500]; e.ID != "i" || e.Source != "/erp" || e.Type != "t" {
		t.Errorf("the CloudEvent is %+v", e)
	}
	b.eventually("counted", func() bool { return b.value("tandem_source_taken_total") == 501 })
	if b.value("tandem_source_up") != 1 || b.value("tandem_source_refused_total") != 0 {
		t.Error("the metrics are wrong")
	}
}

// TestAcknowledgesWhatIsStored: nothing is acknowledged while the log takes nothing, whatever the prefetch; then all of it is stored, once.
func TestAcknowledgesWhatIsStored(t *testing.T) {
	for _, code := range []tandem.Code{tandem.CodeUnavailable, tandem.CodeOverloaded, tandem.CodeNotFound, tandem.CodeInternal} {
		b := newBed(t)
		b.log.set(tandem.Errorf(code, "not now"))
		b.broker.Put(numbered(0, 50)...)
		b.run(b.decl())
		b.eventually("tried again", func() bool { return b.log.called() >= 3 })
		if left, settled := b.broker.Left(), b.broker.Settled(); left != 50 || len(settled) != 0 {
			t.Errorf("%s: %d messages are left, and %d settled, before one is stored", code, left, len(settled))
		}
		b.log.set(nil)
		b.eventually("taken", func() bool { return b.broker.Left() == 0 })
		if n := len(b.stored()); n != 50 {
			t.Errorf("%s: %d events", code, n)
		}
		if n := strings.Count(b.logged.String(), "cannot store"); n != 1 {
			t.Errorf("%s: logged %d times", code, n)
		}
	}
}

// TestRejects: what is no valid event is rejected, and nothing beside it; it is logged once.
func TestRejects(t *testing.T) {
	b := newBed(t)
	b.broker.Put(numbered(0, 3)...)
	b.broker.Put(amqptest.Message{ContentType: "application/json", Body: "{", MessageID: "bad1"},
		amqptest.Message{ContentType: "text/plain", Body: strings.Repeat("x", 2000), MessageID: "large"}) // the log refuses it
	b.broker.Put(numbered(3, 6)...)
	b.broker.Put(amqptest.Message{ContentType: "text/plain", Body: "other", MessageID: "m1"}) // other data under an id
	b.run(b.decl())
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
	rejected := 0
	for _, s := range b.broker.Settled() {
		bad := s.Body == "{" || s.Body == "other" || len(s.Body) == 2000
		if s.Rejected != bad {
			t.Errorf("%.20q: rejected is %v", s.Body, s.Rejected)
		}
		if s.Rejected {
			rejected++
		}
	}
	if recs := b.stored(); len(recs) != 6 || rejected != 3 {
		t.Errorf("%d events, %d rejected", len(recs), rejected)
	}
	if n := strings.Count(b.logged.String(), "no valid events"); n != 1 {
		t.Errorf("logged %d times: %s", n, b.logged)
	}
	if b.value("tandem_source_refused_total") != 3 {
		t.Error("the metrics are wrong")
	}
}

// TestConnectionsLost: over cuts everything is stored once.
func TestConnectionsLost(t *testing.T) {
	b := newBed(t)
	b.run(b.decl())
	for n := 0; n < 1000; n += 50 {
		b.broker.Put(numbered(n, n+50)...)
		b.eventually("some are taken", func() bool { return b.broker.Left() < 50 })
		b.broker.Cut()
	}
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
	recs := b.stored()
	if len(recs) != 1000 {
		t.Errorf("%d events", len(recs))
	}
	if n := b.value("tandem_source_reconnects_total"); n < 5 {
		t.Errorf("%v reconnects", n)
	}
	if text := b.logged.String(); strings.Contains(text, "hunter2") {
		t.Errorf("the password was logged: %s", text)
	}
}

// TestLostWhileStoring: what was stored and not acknowledged is handed out again, and is no second event.
func TestLostWhileStoring(t *testing.T) {
	b := newBed(t)
	b.log.set(tandem.Errorf(tandem.CodeUnavailable, "not now"))
	b.broker.Put(numbered(0, 10)...)
	b.run(b.decl())
	b.eventually("tried", func() bool { return b.log.called() > 0 })
	b.broker.Cut()
	b.log.set(nil)
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
	if n := len(b.stored()); n != 10 {
		t.Errorf("%d events", n)
	}
}

// TestNoQueue: a queue that is not there is told once, and looked for again; so is a password that is wrong, which is read anew each time.
func TestNoQueue(t *testing.T) {
	b := newBed(t)
	b.broker.Set(amqptest.Rules{Missing: true})
	b.broker.Put(numbered(0, 1)...)
	b.run(b.decl())
	b.eventually("told", func() bool { return strings.Contains(b.logged.String(), `has no queue`) })
	b.broker.Set(amqptest.Rules{WrongUser: true})
	b.broker.Cut()
	b.eventually("tried", func() bool { return b.broker.Accepted() > 2 })
	if b.value("tandem_source_up") != 0 {
		t.Error("it is up")
	}
	b.broker.Set(amqptest.Rules{})
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
	if n := strings.Count(b.logged.String(), "takes nothing"); n != 1 {
		t.Errorf("logged %d times: %s", n, b.logged)
	}
}

// TestApply: what has not changed goes on with its connection; what is removed ends; what is new begins.
func TestApply(t *testing.T) {
	b := newBed(t)
	b.run(b.decl())
	b.eventually("up", func() bool { return b.value("tandem_source_up") == 1 })
	again := b.decl()
	b.sources.Apply([]Source{again})
	b.broker.Put(numbered(0, 1)...)
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
	if b.broker.Accepted() != 1 {
		t.Error("an unchanged source connected again")
	}
	changed := b.decl()
	changed.AMQP.Prefetch = 20
	b.sources.Apply([]Source{changed})
	b.eventually("connected again", func() bool { return b.broker.Accepted() == 2 })
	b.sources.Apply(nil)
	b.eventually("gone", func() bool { return b.broker.Open() == 0 })
	if v := b.value("tandem_source_up"); v != -1 {
		t.Errorf("the metric of a source that is gone is %v", v)
	}
	b.broker.Put(numbered(1, 2)...)
	b.sources.Apply([]Source{b.decl()})
	b.eventually("taken", func() bool { return b.broker.Left() == 0 })
}

// TestStop: what is being stored is finished and acknowledged; a log that hangs is waited for no longer than the time that there is.
func TestStop(t *testing.T) {
	b := newBed(t)
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	hang := &hanging{logFake: b.log, entered: entered, leave: leave}
	s := New(hang, Options{Logger: slog.New(slog.DiscardHandler), Secrets: func(string) (string, error) { return b.secret, nil }})
	s.Apply([]Source{b.decl()})
	b.broker.Put(numbered(0, 1)...)
	s.Start()
	s.Start()
	<-entered
	taking := s.takers["rabbit"]
	done := make(chan error)
	go func() { done <- s.Stop(context.Background()) }()
	b.eventually("stopping", func() bool { return taking.soft.Err() != nil })
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(b.stored()); n != 1 {
		t.Errorf("%d events", n)
	}
	b.eventually("acknowledged", func() bool { return b.broker.Left() == 0 })

	hang.leave = make(chan struct{}) // never
	b.broker.Put(numbered(1, 2)...)
	s.Start()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Stop(ctx); tandem.CodeOf(err) != tandem.CodeTimeout {
		t.Errorf("cut off: %v", err)
	}
	if b.broker.Left() != 1 {
		t.Error("acknowledged without being stored")
	}
}

// hanging waits in Append.
type hanging struct {
	*logFake
	entered, leave chan struct{}
}

func (h *hanging) Append(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	h.entered <- struct{}{}
	select {
	case <-h.leave:
		return h.logFake.Append(ctx, topic, events)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestCheck(t *testing.T) {
	b := newBed(t)
	for name, c := range map[string]struct {
		change func(s *Source)
		want   string
	}{
		"topic":    {func(s *Source) { s.Topic = "_x" }, "/topic"},
		"queue":    {func(s *Source) { s.AMQP.Queue = "" }, "/amqp/queue"},
		"prefetch": {func(s *Source) { s.AMQP.Prefetch = -1 }, "/amqp/prefetch"},
		"URL":      {func(s *Source) { s.AMQP.URL = "amqp://u:hunter2@h" }, "/amqp/url"},
		"secret":   {func(s *Source) { s.AMQP.URL = "env:OTHER" }, "is not set"},
		"type":     {func(s *Source) { s.Type = "\x00" }, "/type"},
		"source":   {func(s *Source) { s.Source = "\x00" }, "/source"},
		"tls":      {func(s *Source) { s.AMQP.TLS = &tandem.TLSAuth{CA: "env:RABBIT"} }, "certificates need a URL with amqps"},
	} {
		s := b.decl()
		c.change(&s)
		err := b.sources.Check([]Source{s})
		if tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.secret = "amqp://u:hunter2@[h"
	if err := b.sources.Check([]Source{b.decl()}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	b.secret = b.broker.URL()
	if err := b.sources.Check([]Source{b.decl(), b.decl()}); err == nil {
		t.Error("twice the same name")
	}
	if err := errors.Join(b.sources.Check([]Source{b.decl()}), b.sources.Check(nil)); err != nil {
		t.Error(err)
	}
}
