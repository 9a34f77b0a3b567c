package engines

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// TestNATSLostMessage: one message that is lost on the way, of a consumer or of an answer to a direct get, is noticed. It is looked for in
// state, where a sequence that is missing is nothing strange.
func TestNATSLostMessage(t *testing.T) {
	p := natsTCP(t)
	first := openNATS(t, natslog.Options{URL: p.url()})
	for i := 0; i < 6000; i += 1000 {
		ops := make([]driver.StateOp, 1000)
		for j := range ops {
			ops[j] = driver.StateOp{Key: fmt.Sprint("k", i+j), Value: []byte("1")}
		}
		if err := putNATSState(first, nil, ops...); err != nil {
			t.Fatal(err)
		}
	}
	want := natsStates(t, first)
	for name, is := range map[string]func(line, message string) bool{
		"consumer":   func(line, _ string) bool { return strings.Contains(line, " $JS.ACK.") },
		"direct get": func(_, message string) bool { return strings.Contains(message, "\r\nNats-Last-Sequence: ") },
	} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int64
			p.losing(func(line, message string) bool { return is(line, message) && seen.Add(1) == 100 })
			var e *natslog.Engine
			natsUntil(t, "the log is open", func() (ok bool) {
				var err error
				e, err = natslog.Open(t.Context(), natslog.Options{URL: p.url()})
				return err == nil
			})
			defer e.Close()
			if seen.Load() < 100 {
				t.Fatalf("nothing was lost of %d messages", seen.Load())
			}
			if got := natsStates(t, e); !maps.Equal(got, want) {
				t.Errorf("%d records of state instead of %d", len(got), len(want))
			}
		})
	}
}

// TestNATSMirrorWithoutTheStart: a mirror answers direct gets too. One that does not have the first events removes them for nobody; what the
// stream itself has no more is gone.
func TestNATSMirrorWithoutTheStart(t *testing.T) {
	f := fillNATS(t, natslog.Options{})
	m, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "mirror", Mirror: &jetstream.StreamSource{Name: f.stream, OptStartSeq: 5000}, AllowDirect: true, MirrorDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	natsUntil(t, "the mirror answers", func() bool {
		info, err := m.Info(t.Context())
		if err != nil || info.State.Msgs == 0 || info.Mirror == nil || info.Mirror.Lag > 0 {
			return false
		}
		s, err := f.js.Stream(t.Context(), f.stream)
		if err != nil {
			return false
		}
		_, err = s.GetMsg(t.Context(), 1)
		return err != nil // it was the mirror that was asked
	})
	for from := uint64(1); from < 2000; from += 100 { // each place is new, and begins with a direct get
		got, err := f.engine.Read(t.Context(), f.topic.ID, 0, from, 10, 1<<20, nil)
		if err != nil || len(got) == 0 || got[0].Position.Offset != from {
			t.Fatalf("%d events from %d on, %v", len(got), from, err)
		}
	}
	if b, _ := f.engine.Bounds(t.Context(), f.topic.ID, 0); b.Start != 1 || b.Removed != 0 {
		t.Errorf("nothing was removed, and the bounds are %+v", b)
	}
	s, err := f.js.Stream(t.Context(), f.stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(3001)); err != nil {
		t.Fatal(err)
	}
	got, err := f.engine.Read(t.Context(), f.topic.ID, 0, 1, 100, 1<<20, nil)
	if err != nil || len(got) == 0 || got[0].Position.Offset != 3001 {
		t.Errorf("%d events of what is left, %v", len(got), err)
	}
	if b, _ := f.engine.Bounds(t.Context(), f.topic.ID, 0); b.Start != 3001 || b.Removed != 3001 {
		t.Errorf("3000 events were removed, and the bounds are %+v", b)
	}
}

// TestNATSLargeEvents: no page asks again after an event that was all it may have; and where events are larger than a consumer is asked for,
// none is made at every other page.
func TestNATSLargeEvents(t *testing.T) {
	s := natsServer(t, nil)
	nc, js := natsClient(t, s)
	var created, infos atomic.Int64
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", func(*nats.Msg) { created.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.API", func(m *nats.Msg) {
		var call struct{ Subject string }
		if json.Unmarshal(m.Data, &call) == nil && strings.HasPrefix(call.Subject, "$JS.API.STREAM.INFO.") {
			infos.Add(1)
		}
	}); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	e := openNATS(t, natslog.Options{InProcess: s, CacheBytes: -1})
	f := natsFilled{engine: e, topic: createNATSTopic(t, e, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})}
	const pages = 32 // of one event each
	for i := range pages {
		f.fill(t, 1, `"`+strings.Repeat("x", []int{20_000, 600_000}[i/(pages/2)])+`"`)
	}
	f.fill(t, 5000, "1")
	stream, err := js.StreamNameBySubject(t.Context(), "tandem.events.t.0")
	if err != nil {
		t.Fatal(err)
	}
	before := infos.Load()
	for next := range uint64(pages) {
		got, err := e.Read(t.Context(), f.topic.ID, 0, next+1, 10, 1000, nil)
		if err != nil || len(got) != 1 || got[0].Position.Offset != next+1 {
			t.Fatalf("%d events at %d, %v", len(got), next+1, err)
		}
	}
	if _, err := js.Stream(t.Context(), stream); err != nil { // the last one that is counted
		t.Fatal(err)
	}
	natsUntil(t, "requests are counted", func() bool { return infos.Load() > before })
	if n := created.Load(); n < 1 || n > pages/8 {
		t.Errorf("%d consumers were made for %d pages", n, pages)
	}
	if n := infos.Load() - before; n != 1 {
		t.Errorf("%d pages asked %d times for the state of the stream", pages, n-1)
	}
}
