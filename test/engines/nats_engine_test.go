package engines

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// natsClient is a client of its own of a server in this process.
func natsClient(t testing.TB, s *server.Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func createNATSTopic(t testing.TB, e *natslog.Engine, spec tandem.Topic) driver.Topic {
	t.Helper()
	topic, err := e.CreateTopic(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func putNATSState(e *natslog.Engine, fence *driver.Fence, ops ...driver.StateOp) error {
	return e.Append(context.Background(), &driver.Batch{State: ops, Fence: fence})
}

func natsStates(t testing.TB, e *natslog.Engine) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := e.ScanState(t.Context(), "", "", func(k string, v []byte) bool { all[k] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestNATSTakeOver: a second process has the log at once, and the first can write nothing any more and says why.
func TestNATSTakeOver(t *testing.T) {
	s := natsServer(t, nil)
	first := openNATS(t, natslog.Options{InProcess: s})
	topic := createNATSTopic(t, first, tandem.Topic{Name: "t", Partitions: 1})
	fence, err := first.Own(t.Context(), "duty")
	if err != nil {
		t.Fatal(err)
	}
	if err := putNATSState(first, &fence, driver.StateOp{Key: "a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	second := openNATS(t, natslog.Options{InProcess: s})
	if got := natsStates(t, second); got["a"] != "1" {
		t.Errorf("the second process has the state %v", got)
	}
	// Whether it has noticed or not, the server refuses what it writes.
	err = putNATSState(first, &fence, driver.StateOp{Key: "a", Value: []byte("old")})
	if tandem.CodeOf(err) != tandem.CodeUnavailable || !strings.Contains(err.Error(), "another process") {
		t.Errorf("the first process writes state: %v", err)
	}
	natsUntil(t, "the first process notices", func() bool {
		err := first.Health()
		return err != nil && strings.Contains(err.Error(), "another process")
	})
	err = first.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: natsEvent("1", "1")}}})
	if tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Errorf("the first process appends: %v", err)
	}
	if _, err := first.CreateTopic(t.Context(), tandem.Topic{Name: "u", Partitions: 1}); tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Errorf("the first process creates a topic: %v", err)
	}
	owned, err := second.Own(t.Context(), "duty")
	if err != nil || owned.Epoch <= fence.Epoch {
		t.Fatalf("%+v, %v after %+v", owned, err, fence)
	}
	if err := putNATSState(second, &fence, driver.StateOp{Key: "a", Value: []byte("stale")}); tandem.CodeOf(err) != tandem.CodePrecondition {
		t.Errorf("a stale fence: %v", err)
	}
	if err := putNATSState(second, &owned, driver.StateOp{Key: "a", Value: []byte("2"), If: []byte("1")}); err != nil {
		t.Error(err)
	}
	if second.Health() != nil {
		t.Error(second.Health())
	}
}

// TestNATSRaceForTheLog: of two processes that write at once, what the one who lost was told is stored, and nothing else of it.
func TestNATSRaceForTheLog(t *testing.T) {
	s := natsServer(t, nil)
	first := openNATS(t, natslog.Options{InProcess: s})
	var mu sync.Mutex
	confirmed := map[string]bool{}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d", w, i)
				if err := putNATSState(first, nil, driver.StateOp{Key: key, Value: []byte("1"), If: []byte{}}, driver.StateOp{Key: "also-" + key, Value: []byte("1")}); err != nil {
					return
				}
				mu.Lock()
				confirmed[key] = true
				mu.Unlock()
			}
		})
	}
	natsUntil(t, "some state is written", func() bool { mu.Lock(); defer mu.Unlock(); return len(confirmed) > 50 })
	second := openNATS(t, natslog.Options{InProcess: s})
	wg.Wait()
	got := natsStates(t, second)
	for key := range confirmed {
		if got[key] == "" {
			t.Errorf("%s was confirmed and is not there", key)
		}
	}
	for key := range got {
		if !strings.HasPrefix(key, "also-") && got["also-"+key] == "" {
			t.Errorf("half of a batch of state is there: %s", key)
		}
	}
}

// TestNATSState: values larger than a message, deletions that leave nothing behind, and an index that is lost, behind, or away for too long.
func TestNATSState(t *testing.T) {
	s := natsServer(t, nil)
	_, js := natsClient(t, s)
	dir := t.TempDir()
	o := natslog.Options{InProcess: s, Dir: dir, DeletedAge: 2 * time.Second, RefreshEvery: 50 * time.Millisecond}
	e := openNATS(t, o)
	big := func(n int, c byte) []byte { return bytes.Repeat([]byte{c}, n) }
	want := map[string]string{}
	put := func(key string, v []byte) {
		t.Helper()
		if err := putNATSState(e, nil, driver.StateOp{Key: key, Value: v}); err != nil {
			t.Fatal(err)
		}
		if want[key] = string(v); v == nil {
			delete(want, key)
		}
	}
	check := func(what string) {
		t.Helper()
		got := natsStates(t, e)
		if len(got) != len(want) {
			t.Errorf("%s: %d records, want %d", what, len(got), len(want))
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s has %d bytes, want %d", what, k, len(got[k]), len(v))
			}
		}
	}
	reopen := func(dir string) {
		t.Helper()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		o.Dir = dir
		e = openNATS(t, o)
	}
	put("big", big(3<<20, 'a'))
	put("small", []byte("x"))
	put("shrinks", big(5<<20, 'b'))
	put("shrinks", big(2<<20, 'c'))
	put("goes", big(3<<20, 'd'))
	put("goes", nil)
	for i := range 100 {
		put(fmt.Sprint("gone-", i), []byte("1"))
	}
	check("written")
	reopen(t.TempDir())
	check("with a new index")
	reopen(t.TempDir())
	for i := range 100 {
		put(fmt.Sprint("gone-", i), nil)
	}
	check("deleted")
	reopen(dir) // an index that has not seen the deletions
	check("with the first index")
	for i := range 100 {
		put(fmt.Sprint("gone-", i), []byte("again"))
	}
	reopen(t.TempDir())
	for i := range 100 {
		put(fmt.Sprint("gone-", i), nil)
	}
	stream, err := js.Stream(t.Context(), "tandem_state")
	if err != nil {
		t.Fatal(err)
	}
	natsUntil(t, "the notes of deletions are gone", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 4+1+3+1 // with the pieces, and the process
	})
	reopen(dir) // its deletions are not in the stream any more
	check("with an index that was away for too long")
}

// TestNATSRetention: the server removes by age and size, and a reader is told of it whatever the engine knows.
func TestNATSRetention(t *testing.T) {
	s := natsServer(t, nil)
	e := openNATS(t, natslog.Options{InProcess: s, RefreshEvery: 50 * time.Millisecond})
	log, err := eventlog.Open(t.Context(), e, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	short := createNATSTopic(t, e, tandem.Topic{Name: "short", Partitions: 1, Retention: tandem.Duration(time.Hour)})
	fill := func(topic driver.Topic, n, size int) {
		t.Helper()
		for i := range n {
			if err := e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: natsEvent(fmt.Sprint(i), strings.Repeat("1", size))}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(short, 20, 1)
	if b, _ := e.Bounds(t.Context(), short.ID, 0); b.Start != 1 || b.End != 21 || b.Removed != 0 {
		t.Errorf("before its time: %+v", b)
	}
	if _, err := e.UpdateTopic(t.Context(), tandem.Topic{Name: "short", Partitions: 1, Retention: tandem.Duration(500 * time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	var b driver.Bounds
	natsUntil(t, "all is removed by age", func() bool { b, _ = e.Bounds(t.Context(), short.ID, 0); return b.Start == 21 })
	if want := (driver.Bounds{Start: 21, End: 21, StartSeq: 21, EndSeq: 21, Removed: 21}); b != want {
		t.Errorf("bounds %+v, want %+v", b, want)
	}
	if got, err := e.Read(t.Context(), short.ID, 0, 3, 10, 1<<20, nil); err != nil || len(got) > 0 {
		t.Errorf("read %d removed events, %v", len(got), err)
	}

	small := createNATSTopic(t, e, tandem.Topic{Name: "small", Partitions: 2, Retention: -1, RetentionBytes: 128 << 10})
	fill(small, 100, 2000)
	natsUntil(t, "the first are removed by size", func() bool { b, _ = e.Bounds(t.Context(), small.ID, 0); return b.Removed > 0 })
	if b.Start < 50 || b.Start != b.Removed || b.Bytes > 64<<10 {
		t.Errorf("bounds %+v with room for about 28 of 100 events", b)
	}

	// An engine that does not look again in time notices when it reads.
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	e = openNATS(t, natslog.Options{InProcess: s, RefreshEvery: time.Hour, CacheBytes: -1})
	fill(small, 10, 2000)
	if log, err = eventlog.Open(t.Context(), e, eventlog.Options{}); err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	sel, err := eventlog.Select("small")
	if err != nil {
		t.Fatal(err)
	}
	r, err := log.NewReader(t.Context(), sel, tandem.Start{Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Read(t.Context(), tandem.Filter{}, 3)
	if err != nil || len(p.Events) != 3 {
		t.Fatalf("%d events, %v", len(p.Events), err)
	}
	fill(small, 100, 2000)
	p, err = r.Read(t.Context(), tandem.Filter{}, 1000)
	for n := 0; err == nil && p.Gap == nil && len(p.Events) > 0 && n < 10; n++ {
		p, err = r.Read(t.Context(), tandem.Filter{}, 1000)
	}
	if err != nil || p.Gap == nil || p.Gap.Reason != tandem.GapRetention {
		t.Errorf("a reader that was overtaken has the gap %+v, %v", p.Gap, err)
	}
}

// TestNATSOrphans: streams of a creation or a deletion that did not end are removed, and are in nobody's way.
func TestNATSOrphans(t *testing.T) {
	s := natsServer(t, nil)
	_, js := natsClient(t, s)
	e := openNATS(t, natslog.Options{InProcess: s})
	createNATSTopic(t, e, tandem.Topic{Name: "kept", Partitions: 1})
	createNATSTopic(t, e, tandem.Topic{Name: "half", Partitions: 2})
	st, err := js.StreamNameBySubject(t.Context(), "tandem.events.half.1")
	if err != nil {
		t.Fatal(err)
	}
	half, err := js.Stream(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteTopic(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	leave := func() {
		t.Helper()
		if _, err := js.CreateStream(t.Context(), half.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (all []string) {
		l := js.StreamNames(t.Context())
		for n := range l.Name() {
			all = append(all, n)
		}
		return all
	}
	leave()
	createNATSTopic(t, e, tandem.Topic{Name: "half", Partitions: 2})
	if n := len(names()); n != 4 {
		t.Errorf("with what was in the way there are the streams %v", names())
	}
	if err := e.DeleteTopic(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	openNATS(t, natslog.Options{InProcess: s})
	if n := len(names()); n != 2 {
		t.Errorf("after opening again there are the streams %v", names())
	}
}

// TestNATSLimits: what the server cannot take is refused with the limit named.
func TestNATSLimits(t *testing.T) {
	s := natsServer(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	e := openNATS(t, natslog.Options{InProcess: s})
	topic := createNATSTopic(t, e, tandem.Topic{Name: "t", Partitions: 1})
	if n := e.Info().MaxEventBytes; n != 60<<10 {
		t.Errorf("MaxEventBytes is %d", n)
	}
	put := func(ev *tandem.Event) error {
		return e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: ev}}})
	}
	fits := natsEvent("1", "1")
	fits.Data = make([]byte, e.Info().MaxEventBytes-100)
	if err := put(fits); err != nil {
		t.Error(err)
	}
	large := natsEvent("2", "1")
	large.Data = make([]byte, 64<<10)
	if err := put(large); tandem.CodeOf(err) != tandem.CodeTooLarge {
		t.Errorf("a large event: %v", err)
	}
	wide := natsEvent("3", "1")
	for i := range 30 {
		wide.Extensions = append(wide.Extensions, tandem.Extension{Name: fmt.Sprint("x", i), Value: strings.Repeat("é", 500)})
	}
	if err := put(wide); tandem.CodeOf(err) != tandem.CodeTooLarge {
		t.Errorf("an event with large attributes: %v", err)
	}
	if _, err := natslog.Open(t.Context(), natslog.Options{}); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("no URL: %v", err)
	}
	if _, err := natslog.Open(t.Context(), natslog.Options{InProcess: s, Prefix: "a.b"}); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("a bad prefix: %v", err)
	}
	_, err := natslog.Open(t.Context(), natslog.Options{URL: "nats://somebody:hidden@127.0.0.1:1"})
	if tandem.CodeOf(err) != tandem.CodeUnavailable || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("no server: %v", err)
	}
	off := natsServer(t, func(o *server.Options) { o.JetStream = false })
	if _, err := natslog.Open(t.Context(), natslog.Options{InProcess: off}); tandem.CodeOf(err) != tandem.CodeUnavailable || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("a server without JetStream: %v", err)
	}
}

// TestNATSPlaceOfARepeat: an event that the server has, of which this process has not heard, such as one whose answer was lost and that is
// published again, can be read as soon as its publish is answered.
func TestNATSPlaceOfARepeat(t *testing.T) {
	s := natsServer(t, nil)
	e := openNATS(t, natslog.Options{InProcess: s})
	topic := createNATSTopic(t, e, tandem.Topic{Name: "t", Partitions: 1})
	identified := func(id string) driver.Record {
		return driver.Record{Topic: topic.ID, Event: natsEvent(id, "1"), Dedup: true, Identity: tandem.Fingerprint("t", "/test", id), Sum: 1}
	}
	first := driver.Batch{Records: []driver.Record{identified("0")}}
	if err := e.Append(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	nc, js := natsClient(t, s)
	var stored *jetstream.RawStreamMsg
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := stream.GetMsg(t.Context(), first.Records[0].Offset); err == nil && m.Header.Get("ce-id") == "0" {
			stored = m
		}
	}
	if err := names.Err(); err != nil || stored == nil {
		t.Fatalf("the message is in no stream: %v", err)
	}
	for n := 1; n <= 20; n++ {
		m := nats.NewMsg(stored.Subject)
		m.Data, m.Header = stored.Data, maps.Clone(stored.Header)
		again := identified(fmt.Sprint(n))
		m.Header["ce-id"] = []string{fmt.Sprint(n)}
		m.Header.Set(nats.MsgIdHdr, base64.RawURLEncoding.EncodeToString(again.Identity[:]))
		if _, err := nc.RequestMsg(m, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		b := driver.Batch{Records: []driver.Record{again}}
		if err := e.Append(t.Context(), &b); err != nil || !b.Records[0].Duplicate {
			t.Fatalf("event %d is published again: duplicate %v, %v", n, b.Records[0].Duplicate, err)
		}
		if at, err := e.Bounds(t.Context(), topic.ID, 0); err != nil || at.End != b.Records[0].Offset+1 {
			t.Fatalf("event %d is at %d, and the partition ends at %d, %v", n, b.Records[0].Offset, at.End, err)
		}
	}
}
