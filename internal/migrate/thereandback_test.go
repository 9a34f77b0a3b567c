package migrate

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
	"github.com/tandem-hybrid/tandem/internal/operation"
)

// tandemRooms are those that the command has.
func tandemRooms() []Room {
	return []Room{{Prefix: "file/"}, {Prefix: operation.Prefix}, {Prefix: delivery.Prefix, Translate: func(ctx context.Context, from offsetmap.State, to *Moved, put func(string, []byte) error) error {
		return delivery.Migrate(ctx, from, to, put)
	}}}
}

// process is what runs on a log.
type process struct {
	log *eventlog.Log
	ops *operation.Operations
	subs
}

type subs = *delivery.Manager

// service takes events, but those of key bad.
type service struct {
	mu    sync.Mutex
	taken map[string]int // by id
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	ev, err := tandem.ParseEventJSON(body)
	if err != nil {
		return nil, err
	}
	status := http.StatusNoContent
	if ev.Subject == "bad" {
		status = http.StatusUnprocessableEntity
	} else {
		s.mu.Lock()
		s.taken[ev.ID]++
		s.mu.Unlock()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func begin(t *testing.T, d driver.Driver, s *service) *process {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log, err := eventlog.Open(context.Background(), kept{d}, eventlog.Options{Logger: quiet, AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{log: log, ops: operation.New(log, operation.Options{Logger: quiet})}
	p.subs = delivery.New(log, delivery.Options{Logger: quiet, Transport: func(string) http.RoundTripper { return s },
		Services: func(name string) (tandem.Service, bool) {
			return tandem.Service{Name: name, URL: "http://" + name}, true
		}})
	if err := p.ops.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) end(t *testing.T) {
	t.Helper()
	for _, stop := range []func(context.Context) error{p.Stop, p.ops.Stop, func(context.Context) error { return p.log.Close() }} {
		if err := stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// await polls until a condition holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestThereAndBack: an embedded log goes to an engine of another kind and back, while subscriptions, operations and clients with cursors go on.
func TestThereAndBack(t *testing.T) {
	ctx := context.Background()
	s := &service{taken: map[string]int{}}
	at := embedded(t)
	var published []string
	var cursors []tandem.Cursor
	var operations []string
	spec := tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"done"}}
	publish := func(p *process, n int) {
		for range n {
			ev := tandem.Event{ID: fmt.Sprint("id-", len(published)), Source: "/t", Type: "t", Subject: []string{"a", "b", "c", "bad"}[len(published)%4], Data: []byte("1")}
			r, err := p.log.Append(ctx, "orders", []tandem.Event{ev})
			if err != nil {
				t.Fatal(err)
			}
			published, cursors = append(published, r[0].ID), append(cursors, r[0].Cursor)
		}
	}
	settled := func(p *process) {
		await(t, "all are delivered or dead", func() bool {
			st, err := p.Status(ctx, "s")
			return err == nil && st.Lag == 0 && st.InFlight == 0 && st.Dead == len(published)/4
		})
	}
	operate := func(p *process) {
		op, state, err := p.ops.Begin(ctx, spec, "flow")
		if err == nil {
			_, err = p.log.Commit(ctx, &eventlog.Tx{State: []driver.StateOp{state}})
		}
		if err == nil {
			err = p.ops.Confirm(ctx, op.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		operations = append(operations, op.ID)
	}
	for step, engine := range []func(testing.TB) driver.Driver{nil, vectors, embedded} {
		if engine != nil {
			to := engine(t)
			m := copyAll(t, at, to, Options{Rooms: tandemRooms(), BatchEvents: 11})
			if len(m.State) < 2 {
				t.Fatalf("state was not copied: %+v", m.State)
			}
			at = to
		}
		p := begin(t, at, s)
		if step == 0 {
			if err := p.Apply(ctx, []tandem.Subscription{{Name: "s", Topics: []string{"orders"}, Service: "svc", Path: "/", From: "earliest"}}); err != nil {
				t.Fatal(err)
			}
		}
		publish(p, 40)
		settled(p)
		for i, id := range operations { // begun on logs of before; the last one ended there while nobody looked
			if i < len(operations)-1 {
				continue
			}
			await(t, "the operation has ended", func() bool {
				op, err := p.ops.Get(ctx, id)
				return err == nil && op.State == tandem.OperationSucceeded
			})
		}
		operate(p)
		if err := p.ops.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		ev := tandem.Event{Source: "/t", Type: "done", Subject: "a", Meta: tandem.Meta{Operation: operations[len(operations)-1]}}
		if _, err := p.log.Append(ctx, "orders", []tandem.Event{ev}); err != nil {
			t.Fatal(err)
		}
		await(t, "the end of the operation is delivered", func() bool {
			st, err := p.Status(ctx, "s")
			return err == nil && st.Lag == 0 && st.InFlight == 0
		})
		// A repeat of what was published before the migration takes effect once.
		again := tandem.Event{ID: "id-3", Source: "/t", Type: "t", Subject: "bad", Data: []byte("1")}
		if r, err := p.log.Append(ctx, "orders", []tandem.Event{again}); err != nil || r[0].Duplicate != tandem.DuplicateYes {
			t.Fatalf("step %d: a repeat is stored again: %+v, %v", step, r, err)
		}
		p.end(t)
	}
	p := begin(t, at, s)
	defer p.end(t)
	letters, _, err := p.DeadLetters(ctx, "s", "", 0)
	if err != nil || len(letters) != len(published)/4 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	for i, id := range published {
		want := 1
		if i%4 == 3 {
			want = 0
			if !slices.ContainsFunc(letters, func(l tandem.DeadLetter) bool { return l.Event.ID == id }) {
				t.Errorf("%s is no dead letter any more", id)
			}
		}
		if n := s.taken[id]; n != want {
			t.Errorf("%s was taken %d times", id, n)
		}
	}
	sel, err := eventlog.Select("orders")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cursors {
		r, err := p.log.NewReader(ctx, sel, tandem.Start{Cursor: c})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			page, err := r.Read(ctx, tandem.Filter{}, 1000)
			if err != nil || page.Gap != nil {
				t.Fatalf("cursor %d: %+v, %v", i, page.Gap, err)
			}
			for _, ev := range page.Events {
				if strings.HasPrefix(ev.ID, "id-") {
					got = append(got, ev.ID)
				}
			}
			if len(page.Events) == 0 {
				break
			}
		}
		r.Close()
		want := slices.Clone(published[i+1:])
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Fatalf("after %s: %v, want %v", published[i], got, want)
		}
	}
}

// TestMillions copies TANDEM_MIGRATE_EVENTS events from one directory to another, over an engine of another kind in memory if TANDEM_MIGRATE_BACK is
// set, and says how long each step takes.
func TestMillions(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TANDEM_MIGRATE_EVENTS"))
	if err != nil {
		t.Skip("set TANDEM_MIGRATE_EVENTS=10000000 to copy ten million events; they take about 8 GB of disk")
	}
	open := func(name string) driver.Driver {
		e, err := pebblelog.Open(t.TempDir()+"/"+name, pebblelog.Options{RetentionEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
	at := open("old")
	begun := time.Now()
	openLog(t, at, func(l *eventlog.Log) {
		if _, err := l.CreateTopic(context.Background(), tandem.Topic{Name: "orders", Partitions: 16, Retention: -1}); err != nil {
			t.Fatal(err)
		}
		batch := make([]tandem.Event, 5000)
		for done := 0; done < n; done += len(batch) {
			for i := range batch {
				batch[i] = tandem.Event{Source: "/bench", Type: "order.placed", Subject: strconv.Itoa((done + i) % 1000), Data: make([]byte, 200), DataContentType: "application/octet-stream"}
			}
			if _, err := l.Append(context.Background(), "orders", batch); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("%d events were published in %s", n, time.Since(begun).Round(time.Second))
	targets := []driver.Driver{open("new")}
	if os.Getenv("TANDEM_MIGRATE_BACK") != "" {
		targets = []driver.Driver{vectors(t), open("new")}
	}
	for _, to := range targets {
		var copied time.Duration
		begun := time.Now()
		s := copyAll(t, at, to, Options{Rooms: tandemRooms(), Progress: func(p Progress) {
			if p.Step == StepEvents {
				copied = time.Since(begun)
			}
		}})
		if s.Events != uint64(n) {
			t.Fatalf("%d events were compared", s.Events)
		}
		var bytes int
		if err := offsetmap.Scan(context.Background(), to, offsetmap.ChunksOf(at.Info().LogID), func(key string, value []byte) error {
			bytes += len(key) + len(value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s to %s: %.0f events/s copied, %.0f events/s with the comparison, a map of %.2f bytes an event", at.Info().Engine, to.Info().Engine,
			float64(n)/copied.Seconds(), float64(n)/time.Since(begun).Seconds(), float64(bytes)/float64(n))
		at = to
	}
}
