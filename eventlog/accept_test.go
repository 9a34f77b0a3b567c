package eventlog_test

import (
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

func TestAcceptIsBoundedAndDrained(t *testing.T) {
	onEngines(t, func(t *testing.T, _ *eventlog.Log, e *memlog.Engine) {
		e = memlog.New(memlog.Options{Partitioned: !e.Info().TotalOrder})
		l, err := eventlog.Open(ctx, e, eventlog.Options{AcceptEvents: 10})
		if err != nil {
			t.Fatal(err)
		}
		create(t, l, "t", 2)
		watch := l.Watch(selection(t, "t"))
		reached, resume := e.Stall()
		send := func(n int) error {
			events := make([]tandem.Event, n)
			for i := range events {
				events[i] = event("", "1")
			}
			got, err := l.Accept(ctx, "t", events)
			if err == nil && (len(got) != n || got[0].ID == "" || got[0].ID != events[0].ID || got[0].Cursor != "" || got[0].Topic != "t") {
				t.Errorf("receipts are %+v", got)
			}
			return err
		}
		if err := send(3); err != nil {
			t.Fatal(err)
		}
		<-reached // they are being appended, and still count
		for range 2 {
			if err := send(3); err != nil {
				t.Fatal(err)
			}
		}
		code(t, send(2), tandem.CodeOverloaded)
		if err := send(1); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Queued != 10 || s.Appends != 0 {
			t.Errorf("the queue holds %+v", s)
		}
		bad := event("", "{")
		_, err = l.Accept(ctx, "t", []tandem.Event{bad})
		code(t, err, tandem.CodeInvalid)
		resume()
		<-watch.C

		_, resume = e.Stall()
		if err := send(5); tandem.CodeOf(err) == tandem.CodeOverloaded { // what is done may not be counted off yet
			t.Log("still full")
		}
		resume()
		closed := make(chan error)
		go func() { closed <- l.Close() }()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Queued != 0 || s.Dropped != 0 || s.Events < 10 {
			t.Errorf("after Close: %+v", s)
		}
		code(t, send(1), tandem.CodeUnavailable)
	})
}

// One event that the engine refuses takes none of its group with it.
func TestAcceptOfAConflict(t *testing.T) {
	e := memlog.New(memlog.Options{})
	l := open(t, e, eventlog.Options{})
	create(t, l, "t", 1)
	id := event("", "1")
	id.ID = "one"
	if _, err := l.Append(ctx, "t", []tandem.Event{id}); err != nil {
		t.Fatal(err)
	}
	reached, resume := e.Stall()
	accept := func(ev tandem.Event) {
		if _, err := l.Accept(ctx, "t", []tandem.Event{ev}); err != nil {
			t.Fatal(err)
		}
	}
	accept(event("", "1"))
	<-reached
	other := id
	other.Data = []byte("2")
	accept(event("", "3"))
	accept(other)
	accept(event("", "4"))
	resume()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Dropped != 1 || s.Events != 4 {
		t.Errorf("%+v, want 4 events and one dropped", s)
	}
}
