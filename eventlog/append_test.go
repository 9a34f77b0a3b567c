package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

var ctx = context.Background()

func code(t *testing.T, err error, want tandem.Code) *tandem.Error {
	t.Helper()
	if tandem.CodeOf(err) != want {
		t.Fatalf("the error is %v, want %s", err, want)
	}
	var e *tandem.Error
	errors.As(err, &e)
	return e
}

func pointers(err error) string {
	var all []string
	for _, f := range tandem.ProblemOf(err).Errors {
		all = append(all, f.Pointer)
	}
	return strings.Join(all, " ")
}

func TestAppendRefuses(t *testing.T) {
	l := open(t, memlog.New(memlog.Options{}), eventlog.Options{MaxEventBytes: 1000})
	create(t, l, "t", 2)
	good := event("s", "1")
	noType, noSource, badJSON, big := good, good, good, good
	noType.Type, noSource.Source, badJSON.Data = "", "", []byte("{")
	big.Data, big.DataContentType = make([]byte, 2000), "application/octet-stream"
	for _, c := range []struct {
		name     string
		topic    string
		events   []tandem.Event
		code     tandem.Code
		pointers string
	}{
		{"no topic", "none", []tandem.Event{good}, tandem.CodeNotFound, ""},
		{"one", "t", []tandem.Event{noType}, tandem.CodeInvalid, "/type"},
		{"of several", "t", []tandem.Event{good, noType, good, noSource, badJSON}, tandem.CodeInvalid, "/1/type /3/source /4/data"},
		{"large", "t", []tandem.Event{big}, tandem.CodeTooLarge, "/data"},
		{"large of several", "t", []tandem.Event{good, good, big}, tandem.CodeTooLarge, "/2/data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events := slices.Clone(c.events)
			_, err := l.Append(ctx, c.topic, events)
			code(t, err, c.code)
			if got := pointers(err); got != c.pointers {
				t.Errorf("pointers are %q, want %q", got, c.pointers)
			}
			if c.code == tandem.CodeTooLarge && (!strings.Contains(err.Error(), "2079 bytes") || !strings.Contains(err.Error(), "1000")) {
				t.Errorf("size and limit are not named: %v", err)
			}
		})
	}
	if s := l.Stats(); s.Events != 0 {
		t.Errorf("refused events were stored: %+v", s)
	}
}

func TestAppendCompletes(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t", 8)
		events := []tandem.Event{event("a", "1"), event("a", "2"), event("", "3")}
		events[1].ID = "mine"
		got, err := l.Append(ctx, "t", events)
		if err != nil {
			t.Fatal(err)
		}
		if events[0].ID == "" || events[0].ID == events[2].ID || events[1].ID != "mine" || events[0].Meta.Accepted.IsZero() {
			t.Errorf("completed to %+v", events)
		}
		for i, r := range got {
			if r.ID != events[i].ID || r.Topic != "t" || r.Cursor == "" || r.Duplicate == tandem.DuplicateYes {
				t.Errorf("receipt %d is %+v", i, r)
			}
		}
		if want := tandem.Partition("a", 8); got[0].Partition != want || got[1].Partition != want {
			t.Errorf("key a is in %d and %d, want %d", got[0].Partition, got[1].Partition, want)
		}
		all, _ := readAll(t, reader(t, l, tandem.Start{Earliest: true}, "t"), 10)
		if len(all) != 3 || !slices.ContainsFunc(all, func(r tandem.Record) bool { return r.ID == "mine" && string(r.Data) == "2" }) {
			t.Errorf("stored %+v", all)
		}
		if got, err := l.Append(ctx, "t", nil); err != nil || len(got) != 0 {
			t.Errorf("of no events: %v, %v", got, err)
		}
	})
}

func TestPartitionOfAnEvent(t *testing.T) {
	l := open(t, memlog.New(memlog.Options{}), eventlog.Options{})
	for name, key := range map[string]string{"subject": "subject", "path": "data.vehicle.id", "attr": "source", "ext": "tenant"} {
		if _, err := l.CreateTopic(ctx, tandem.Topic{Name: name, Key: key, Partitions: 64}); err != nil {
			t.Fatal(err)
		}
	}
	base := event("the subject", `{"vehicle":{"id":"v 7"}}`)
	base.Extensions = []tandem.Extension{{Name: "tenant", Value: "acme"}}
	without := event("the subject", `{"vehicle":7}`)
	explicit := base
	explicit.Meta.Key = "explicit"
	for _, c := range []struct {
		topic string
		event tandem.Event
		key   string
	}{
		{"subject", base, "the subject"}, {"path", base, "v 7"}, {"attr", base, "/test"}, {"ext", base, "acme"},
		{"path", without, "the subject"}, {"ext", without, "the subject"}, {"path", explicit, "explicit"}, {"subject", explicit, "explicit"},
	} {
		events := []tandem.Event{c.event}
		got, err := l.Append(ctx, c.topic, events)
		if err != nil {
			t.Fatal(err)
		}
		if want := tandem.Partition(c.key, 64); got[0].Partition != want || events[0].Ordering() != c.key {
			t.Errorf("%s: partition %d, key %q, want %d of %q", c.topic, got[0].Partition, events[0].Ordering(), want, c.key)
		}
	}
	used := map[int]int{}
	for range 64 {
		got, err := l.Append(ctx, "subject", []tandem.Event{event("", "1"), event("", "2")})
		if err != nil {
			t.Fatal(err)
		}
		used[got[0].Partition]++
	}
	if len(used) != 64 {
		t.Errorf("64 appends without key use %d of 64 partitions", len(used))
	}
}

func TestRepeats(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t", 8)
		first := event("s", "1")
		first.ID = "one"
		send := func(change func(*tandem.Event)) ([]tandem.Receipt, error) {
			ev := first
			ev.Meta.Accepted = ev.Meta.Accepted.AddDate(0, 0, 1)
			change(&ev)
			return l.Append(ctx, "t", []tandem.Event{event("x", "0"), ev})
		}
		was, err := send(func(*tandem.Event) {})
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*tandem.Event){
			"same": func(*tandem.Event) {}, "later": func(e *tandem.Event) { e.Time = "2026-01-01T00:00:00Z" },
			"traced": func(e *tandem.Event) { e.Meta.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
		} {
			got, err := send(change)
			if err != nil {
				t.Fatal(err)
			}
			want := was[1]
			want.Duplicate = tandem.DuplicateYes
			if l.Info().TotalOrder && got[1] != want || got[1].Offset != want.Offset || got[1].Duplicate != tandem.DuplicateYes || got[0].Duplicate == tandem.DuplicateYes {
				t.Errorf("%s: %+v, want %+v", name, got[1], want)
			}
		}
		for name, change := range map[string]func(*tandem.Event){
			"data": func(e *tandem.Event) { e.Data = []byte("2") }, "type": func(e *tandem.Event) { e.Type = "other" }, "subject": func(e *tandem.Event) { e.Subject = "other" },
			"extension":   func(e *tandem.Event) { e.Extensions = []tandem.Extension{{Name: "a", Value: "b"}} },
			"contenttype": func(e *tandem.Event) { e.DataContentType = "text/plain" },
		} {
			_, err := send(change)
			code(t, err, tandem.CodeConflict)
			if got := pointers(err); got != "/1/id" {
				t.Errorf("%s: pointers are %q", name, got)
			}
		}
		if _, err := send(func(e *tandem.Event) { e.Source = "/elsewhere" }); err != nil {
			t.Errorf("another source: %v", err)
		}
		if s := l.Stats(); s.Repeats != 3 || s.Events != 7 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestCommit(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "a", 2)
		create(t, l, "_internal", 1)
		fence, err := l.Own(ctx, "duty")
		if err != nil {
			t.Fatal(err)
		}
		tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "a", Event: event("1", "1")}, {Topic: "_internal", Event: event("2", "2")}, {Topic: "a", Event: event("3", "3")}},
			State: []driver.StateOp{{Key: "cursor/x", Value: []byte("1"), If: []byte{}}}, Fence: &fence}
		got, err := l.Commit(ctx, tx)
		if err != nil || len(got) != 3 || got[1].Topic != "_internal" || got[2].ID != tx.Events[2].Event.ID || got[2].ID == "" {
			t.Fatalf("%+v, %v", got, err)
		}
		_, err = l.Commit(ctx, tx) // the state is there now, and all have ids
		code(t, err, tandem.CodeConflict)
		tx.Events = []eventlog.TopicEvent{{Topic: "a", Event: event("", "{")}, {Topic: "none", Event: event("", "1")}}
		_, err = l.Commit(ctx, tx)
		code(t, err, tandem.CodeNotFound)
		if _, err := l.Own(ctx, "duty"); err != nil {
			t.Fatal(err)
		}
		_, err = l.Commit(ctx, &eventlog.Tx{State: []driver.StateOp{{Key: "k", Value: []byte("v")}}, Fence: &fence})
		code(t, err, tandem.CodePrecondition)
		if v, err := l.State(ctx, "cursor/x"); string(v) != "1" || err != nil {
			t.Errorf("state is %q, %v", v, err)
		}
		if v, err := l.State(ctx, "cursor/"); v != nil || err != nil {
			t.Errorf("no state is %q, %v", v, err)
		}
		if _, err := l.Commit(ctx, &eventlog.Tx{State: []driver.StateOp{{Key: "cursor/", Value: []byte{}}, {Key: "cursor\xff", Value: []byte("z")}, {Key: "cursor0", Value: []byte("y")}}}); err != nil {
			t.Fatal(err)
		}
		var keys []string
		if err := l.ScanState(ctx, "cursor/", func(k string, _ []byte) bool { keys = append(keys, k); return true }); err != nil || strings.Join(keys, " ") != "cursor/ cursor/x" {
			t.Errorf("keys with the prefix are %q, %v", keys, err)
		}
		if v, err := l.State(ctx, "cursor/"); v == nil || len(v) != 0 || err != nil {
			t.Errorf("empty state is %v, %v", v, err)
		}
		if n := len(readN(t, l, "a", "_internal")); n != 3 {
			t.Errorf("%d events are stored, want 3", n)
		}
	})
}

func readN(t testing.TB, l *eventlog.Log, patterns ...string) []tandem.Record {
	t.Helper()
	got, _ := readAll(t, reader(t, l, tandem.Start{Earliest: true}, patterns...), 1000)
	return got
}

func TestTopics(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		changes := 0
		stop := l.OnTopics(func() {
			changes++
			l.Topics() // may be asked
		})
		create(t, l, "b", 0)
		create(t, l, "a.x", 3)
		for _, bad := range []tandem.Topic{{Name: ""}, {Name: "A"}, {Name: "a*"}, {Name: "a..b"}, {Name: "a", Partitions: -1}, {Name: "a", Partitions: 1025},
			{Name: "a", Retention: 5}, {Name: "a", RetentionBytes: -1}, {Name: "a", Key: "data."}, {Name: "a", Key: "Bad Name"}, {Name: "a", Key: "vehicleId"},
			{Name: "a", Key: "data"}, {Name: "a", Key: "data.a..b"}, {Name: "__a"}} {
			_, err := l.CreateTopic(ctx, bad)
			code(t, err, tandem.CodeInvalid)
			if pointers(err) == "" {
				t.Errorf("%+v: the error names no field: %v", bad, err)
			}
		}
		_, err := l.CreateTopic(ctx, tandem.Topic{Name: "b"})
		code(t, err, tandem.CodeConflict)
		if all := l.Topics(); len(all) != 2 || all[0].Name != "a.x" || all[1].Partitions != tandem.DefaultPartitions || all[1].Retention != tandem.Duration(tandem.DefaultRetention) {
			t.Errorf("topics are %+v", all)
		}
		publish(t, l, "a.x", 9)
		info, err := l.Topic(ctx, "a.x")
		held := uint64(0)
		for _, b := range info.Bounds {
			held += b.EndSeq - b.StartSeq
		}
		if err != nil || len(info.Bounds) != 3 || held != 9 {
			t.Errorf("a.x is %+v, %v", info, err)
		}
		_, err = l.UpdateTopic(ctx, tandem.Topic{Name: "a.x", Partitions: 4})
		code(t, err, tandem.CodeConflict)
		_, err = l.UpdateTopic(ctx, tandem.Topic{Name: "none"})
		code(t, err, tandem.CodeNotFound)
		if info, err = l.UpdateTopic(ctx, tandem.Topic{Name: "a.x", Key: "source"}); err != nil || info.Partitions != 3 {
			t.Errorf("updated to %+v, %v", info, err)
		}
		if same, err := l.UpdateTopic(ctx, tandem.Topic{Name: "a.x", Key: "source"}); err != nil || same.Topic != info.Topic || same.ID != info.ID {
			t.Errorf("declared once more: %+v, %v", same, err) // and told to nobody
		}
		got, err := l.Append(ctx, "a.x", []tandem.Event{event("s", "1")})
		if err != nil || got[0].Partition != tandem.Partition("/test", 3) {
			t.Errorf("the new key rule is not followed: %+v, %v", got, err)
		}
		if err := l.DeleteTopic(ctx, "b"); err != nil {
			t.Fatal(err)
		}
		code(t, l.DeleteTopic(ctx, "b"), tandem.CodeNotFound)
		_, err = l.Topic(ctx, "b")
		code(t, err, tandem.CodeNotFound)
		stop()
		create(t, l, "c", 1)
		if changes != 4 {
			t.Errorf("%d changes were told, want 4", changes)
		}
	})
}

func TestAutoCreate(t *testing.T) {
	l := open(t, memlog.New(memlog.Options{}), eventlog.Options{AutoCreate: true})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if _, err := l.Append(ctx, fmt.Sprint("t", i%3), []tandem.Event{event("", "1")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all := l.Topics(); len(all) != 3 || len(readN(t, l, "*")) != 16 {
		t.Errorf("topics are %+v", all)
	}
	for _, bad := range []string{"_mine", "A", ""} {
		_, err := l.Append(ctx, bad, []tandem.Event{event("", "1")})
		code(t, err, tandem.CodeInvalid)
	}
	if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "_ours"}); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(ctx, "_ours", []tandem.Event{event("", "1")}); err != nil {
		t.Error(err)
	}
	if n := len(readN(t, l, "**")); n != 16 {
		t.Errorf("a pattern sees %d events, want the 16 of the users' topics", n)
	}
}
