package delivery

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openLog returns a log in memory with the topic "orders", in real time.
func openLog(t testing.TB) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Open(context.Background(), memlog.New(memlog.Options{}), eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if _, err := log.CreateTopic(context.Background(), tandem.Topic{Name: "orders", Partitions: 8}); err != nil {
		t.Fatal(err)
	}
	return log
}

func quietOptions(url string) Options {
	return Options{
		Logger:   slog.New(slog.DiscardHandler),
		Services: func(name string) (tandem.Service, bool) { return tandem.Service{Name: name, URL: url}, true },
	}
}

// Start and Stop may come in any order, from many goroutines, while events arrive and operations run.
func TestStartStopStress(t *testing.T) {
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	log := openLog(t)
	m := New(log, quietOptions(sink.URL))
	ctx := context.Background()
	var end atomic.Bool
	var group sync.WaitGroup
	loop := func(fn func()) {
		group.Go(func() {
			for !end.Load() {
				fn()
			}
		})
	}
	loop(func() {
		if err := m.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	loop(func() {
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		m.Stop(short)
	})
	loop(func() { m.Apply(ctx, []tandem.Subscription{sub("a"), sub("b")}) })
	loop(func() { m.Status(ctx, "a") })
	loop(func() { m.Seek(ctx, "a", tandem.Start{}, false) })
	loop(func() {
		m.Pause(ctx, "b")
		m.Resume(ctx, "b")
	})
	loop(func() {
		e := event("k")
		if _, err := log.Append(ctx, "orders", []tandem.Event{e}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
	})
	time.Sleep(time.Second)
	end.Store(true)
	group.Wait()
	if err := m.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// The whole loop over real HTTP: signed, kept connections, replies.
func TestOverHTTP(t *testing.T) {
	secret := "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	key, err := tandem.ParseWebhookKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	var bad atomic.Int64
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/events" || tandem.VerifyWebhook(r.Header, body, time.Now(), key) != nil {
			bad.Add(1)
		}
		w.Header().Set("Content-Type", tandem.MediaEvent)
		io.WriteString(w, `{"specversion":"1.0","id":"1","source":"/svc","type":"done"}`)
	}))
	defer sink.Close()
	log := openLog(t)
	ctx := context.Background()
	if _, err := log.CreateTopic(ctx, tandem.Topic{Name: "out", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	opts := quietOptions(sink.URL)
	opts.Secrets = func(ref string) (string, error) { return secret, nil }
	m := New(log, opts)
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s := sub("s")
	s.Secret, s.Replies = "env:SECRET", "out"
	if err := m.Apply(ctx, []tandem.Subscription{s}); err != nil {
		t.Fatal(err)
	}
	sel, err := eventlog.Select("out")
	if err != nil {
		t.Fatal(err)
	}
	r, err := log.NewReader(ctx, sel, tandem.Start{Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const n = 500
	for i := range n {
		if _, err := log.Append(ctx, "orders", []tandem.Event{event(keys(20, n)[i])}); err != nil {
			t.Fatal(err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for got := 0; got < n; {
		page, err := r.Next(limited, tandem.Filter{}, n)
		if err != nil {
			t.Fatalf("%d replies: %v", got, err)
		}
		got += len(page.Events)
	}
	if err := m.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if n := bad.Load(); n != 0 {
		t.Errorf("%d requests that do not verify", n)
	}
}
