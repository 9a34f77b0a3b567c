package engines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/internal/migrate"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// TestMigrateFake, TestMigrateKafka, TestMigrateNATS and TestMigrateNATSReal take an embedded log to another engine and back.
func TestMigrateFake(t *testing.T) { migrateThrough(t, conformance(fakeKafka, nil).Open) }

func TestMigrateKafka(t *testing.T) {
	brokers := realKafka(t)
	migrateThrough(t, conformance(func(testing.TB) []string { return brokers }, nil).Open)
}

func TestMigrateNATS(t *testing.T) {
	migrateThrough(t, natsHarness(natslog.Options{InProcess: natsServer(t, nil)}).Open)
}

func TestMigrateNATSReal(t *testing.T) {
	migrateThrough(t, natsHarness(natslog.Options{URL: natsURL(t), Replicas: natsReplicas(), SyncAlways: true}).Open)
}

// lent is an engine that outlives the log over it.
type lent struct{ driver.Driver }

func (lent) Close() error { return nil }

// cut fails every append after some, of which the first is stored all the same.
type cut struct {
	driver.Driver
	left atomic.Int64
}

var errCut = errors.New("cut")

func (c *cut) Append(ctx context.Context, b *driver.Batch) error {
	if n := c.left.Add(-1); n < 0 {
		return errCut
	} else if n == 0 {
		return errors.Join(errCut, c.Driver.Append(ctx, b))
	}
	return c.Driver.Append(ctx, b)
}

// picky refuses the events of key bad.
type picky struct{ taken atomic.Int64 }

func (p *picky) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	ev, err := tandem.ParseEventJSON(body)
	if err != nil {
		return nil, err
	}
	status := http.StatusUnprocessableEntity
	if ev.Subject != "bad" {
		status = http.StatusNoContent
		p.taken.Add(1)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func embeddedLog(t testing.TB) driver.Driver {
	e, err := pebblelog.Open(t.TempDir(), pebblelog.Options{FreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func migrateThrough(t *testing.T, open func(testing.TB) driver.Driver) {
	ctx := context.Background()
	embedded := func() driver.Driver { return embeddedLog(t) }
	rooms := []migrate.Room{{Prefix: delivery.Prefix, Translate: func(ctx context.Context, from offsetmap.State, to *migrate.Moved, put func(string, []byte) error) error {
		return delivery.Migrate(ctx, from, to, put)
	}}}
	quiet := slog.New(slog.DiscardHandler)
	service := &picky{}
	var ids []string
	var cursors []tandem.Cursor
	// use runs a subscription on an engine and publishes to it.
	use := func(d driver.Driver, first bool) {
		log, err := eventlog.Open(ctx, lent{d}, eventlog.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		m := delivery.New(log, delivery.Options{Logger: quiet, Transport: func(string) http.RoundTripper { return service },
			Services: func(name string) (tandem.Service, bool) {
				return tandem.Service{Name: name, URL: "http://" + name}, true
			}})
		if first {
			for i, name := range []string{"orders", "other"} {
				if _, err := log.CreateTopic(ctx, tandem.Topic{Name: name, Partitions: 1 + 2*i, Retention: -1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := m.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if first {
			if err := m.Apply(ctx, []tandem.Subscription{{Name: "s", Topics: []string{"*"}, Service: "svc", Path: "/", From: "earliest"}}); err != nil {
				t.Fatal(err)
			}
		}
		for range 60 {
			n := len(ids)
			ev := tandem.Event{ID: fmt.Sprint("id-", n), Source: "/t", Type: "t", Subject: []string{"a", "b", "bad", "c"}[n%4], Data: fmt.Appendf(nil, `{"n":%d}`, n)}
			r, err := log.Append(ctx, []string{"orders", "other"}[n%2], []tandem.Event{ev})
			if err != nil {
				t.Fatal(err)
			}
			ids, cursors = append(ids, ev.ID), append(cursors, r[0].Cursor)
		}
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			st, err := m.Status(ctx, "s")
			if err == nil && st.InFlight == 0 && st.Dead == len(ids)/4 && int(service.taken.Load()) == len(ids)*3/4 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d of %d were taken: %+v, %v", service.taken.Load(), len(ids)*3/4, st, err)
			}
		}
		if err := m.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	at := embedded()
	use(at, true)
	for _, next := range []func() driver.Driver{func() driver.Driver { return open(t) }, embedded} {
		to := next()
		for left := int64(2); ; left += 3 {
			c := &cut{Driver: to}
			c.left.Store(left)
			_, err := migrate.New(at, c, migrate.Options{Rooms: rooms, BatchEvents: 9}).Run(ctx)
			if err == nil || strings.Contains(err.Error(), "migrated already") { // the append that failed last was stored
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
		}
		if s, err := migrate.New(at, to, migrate.Options{Rooms: rooms}).Verify(ctx); err != nil || s.Events < uint64(len(ids)) {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := at.Close(); err != nil {
			t.Fatal(err)
		}
		at = to
		use(at, false)
	}
	log, err := eventlog.Open(ctx, at, eventlog.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i, c := range cursors { // those of topic other, which has several partitions
		if i%2 == 0 {
			continue
		}
		sel, err := eventlog.Select("other")
		if err != nil {
			t.Fatal(err)
		}
		r, err := log.NewReader(ctx, sel, tandem.Start{Cursor: c})
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.Read(ctx, tandem.Filter{}, 1000)
		r.Close()
		if err != nil || page.Gap != nil {
			t.Fatalf("cursor %d: %+v, %v", i, page.Gap, err)
		}
		var got, want []string
		for _, ev := range page.Events {
			got = append(got, ev.ID)
		}
		for j := i + 2; j < len(ids); j += 2 {
			want = append(want, ids[j])
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Fatalf("after %s: %v, want %v", ids[i], got, want)
		}
	}
}

// TestMigrateMillions takes TANDEM_MIGRATE_EVENTS events from an embedded log to real servers and back, compares both sides each time, and says how
// long each step takes.
func TestMigrateMillions(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TANDEM_MIGRATE_EVENTS"))
	if err != nil {
		t.Skip("set TANDEM_MIGRATE_EVENTS=10000000 to take ten million events there and back")
	}
	for name, open := range map[string]func(testing.TB) driver.Driver{
		"kafka": conformance(func(t testing.TB) []string { return realKafka(t) }, nil).Open,
		"nats": func(t testing.TB) driver.Driver {
			return natsHarness(natslog.Options{URL: natsURL(t), Replicas: natsReplicas(), SyncAlways: true}).Open(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			at, to := embeddedLog(t), open(t)
			log, err := eventlog.Open(ctx, lent{at}, eventlog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 4, Retention: -1}); err != nil {
				t.Fatal(err)
			}
			batch := make([]tandem.Event, 5000)
			for done := 0; done < n; done += len(batch) {
				for i := range batch {
					batch[i] = tandem.Event{Source: "/bench", Type: "order.placed", Subject: strconv.Itoa((done + i) % 1000), Data: make([]byte, 200), DataContentType: "application/octet-stream"}
				}
				if _, err := log.Append(ctx, "orders", batch); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			for _, to := range []driver.Driver{to, embeddedLog(t)} {
				begun := time.Now()
				m := migrate.New(at, to, migrate.Options{})
				if _, err := m.Run(ctx); err != nil {
					t.Fatal(err)
				}
				copied := time.Since(begun)
				s, err := m.Verify(ctx)
				if err != nil || s.Events < uint64(n) {
					t.Fatalf("%+v, %v", s, err)
				}
				t.Logf("%s to %s: %d events copied in %s, with the comparison %s", at.Info().Engine, to.Info().Engine, s.Events, copied.Round(time.Second), time.Since(begun).Round(time.Second))
				if err := at.Close(); err != nil {
					t.Fatal(err)
				}
				at = to
			}
			if err := at.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
