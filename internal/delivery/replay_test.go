package delivery

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// A replay beside a live subscription, with live traffic and crashes in the middle: the live one keeps its order and gets each of its
// events as if there were no replay, and each event of the range is replayed, those of a key in order.
func TestReplayBesideLive(t *testing.T) {
	n, crashes := 5000, 3
	if os.Getenv("TANDEM_SOAK") != "" {
		n, crashes = 200_000, 20
	}
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Concurrency = 16
		b.topic("replies", 2)
		s.Replies = "replies"
		answer := func(a attemptSeen) *http.Response {
			if strings.HasPrefix(a.key, "replies") {
				return after(3*time.Millisecond, reply(tandem.MediaEvent, `{"specversion":"1.0","id":"own","source":"/handler","type":"done"}`))
			}
			return after(3*time.Millisecond, status(204))
		}
		f.set(answer)
		b.start(s)
		want := b.publish(keys(100, n-1)...)
		want = append(want, b.publish("replies")...)
		b.wait(time.Minute)
		b.settled("s")
		hooks := map[string]string{}
		for _, a := range f.all() {
			hooks[a.id] = a.header.Get(tandem.HeaderWebhookID)
		}
		before := len(f.all())
		r, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
		if err != nil || r.Name != "s.replay-1" || r.Replay == nil || r.Replay.Of != "s" || r.Replay.Number != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		published := map[string]time.Time{}
		for i := 0; b.status(r.Name).State != "ended"; i++ {
			for _, id := range b.publish("live", "k1", "live") {
				published[id] = time.Now()
			}
			b.wait(100 * time.Millisecond)
			if i < crashes {
				b.crash()
				b.start()
			}
			if i > n {
				t.Fatalf("does not end: %+v", b.status(r.Name))
			}
		}
		b.wait(time.Second)
		b.settled("s")
		b.settled(r.Name)
		replayed, live := map[string]int{}, map[string]int{}
		last := map[string]uint64{}
		for _, a := range f.all()[before:] {
			if a.header.Get(tandem.HeaderSubscription) != "s" {
				t.Fatalf("sent under the name of %q", a.header.Get(tandem.HeaderSubscription))
			}
			if a.header.Get(tandem.HeaderReplay) == "" {
				live[a.id]++
				if _, ok := published[a.id]; !ok {
					t.Errorf("%s was sent again by the live subscription", a.id)
				}
				continue
			}
			if a.header.Get(tandem.HeaderReplay) != "1" || a.header.Get(tandem.HeaderWebhookID) != hooks[a.id] {
				t.Fatalf("replay %q with id %q, want %q", a.header.Get(tandem.HeaderReplay), a.header.Get(tandem.HeaderWebhookID), hooks[a.id])
			}
			if replayed[a.id]++; replayed[a.id] == 1 {
				if a.position.Offset < last[a.key] {
					t.Errorf("%s was replayed out of order", a.id)
				}
				last[a.key] = a.position.Offset
			}
		}
		inKeyOrderOf(t, f.all()[before:], published)
		repeats := 0
		for _, id := range want {
			if replayed[id] == 0 {
				t.Fatalf("%s was not replayed", id)
			}
			repeats += replayed[id] - 1
		}
		// In flight at the crash, and what a commit group of 10 ms had taken.
		if most := crashes * 16 * 5; len(replayed) != n || repeats > most {
			t.Errorf("%d events replayed, want %d; %d of them more than once, want at most %d", len(replayed), n, repeats, most)
		}
		for id := range published {
			if live[id] == 0 || live[id] > 1+crashes {
				t.Errorf("%s was sent %d times", id, live[id])
			}
		}
		if got := len(b.stored("replies")); got != 2 {
			t.Errorf("%d replies are stored, want one of the live subscription and one of the replay", got)
		}
	})
}

// Events that a receiver is to take even if it has seen them have other ids in each replay; those of replies are new in any.
func TestReplayIDs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response {
			return reply(tandem.MediaEvent, `{"specversion":"1.0","id":"own","source":"/handler","type":"done"}`)
		})
		s := sub("s")
		b.topic("replies", 1)
		s.Replies = "replies"
		b.start(s)
		b.publish("k")
		b.wait(time.Second)
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{Earliest: true}, false); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		for _, even := range []bool{false, false, true, true} {
			if _, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}, EvenIfSeen: even}); err != nil {
				t.Fatal(err)
			}
			b.wait(time.Second)
		}
		var ids []string
		for _, a := range f.all() {
			ids = append(ids, a.header.Get(tandem.HeaderWebhookID))
		}
		if len(ids) != 6 || ids[0] == ids[1] || ids[2] != ids[1] || ids[3] != ids[1] {
			t.Fatalf("%q: a replay delivers in the present epoch", ids)
		}
		if slices.Sort(ids); len(slices.Compact(ids)) != 4 {
			t.Fatalf("%q: two epochs and two replays even if seen", ids)
		}
		if n := len(b.stored("replies")); n != 6 {
			t.Fatalf("%d replies are stored, want one for each time", n)
		}
		if err := b.m.Delete(b.ctx, "s.replay-4"); err != nil {
			t.Fatal(err)
		}
		if r, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}}); err != nil || r.Name != "s.replay-5" {
			t.Fatalf("%s, %v: a number is never used again", r.Name, err)
		}
	})
}

// A replay reads its range and no more, ends when that has its outcome, and is removed a day later unless it has dead letters.
func TestReplayRange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		var at []time.Time
		var ids [][]string
		for range 4 {
			at = append(at, time.Now())
			ids = append(ids, b.publish("a", "bad", "b", "a"))
			b.wait(time.Minute)
		}
		b.topic("empty", 3)
		when := func(i int) string { return at[i].UTC().Format(time.RFC3339Nano) }
		before := len(f.all())
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(422)
			}
			return status(204)
		})
		r, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Time: when(1)}, To: when(3)})
		if err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		var got []string
		for _, a := range f.all()[before:] {
			got = append(got, a.id)
		}
		want := slices.Concat(ids[1], ids[2])
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("replayed %v, want %v", got, want)
		}
		if st := b.status(r.Name); st.State != "ended" || st.Dead != 2 || st.Lag != 0 || !strings.Contains(st.Reason, "dead letters") {
			t.Fatalf("status %+v", st)
		}
		only, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}, Filter: filter(t, `{"subject":"b"}`)})
		if err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		if st := b.status(only.Name); st.State != "ended" || st.Delivered != 4 {
			t.Fatalf("status %+v", st)
		}
		b.publish("b")
		b.wait(time.Second)
		b.stop()
		b.start()
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("s")}); err != nil {
			t.Fatal(err)
		}
		b.wait(23 * time.Hour)
		if st := b.status(only.Name); st.State != "ended" || st.Delivered != 0 {
			t.Fatalf("status %+v", st)
		}
		b.wait(2 * time.Hour)
		if _, err := b.m.Status(b.ctx, only.Name); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Fatalf("it is not removed: %v", err)
		}
		if n := b.records(only.Name, ""); n != 0 {
			t.Errorf("%d records are left", n)
		}
		f.set(nil)
		if n, err := counted(b.m.Redrive(b.ctx, r.Name, tandem.DeadLetterSelection{})); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		b.wait(time.Minute)
		if _, err := b.m.Status(b.ctx, r.Name); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Fatalf("it is not removed after its dead letters: %v", err)
		}
	})
}

// What a replay is cannot be declared, changed, sought or replayed, and there are not many; they go with the subscription.
func TestReplayRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		big := filter(t, `{"any":[`+strings.Repeat(`{"type":"x"},`, 150)+`{"type":"order.placed"}]}`)
		s := sub("s")
		s.Filter = big
		b.start(s)
		b.publish("a")
		all := tandem.ReplayRequest{From: tandem.Start{Earliest: true}}
		for field, ask := range map[string]tandem.ReplayRequest{
			"/from":     {},
			"/from ":    {From: tandem.Start{Time: time.Now().Add(time.Hour).Format(time.RFC3339)}},
			"/to":       {From: tandem.Start{Earliest: true}, To: "tomorrow"},
			"/to ":      {From: tandem.Start{Earliest: true}, To: time.Now().Add(time.Hour).Format(time.RFC3339)},
			"/to  ":     {From: tandem.Start{Time: "2000-01-01T00:00:00Z"}, To: "1999-01-01T00:00:00Z"},
			"/filter":   {From: tandem.Start{Earliest: true}, Filter: big},
			"/filter  ": {From: tandem.Start{Earliest: true}, Filter: filter(t, `{"sql":"type = 'x'"}`)},
		} {
			_, err := b.m.Replay(b.ctx, "s", ask)
			if p := tandem.ProblemOf(err); tandem.CodeOf(err) != tandem.CodeInvalid || len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Pointer, strings.TrimSpace(field)) {
				t.Errorf("%q: %v", field, err)
			}
		}
		if _, err := b.m.Replay(b.ctx, "none", all); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Error(err)
		}
		r, err := b.m.Replay(b.ctx, "s", all)
		if err != nil {
			t.Fatal(err)
		}
		conflict := func(what string, err error) {
			t.Helper()
			if tandem.CodeOf(err) != tandem.CodeConflict {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err = b.m.Replay(b.ctx, r.Name, all)
		conflict("a replay of a replay", err)
		_, err = b.m.Seek(b.ctx, r.Name, tandem.Start{Earliest: true}, false)
		conflict("seek", err)
		again := sub(r.Name)
		_, err = b.m.Put(b.ctx, again, "")
		conflict("put", err)
		conflict("apply", b.m.Apply(b.ctx, []tandem.Subscription{s, again}))
		if _, err := b.m.Put(b.ctx, r, ""); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("a declared replay: %v", err)
		}
		for i := 2; i <= maxReplays; i++ {
			if r, err := b.m.Replay(b.ctx, "s", all); err != nil || r.Name != fmt.Sprint("s.replay-", i) {
				t.Fatal(r.Name, err)
			}
		}
		_, err = b.m.Replay(b.ctx, "s", all)
		conflict("too many", err)
		if err := b.m.Apply(b.ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.m.Delete(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if n := len(b.m.List()); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// The URLs of a replay are trusted as those of what it replays are.
func TestReplayIsGuarded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("file"))
		if _, err := b.m.Put(b.ctx, sub("api"), ""); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"file": false, "api": true} {
			r, err := b.m.Replay(b.ctx, name, tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
			if err != nil {
				t.Fatal(err)
			}
			s, err := b.m.find(r.Name)
			if err != nil || s.guarded() != want {
				t.Errorf("the replay of the subscription of the %s is guarded: %v, %v", name, !want, err)
			}
		}
	})
}

// The replay of a subscription that is pulled is pulled, under its own name.
func TestReplayPulled(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Service, s.Path, s.Pull = "", "", &tandem.Pull{}
		b.start(s)
		want := b.publish("a", "b")
		b.wait(time.Second)
		pull := func(name string) (ids []string) {
			t.Helper()
			leases, err := b.m.Pull(b.ctx, name, tandem.PullRequest{Max: 10})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range leases {
				if _, err := b.m.Ack(b.ctx, name, []string{l.Token}); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, l.Event.ID+" "+l.ID)
			}
			slices.Sort(ids)
			return ids
		}
		first := pull("s")
		if len(first) != len(want) {
			t.Fatal(first)
		}
		r, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
		if err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		if st := b.status(r.Name); st.State != "running" || st.Lag != 2 {
			t.Fatalf("status %+v", st)
		}
		if got := pull(r.Name); !slices.Equal(got, first) {
			t.Fatalf("pulled %v, want %v", got, first)
		}
		b.wait(time.Second)
		if st := b.status(r.Name); st.State != "ended" {
			t.Fatalf("status %+v", st)
		}
	})
}
