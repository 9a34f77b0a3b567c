package delivery

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
)

// rows returns the rows of a query.
func (b *bed) rows(q tandem.DeliveryQuery) []tandem.Delivery {
	b.t.Helper()
	page, err := b.m.Deliveries(b.ctx, "s", q)
	if err != nil {
		b.t.Fatal(err)
	}
	return page.Deliveries
}

// A dead letter that was redriven, one that was discarded, an event that expired and one that a seek went over are each found, with what
// was tried and why it ended so.
func TestLedgerTellsEachEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		if _, err := b.log.UpdateTopic(b.ctx, tandem.Topic{Name: "orders", Partitions: 4, Retention: tandem.Duration(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		healed := false
		f.set(func(a attemptSeen) *http.Response {
			if healed || a.key == "good" {
				return status(204)
			}
			return status(422)
		})
		b.start(sub("s"))
		redriven, discarded, good := b.publish("a")[0], b.publish("b")[0], b.publish("good")[0]
		b.wait(time.Second)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 2 {
			t.Fatal(letters, err)
		}
		slices.SortFunc(letters, func(x, y tandem.DeadLetter) int { return strings.Compare(x.Event.ID, y.Event.ID) })
		b.wait(11 * time.Minute) // the rows of the letters lie in another segment than those that take their place
		healed = true
		if _, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{letters[0].ID}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{letters[1].ID}}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		expired := b.publish("c")[0]
		at := b.stored("orders")
		b.wait(2 * time.Hour)
		b.eng.RunRetention()
		passed := b.publish("d")[0]
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{}, false); err != nil {
			t.Fatal(err)
		}
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		at = append(at, b.stored("orders")...)
		for _, tt := range []struct {
			id, state, reason string
			attempts          int
			history           int
		}{
			{redriven, tandem.DeliveryDelivered, "redriven", 1, 2},
			{discarded, tandem.DeliveryDiscarded, "refused", 1, 1},
			{good, tandem.DeliveryDelivered, "", 1, 1},
			{expired, tandem.DeliveryExpired, "retention", 0, 0},
			{passed, tandem.DeliveryPassed, "seek", 0, 0},
		} {
			i := slices.IndexFunc(at, func(r tandem.Record) bool { return r.ID == tt.id })
			rows := b.rows(tandem.DeliveryQuery{Position: &at[i].Position})
			if len(rows) != 1 {
				t.Fatalf("%s: %+v", tt.id, rows)
			}
			if d := rows[0]; d.State != tt.state || !strings.Contains(d.Reason, tt.reason) || d.Attempts != tt.attempts || len(d.History) != tt.history || d.Ended == "" {
				t.Errorf("%s: %+v", tt.id, d)
			}
		}
		if st := b.status("s"); st.Expired != 1 {
			t.Errorf("%d expired", st.Expired)
		}
		for state, want := range map[string]int{tandem.DeliveryDelivered: 2, tandem.DeliveryDiscarded: 1, tandem.DeliveryExpired: 1, tandem.DeliveryPassed: 1, tandem.DeliveryDead: 0} {
			if rows := b.rows(tandem.DeliveryQuery{State: state}); len(rows) != want {
				t.Errorf("%d rows are %s, want %d: %+v", len(rows), state, want, rows)
			}
		}
	})
}

// States of deliveries that have no outcome come from memory.
func TestLedgerOfOpenDeliveries(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "slow" {
				return after(5*time.Second, status(204))
			}
			if a.key == "bad" {
				return status(404)
			}
			return status(204)
		})
		s := sub("s")
		s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Hour), Max: tandem.Duration(time.Hour)}
		b.start(s)
		b.publish("slow", "slow", "bad", "bad", "good")
		b.wait(time.Second)
		got := map[string]string{}
		for _, r := range b.stored("orders") {
			rows := b.rows(tandem.DeliveryQuery{Position: &r.Position})
			got[r.Subject] += rows[0].State + " "
			if d := rows[0]; (d.State == tandem.DeliveryQueued || d.State == tandem.DeliveryWaiting) && (d.Behind == nil || d.Behind.Offset >= d.Position.Offset) {
				t.Errorf("behind nothing: %+v", d)
			}
			if d := rows[0]; d.State == tandem.DeliveryRetrying && (d.NextAttempt == "" || len(d.History) != 1 || d.History[0].Status != 404) {
				t.Errorf("retrying: %+v", d)
			}
		}
		want := map[string]string{"slow": "sending queued ", "bad": "retrying waiting ", "good": "delivered "}
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("%s: %s, want %s", key, got[key], want[key])
			}
		}
		for _, d := range b.rows(tandem.DeliveryQuery{}) {
			if d.ID == "" || d.Type == "" {
				t.Errorf("of no event: %+v", d)
			}
		}
		if rows := b.rows(tandem.DeliveryQuery{Key: "bad", State: tandem.DeliveryWaiting}); len(rows) != 1 {
			t.Errorf("%+v", rows)
		}
	})
}

// What stands still with its subscription says so, and names no next attempt.
func TestLedgerOfAPausedSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(404)
			}
			return status(410)
		})
		s := sub("s")
		s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Hour), Max: tandem.Duration(time.Hour)}
		b.start(s)
		b.publish("bad")
		b.wait(time.Second)
		b.publish("gone")
		b.wait(time.Second)
		for _, r := range b.stored("orders") {
			for _, q := range []tandem.DeliveryQuery{{Position: &r.Position}, {Key: r.Subject}} {
				d := b.rows(q)[0]
				if !strings.HasPrefix(d.Reason, "the subscription is disabled: the endpoint answered 410") || d.NextAttempt != "" {
					t.Errorf("%s: %+v", r.Subject, d)
				}
			}
		}
	})
}

// The ledger is cut by age and by size, oldest first and in bounded steps; what it does not have any more is unknown, not wrong.
func TestLedgerRetention(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(422)
			}
			return status(204)
		})
		b.opts.LedgerAge, b.opts.LedgerBytes = 24*time.Hour, 40_000
		b.start(sub("s"))
		b.publish("good", "good")
		first := b.stored("orders")[0].Position
		state := func() string { return b.rows(tandem.DeliveryQuery{Position: &first})[0].State }
		b.wait(time.Hour)
		if s := state(); s != tandem.DeliveryDelivered {
			t.Fatal(s)
		}
		b.wait(25 * time.Hour)
		if s := state(); s != tandem.DeliveryUnknown {
			t.Fatalf("after its age: %s", s)
		}
		if n := b.records("s", kindLedger) + b.records("s", kindSegment); n != 0 {
			t.Errorf("%d records are left", n)
		}
		for range 300 {
			b.publish("bad", "good")
			b.wait(time.Minute)
		}
		b.wait(time.Minute)
		size := 0
		if err := b.log.ScanState(b.ctx, subPrefix("s")+kindLedger, func(key string, value []byte) bool {
			size += len(key) + len(value)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if size > 45_000 || size < 20_000 {
			t.Errorf("the ledger has %d bytes", size)
		}
		newest := b.publish("good")[0]
		b.wait(time.Second)
		if rows := b.rows(tandem.DeliveryQuery{ID: newest}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
			t.Errorf("%+v", rows)
		}
		b.stop()
		b.start()
		if s := state(); s != tandem.DeliveryUnknown {
			t.Errorf("after a restart: %s", s)
		}
		if rows := b.rows(tandem.DeliveryQuery{ID: newest}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
			t.Errorf("after a restart: %+v", rows)
		}
	})
}

// Versions of a declaration are kept for the ledger longer than the configuration has room for them, and no longer than it goes back.
func TestLedgerKeepsVersions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.LedgerAge = 24 * time.Hour
		b.start(sub("s"))
		declare := func(i int) {
			s := sub("s")
			s.Filter, _ = tandem.ParseFilter([]byte(fmt.Sprintf(`{"any":[{"exact":{"subject":"k%d"}},{"exact":{"subject":"x"}}]}`, i)))
			if err := b.m.Apply(b.ctx, []tandem.Subscription{s}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 * maxVersions {
			declare(i)
			b.publish(fmt.Sprintf("k%d", i), "nobody")
			b.wait(time.Second)
		}
		check := func() {
			t.Helper()
			for _, r := range b.stored("orders") {
				var i int
				n, _ := fmt.Sscanf(r.Subject, "k%d", &i)
				d := b.rows(tandem.DeliveryQuery{Position: &r.Position})[0]
				if want := map[int]string{0: tandem.DeliverySkipped, 1: tandem.DeliveryDelivered}[n]; d.State != want || n == 1 && d.Version != i+2 {
					t.Fatalf("%s: %+v", r.Subject, d)
				}
			}
		}
		check()
		if n := b.records("s", kindVersion); n != maxVersions+1 {
			t.Errorf("%d versions are kept beside the configuration", n)
		}
		b.stop()
		b.start()
		check()
		b.wait(26 * time.Hour)
		if n := b.records("s", kindVersion); n != 0 {
			t.Errorf("%d versions are left", n)
		}
	})
}

// A reply that the log refuses takes a group back: what was to be noted of the others comes once, and nothing of the refused one.
func TestLedgerOfRefusedReply(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.topic("payments", 2)
		f.set(func(a attemptSeen) *http.Response {
			if strings.HasPrefix(a.key, "plain") {
				return after(4*time.Millisecond, status(204)) // waits for a group when the refused reply comes
			}
			if a.key == "bad" {
				return after(5*time.Millisecond, reply(tandem.MediaEvent, strings.Replace(replyBody, `{"a": 1}`, `"`+strings.Repeat("x", 70<<10)+`"`, 1)))
			}
			return reply(tandem.MediaEvent, replyBody)
		})
		s := sub("s")
		s.Replies, s.Attempts = "payments", 2
		s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Millisecond), Max: tandem.Duration(time.Millisecond)}
		b.start(s)
		b.publish("a", "bad", "b", "c", "plain1", "plain2", "plain3")
		b.wait(time.Minute)
		for _, r := range b.stored("orders") {
			want, attempts := tandem.DeliveryDelivered, 1
			if r.Subject == "bad" {
				want, attempts = tandem.DeliveryDead, 2
			}
			if d := b.rows(tandem.DeliveryQuery{Position: &r.Position})[0]; d.State != want || d.Attempts != attempts {
				t.Errorf("%s: %+v", r.Subject, d)
			}
		}
		if rows := b.rows(tandem.DeliveryQuery{}); len(rows) != 7 {
			t.Errorf("%d rows: %+v", len(rows), rows)
		}
	})
}

// By time, outcomes are those of that time, and Next belongs to its query.
func TestLedgerQuery(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		var at []time.Time
		for range 5 {
			b.publish("a", "b", "c")
			b.wait(time.Second)
			at = append(at, time.Now())
			b.wait(7 * time.Minute)
		}
		for _, tt := range []struct{ from, to, want int }{{0, 4, 12}, {1, 2, 3}, {0, 1, 3}} {
			if rows := b.rows(tandem.DeliveryQuery{Since: at[tt.from], Until: at[tt.to]}); len(rows) != tt.want {
				t.Errorf("from %d to %d: %d rows", tt.from, tt.to, len(rows))
			}
		}
		page, err := b.m.Deliveries(b.ctx, "s", tandem.DeliveryQuery{Limit: 2})
		if err != nil || page.Next == "" || page.Deliveries[0].Ended < rfc3339(at[3].Add(-time.Minute)) {
			t.Fatalf("the newest do not come first: %+v %v", page, err)
		}
		pos := tandem.Position{Topic: "orders", Partition: 0, Offset: 1 << 40}
		for _, tt := range []struct {
			q    tandem.DeliveryQuery
			want tandem.Code
		}{
			{tandem.DeliveryQuery{After: page.Next, State: tandem.DeliveryDead}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{After: "xyz"}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{Limit: 1001}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{Limit: -1}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{State: "gone"}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{Source: "/test"}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{Since: at[1], Until: at[0]}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{Position: &pos, State: tandem.DeliveryDead}, tandem.CodeInvalid},
			{tandem.DeliveryQuery{Position: &pos}, tandem.CodeNotFound},
			{tandem.DeliveryQuery{Position: &tandem.Position{Topic: "nowhere"}}, tandem.CodeNotFound},
			{tandem.DeliveryQuery{Position: &tandem.Position{Topic: "orders", Partition: 9}}, tandem.CodeNotFound},
		} {
			if _, err := b.m.Deliveries(b.ctx, "s", tt.q); tandem.CodeOf(err) != tt.want {
				t.Errorf("%+v: %v", tt.q, err)
			}
		}
	})
}

// An outcome and what the ledger says of it are one commit, on a file system that drops what was not synced: after a crash at any moment every event
// is either still to be delivered and has no row, or has one.
func TestLedgerCrash(t *testing.T) {
	for seed := range uint64(6) {
		crashLedger(t, seed)
	}
}

func crashLedger(t *testing.T, seed uint64) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(seed, 3))
	mem := vfs.NewCrashableMem()
	open := func(fs *vfs.MemFS) *eventlog.Log {
		eng, err := pebblelog.Open("log", pebblelog.Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, FreeBytes: -1, RetentionEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		log, err := eventlog.Open(ctx, eng, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	log := open(mem)
	if _, err := log.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	opts := quietOptions("http://svc")
	var mu sync.Mutex
	sent := 0
	cut := make(chan struct{})
	crashAt := 20 + rng.IntN(400)
	opts.Transport = func(string) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			e, err := tandem.ParseEventJSON(body)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			if sent++; sent == crashAt {
				close(cut)
			}
			switch {
			case e.Subject == "k1":
				return status(422), nil
			case e.Subject == "k2" && r.Header.Get(tandem.HeaderAttempt) == "1":
				return status(404), nil
			}
			return status(204), nil
		})
	}
	m := New(log, opts)
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s := sub("s")
	s.Concurrency = 4
	s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Millisecond), Max: tandem.Duration(time.Millisecond)}
	if err := m.Apply(ctx, []tandem.Subscription{s}); err != nil {
		t.Fatal(err)
	}
	var positions []tandem.Position
	for i := range 400 {
		got, err := log.Append(ctx, "orders", []tandem.Event{event(fmt.Sprintf("k%d", i%7))})
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, tandem.Position{Topic: "orders", Partition: got[0].Partition, Offset: got[0].Offset})
	}
	<-cut
	after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	m.crash()
	log.Close()

	log = open(after)
	defer log.Close()
	opts.Transport = func(string) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) { // nothing gets an outcome from now on
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
	}
	m = New(log, opts)
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer m.crash()
	ended := 0
	for _, p := range positions {
		page, err := m.Deliveries(ctx, "s", tandem.DeliveryQuery{Position: &p})
		if err != nil || len(page.Deliveries) != 1 {
			t.Fatalf("seed %d: %s: %+v %v", seed, p, page, err)
		}
		d := page.Deliveries[0]
		sub, _ := m.find("s")
		info, _ := m.topic("orders")
		rows, err := sub.lookup(ctx, where{info.ID, p.Partition, p.Offset})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case d.Ended != "" && len(rows) == 1:
			ended++
		case slices.Contains(openStates, d.State) && len(rows) == 0:
		default:
			t.Errorf("seed %d: %s is %s, and has %d rows", seed, p, d.State, len(rows))
		}
	}
	if ended == 0 {
		t.Logf("seed %d: nothing was stored", seed)
	}
}
