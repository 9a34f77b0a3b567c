package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// ending reports whether the stream of a principal is at its end.
func (h *harness) ending(principal string) bool {
	p := h.streams.Present(tandem.StreamQuery{Principal: principal, Limit: 1})
	return len(p.Streams) == 0 || p.Streams[0].State == "ending"
}

// numbered publishes n events to a whose data is [number, padding], so many at a time, of one key.
func (h *harness) numbered(from, n, together, pad int) {
	for i := from; i < from+n; {
		batch := make([]tandem.Event, min(together, from+n-i))
		for j := range batch {
			batch[j] = tandem.Event{Source: "/s", Type: "t", Subject: "k", Data: fmt.Appendf(nil, `[%d,%q]`, i, strings.Repeat("x", pad))}
			i++
		}
		if _, err := h.log.Append(context.Background(), "a", batch); err != nil {
			h.t.Error(err)
		}
	}
}

// number is that of an event of numbered.
func number(t testing.TB, m message) int {
	t.Helper()
	e, err := tandem.ParseEventJSON([]byte(m.data))
	if err != nil {
		t.Fatal(err)
	}
	var data []any
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	return int(data[0].(float64))
}

// TestDrainLosesNothing: a stop beside a client that is slow, while events go on to be stored: it is told no place that it has not had all before.
func TestDrainLosesNothing(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{}, narrow)
	s := h.stuck("topic=a&principal=slow")
	s.next()
	total := 0
	for ; h.streams.WaitingBytes() < 100<<10; total++ {
		h.numbered(total, 1, 1, 10<<10)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = h.streams.Drain(context.Background())
	}()
	for ; !h.ending("slow"); total++ {
		h.numbered(total, 1, 1, 10<<10)
	}
	h.numbered(total, 3, 1, 10<<10)
	time.Sleep(50 * time.Millisecond) // for the writers to hand it over, which they must not
	for next := 0; ; {
		m, ok := s.next()
		if !ok || m.event == "reconnect" {
			break
		}
		if m.data == "" {
			continue
		}
		if n := number(t, m); n != next {
			t.Fatalf("%d, want %d", n, next)
		}
		next++
	}
	<-drained
}

// TestDisconnectLosesNothing: a client that is disconnected because it is slow has had everything up to the place that it is told, and
// nothing behind it.
func TestDisconnectLosesNothing(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{WriteTimeout: 6 * time.Second, Heartbeat: time.Second}, narrow) // slow for a second
	s := h.stuck("topic=a&slow=disconnect&from=earliest&principal=slow")
	const ahead = 100
	h.numbered(0, ahead, 10, 10<<10)
	if first := s.skip(func(m message) bool { return m.data != "" }); number(t, first) != 0 { // and reads no more for now
		t.Fatalf("began with %d", number(t, first))
	}
	total := ahead
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for !h.ending("slow") {
		<-pace.C
		h.numbered(total, 1, 1, 10<<10)
		if total++; total > 10_000 {
			t.Fatal("it is still open")
		}
	}
	next, at := 1, ""
	for {
		m, ok := s.next()
		if !ok || m.event == "reconnect" {
			if !ok || m.data != `{"reason":"slow"}` || at != "" && m.id != at {
				t.Errorf("it ends with %+v at %s", m, at)
			}
			break
		}
		if m.data == "" {
			continue
		}
		if at = m.id; number(t, m) != next {
			t.Fatalf("%d, want %d", number(t, m), next)
		}
		next++
	}
	c := h.open("topic=a", "Last-Event-ID", s.lastID)
	for ; next < total; next++ {
		if got := number(t, c.skip(func(m message) bool { return m.data != "" })); got != next {
			t.Fatalf("%d, want %d", got, next)
		}
	}
}
