package eventlog_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// counting counts appends of an engine.
type counting struct {
	*memlog.Engine
	appends atomic.Int64
}

func (c *counting) Append(ctx context.Context, b *driver.Batch) error {
	c.appends.Add(1)
	return c.Engine.Append(ctx, b)
}

// outcomes says what became of each event, by its code or, if it was stored, as "ok" or "again".
func outcomes(stored []tandem.Stored) (all []string) {
	for _, s := range stored {
		switch {
		case s.Err != nil:
			all = append(all, string(tandem.CodeOf(s.Err)))
		case s.Receipt.Duplicate == tandem.DuplicateYes:
			all = append(all, "again")
		default:
			all = append(all, "ok")
		}
	}
	return all
}

func TestAppendEach(t *testing.T) {
	e := &counting{Engine: memlog.New(memlog.Options{})}
	l := open(t, e, eventlog.Options{MaxEventBytes: 1000})
	create(t, l, "t", 4)
	withID := func(id, data string) tandem.Event {
		ev := event("k", data)
		ev.ID = id
		return ev
	}
	noType, big := withID("x", "1"), withID("y", "1")
	noType.Type, big.Data, big.DataContentType = "", make([]byte, 2000), "application/octet-stream"
	for _, c := range []struct {
		name    string
		events  []tandem.Event
		want    string
		appends int64
	}{
		{"all are right", []tandem.Event{withID("a", "1"), withID("b", "2"), withID("c", "3")}, "[ok ok ok]", 1},
		{"one is there", []tandem.Event{withID("d", "4"), withID("b", "2")}, "[ok again]", 1},
		{"each for itself", []tandem.Event{withID("e", "5"), noType, withID("f", "6"), big, withID("b", "9"), withID("g", "7")}, "[ok invalid ok too-large conflict ok]", 4},
		{"the engine knows better", []tandem.Event{withID("h", "8"), withID("b", "9"), withID("i", "9"), withID("h", "8")}, "[ok conflict ok again]", 5},
		{"all are wrong", []tandem.Event{noType, big}, "[invalid too-large]", 0},
		{"none", nil, "[]", 0},
	} {
		before := e.appends.Load()
		got := l.AppendEach(ctx, "t", c.events)
		if text := fmt.Sprint(outcomes(got)); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		if n := e.appends.Load() - before; n != c.appends {
			t.Errorf("%s: %d appends, want %d", c.name, n, c.appends)
		}
		for i, s := range got {
			if s.Err == nil && (s.Receipt.ID != c.events[i].ID || s.Receipt.Cursor == "") {
				t.Errorf("%s: event %d has the receipt %+v", c.name, i, s.Receipt)
			}
			if tandem.CodeOf(s.Err) == tandem.CodeInvalid && pointers(s.Err) != "/type" {
				t.Errorf("%s: pointers %q, which are not those of one event", c.name, pointers(s.Err))
			}
		}
	}
	events, _ := readAll(t, reader(t, l, tandem.Start{Earliest: true}, "t"), 100)
	order := ""
	for _, ev := range events {
		order += ev.ID
	}
	if order != "abcdefghi" {
		t.Errorf("stored in the order %s", order)
	}
}

// TestAppendEachAsksOnce: what is the fault of no event is not tried again for each.
func TestAppendEachAsksOnce(t *testing.T) {
	e := &counting{Engine: memlog.New(memlog.Options{})}
	l := open(t, e, eventlog.Options{})
	create(t, l, "t", 1)
	three := func() []tandem.Event { return []tandem.Event{event("a", "1"), event("b", "2"), event("c", "3")} }
	e.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full"))
	got := l.AppendEach(ctx, "t", three())
	if text := fmt.Sprint(outcomes(got)); text != "[unavailable unavailable unavailable]" || e.appends.Load() != 1 {
		t.Errorf("%s with %d appends", text, e.appends.Load())
	}
	e.Fail(nil)
	if text := fmt.Sprint(outcomes(l.AppendEach(ctx, "nowhere", three()))); text != "[not-found not-found not-found]" || e.appends.Load() != 1 {
		t.Errorf("a topic that is not there: %s with %d appends", text, e.appends.Load())
	}
}
