package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// outlives is an engine that outlives its log.
type outlives struct{ driver.Driver }

func (outlives) Close() error { return nil }

// lateLog opens a log over an engine that leaves repeats to whoever reads.
func lateLog(t testing.TB, e *memlog.Engine, opts eventlog.Options) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(context.Background(), outlives{e}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func lateEngine() *memlog.Engine {
	return memlog.New(memlog.Options{Partitioned: true, LateDedup: true})
}

func given(id, subject, data string) []tandem.Event {
	return []tandem.Event{{ID: id, Source: "/s", Type: "t", Subject: subject, Data: []byte(data)}}
}

// datas reads a topic from the start, in pages of a size, and returns the data of its events.
func datas(t testing.TB, l *eventlog.Log, topic string, page int) (all []string) {
	t.Helper()
	sel, err := eventlog.Select(topic)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.NewReader(context.Background(), sel, tandem.Start{Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		p, err := r.Read(context.Background(), tandem.Filter{}, page)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Events {
			all = append(all, string(p.Events[i].Data))
		}
		if len(p.Events) == 0 && !r.More() {
			return all
		}
	}
}

// TestRepeatsAreGivenToNobody: where the engine stores repeats, readers are given each event once, all the same one, also after a restart
// and when what was remembered is lost; other data under an id is counted and logged, once.
func TestRepeatsAreGivenToNobody(t *testing.T) {
	var logged strings.Builder
	opts := eventlog.Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	e := lateEngine()
	l := lateLog(t, e, opts)
	if _, err := l.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	for i, ev := range [][]tandem.Event{given("1", "k", "1"), given("2", "k", "2"), given("1", "k", "1"), given("1", "k", `"other"`), given("2", "k", `"another"`),
		given("", "k", "3"), given("2", "k", "2")} {
		receipts, err := l.Append(t.Context(), "a", ev)
		if err != nil {
			t.Fatal(err)
		}
		want := tandem.DuplicateUnknown
		if i == 5 { // its id is Tandem's
			want = tandem.DuplicateNo
		}
		if receipts[0].Duplicate != want {
			t.Errorf("receipt %d: %+v", i, receipts[0])
		}
	}
	want := []string{"1", "2", "3"}
	for _, page := range []int{1, 2, 100} {
		if got := datas(t, l, "a", page); !slices.Equal(got, want) {
			t.Errorf("read in pages of %d: %q", page, got)
		}
	}
	recs, err := l.ReadPartition(t.Context(), infoOf(t, l, "a").ID, 0, 2, 100, nil)
	if err != nil || len(recs) != 1 || string(recs[0].Data) != "3" {
		t.Errorf("read from the middle: %+v, %v", recs, err)
	}
	if s := l.Stats(); s.Repeats != 4 || s.Conflicts != 2 {
		t.Errorf("%d repeats and %d conflicts are counted", s.Repeats, s.Conflicts)
	}
	if n := strings.Count(logged.String(), "other data"); n != 1 || !strings.Contains(logged.String(), "position=a/0/3") {
		t.Errorf("logged %d times: %s", n, logged.String())
	}
	for _, dir := range []string{opts.Dir, ""} { // what is remembered is there, and it is not
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = lateLog(t, e, eventlog.Options{Dir: dir, Logger: opts.Logger})
		if _, err := l.Append(t.Context(), "a", given("1", "k", "1")); err != nil {
			t.Fatal(err)
		}
		// Only what comes from now on is asked for; what came before is looked at all the same.
		b, err := l.Bounds(t.Context(), infoOf(t, l, "a").ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		recs, err := l.ReadPartition(t.Context(), infoOf(t, l, "a").ID, 0, b.End-1, 100, nil)
		if err != nil || len(recs) != 0 {
			t.Errorf("after opening again, %q: %+v, %v", dir, recs, err)
		}
		if got := datas(t, l, "a", 3); !slices.Equal(got, want) {
			t.Errorf("after opening again, %q: %q", dir, got)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRepeatOfWhatWasRead: what a reader has seen is recognised when it is published again: the first receipt, and 409 for other data. It is
// not stored again, and what is beside it is.
func TestRepeatOfWhatWasRead(t *testing.T) {
	now := time.Now()
	e := memlog.New(memlog.Options{Partitioned: true, LateDedup: true, Now: func() time.Time { return now }})
	l := lateLog(t, e, eventlog.Options{Now: func() time.Time { return now }})
	defer l.Close()
	if _, err := l.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: 4, Retention: tandem.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	first, err := l.Append(t.Context(), "a", given("1", "k", "1"))
	if err != nil {
		t.Fatal(err)
	}
	datas(t, l, "a", 10)
	again, err := l.Append(t.Context(), "a", given("1", "k", "1"))
	if err != nil || again[0].Duplicate != tandem.DuplicateYes || again[0].Offset != first[0].Offset || again[0].Partition != first[0].Partition {
		t.Errorf("%+v, %v; the first is %+v", again, err, first)
	}
	var failed *tandem.Error
	if _, err := l.Append(t.Context(), "a", given("1", "k", "2")); tandem.CodeOf(err) != tandem.CodeConflict || !errors.As(err, &failed) {
		t.Errorf("other data: %v", err)
	}
	mixed := append(given("2", "k", "2"), given("1", "k", "1")...)
	mixed = append(mixed, given("", "k", "3")...)
	receipts, err := l.Commit(t.Context(), &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "a", Event: mixed[0]}, {Topic: "a", Event: mixed[1]}, {Topic: "a", Event: mixed[2]}},
		State: []driver.StateOp{{Key: "k", Value: []byte("v"), If: []byte{}}}})
	if err != nil || receipts[1].Duplicate != tandem.DuplicateYes || receipts[1].Offset != first[0].Offset || receipts[0].Duplicate != tandem.DuplicateUnknown ||
		receipts[2].Duplicate != tandem.DuplicateNo || receipts[2].Offset <= receipts[0].Offset {
		t.Errorf("%+v, %v", receipts, err)
	}
	// What the engine refuses is told by its index among all.
	tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "a", Event: mixed[1]}, {Topic: "a", Event: given("", "k", "4")[0]}}, State: []driver.StateOp{{Key: "k", Value: []byte("w"), If: []byte{}}}}
	if _, err := l.Commit(t.Context(), tx); tandem.CodeOf(err) != tandem.CodeConflict {
		t.Errorf("a state record that has another value: %v", err)
	}
	if got := datas(t, l, "a", 10); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("stored are %q", got)
	}
	now = now.Add(3 * time.Hour)
	e.RunRetention()
	gone, err := l.Append(t.Context(), "a", given("1", "k", "2"))
	if err != nil || gone[0].Duplicate != tandem.DuplicateUnknown {
		t.Errorf("after retention: %+v, %v", gone, err)
	}
}

func infoOf(t testing.TB, l *eventlog.Log, topic string) eventlog.TopicInfo {
	t.Helper()
	info, err := l.Topic(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestRepeatsModel: whatever is sent again, to whichever partition, whoever reads when, and whether what was remembered is lost: every reader is
// given every id, and as long as an id keeps its partition and what is remembered is kept, once.
func TestRepeatsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		opts := eventlog.Options{Dir: dir, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)}
		e := memlog.New(memlog.Options{Partitioned: true, LateDedup: true, Now: opts.Now})
		l := lateLog(t, e, opts)
		defer func() { l.Close() }()
		const parts = 3
		if _, err := l.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: parts, Retention: -1}); err != nil {
			rt.Fatal(err)
		}
		id := infoOf(t, l, "a").ID
		type reader struct {
			next [parts]uint64
			got  map[string]int
		}
		readers := []*reader{{got: map[string]int{}}, {got: map[string]int{}}, {got: map[string]int{}}}
		sent, moved, lost := map[string]bool{}, map[string]string{}, false
		read := func(r *reader, part, most int) int {
			recs, err := l.ReadPartition(t.Context(), id, part, r.next[part], most, nil)
			if err != nil {
				rt.Fatal(err)
			}
			for i := range recs {
				r.got[recs[i].ID]++
				r.next[part] = recs[i].Position.Offset + 1
			}
			return len(recs)
		}
		several := map[string]bool{} // ids that were sent to more than one partition
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				name := fmt.Sprint(rapid.IntRange(0, 15).Draw(rt, "id"))
				subject := name
				if rapid.IntRange(0, 4).Draw(rt, "moved") == 0 {
					subject = fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "subject"))
				}
				now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "ms")) * time.Millisecond)
				receipts, err := l.Append(t.Context(), "a", given(name, subject, "1"))
				if tandem.CodeOf(err) == tandem.CodeConflict && sent[name] {
					return // it was read before, with another subject
				}
				if err != nil {
					rt.Fatal(err)
				}
				if receipts[0].Duplicate == tandem.DuplicateYes {
					if !sent[name] {
						rt.Fatalf("%s is called a repeat, and was never sent", name)
					}
					return
				}
				sent[name] = true
				if first, ok := moved[name]; ok && tandem.Partition(first, parts) != tandem.Partition(subject, parts) {
					several[name] = true
				} else if !ok {
					moved[name] = subject
				}
			},
			"read": func(rt *rapid.T) {
				r := readers[rapid.IntRange(0, len(readers)-1).Draw(rt, "reader")]
				read(r, rapid.IntRange(0, parts-1).Draw(rt, "partition"), rapid.IntRange(1, 5).Draw(rt, "most"))
			},
			"reopen": func(rt *rapid.T) {
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
				if rapid.IntRange(0, 3).Draw(rt, "lost") == 0 {
					lost = true
					if opts.Dir, err = os.MkdirTemp(t.TempDir(), ""); err != nil {
						rt.Fatal(err)
					}
				}
				l = lateLog(t, e, opts)
			},
		})
		for n, r := range readers {
			for part := range parts {
				for read(r, part, 100) > 0 {
				}
			}
			for _, name := range slices.Sorted(maps.Keys(sent)) {
				if c := r.got[name]; c < 1 || c > 1 && !several[name] {
					rt.Errorf("reader %d was given %s %d times (sent to several partitions: %v; lost: %v)", n, name, c, several[name], lost)
				}
			}
		}
	})
}
