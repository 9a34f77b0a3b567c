package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// More dead letters than may be under way at once are redriven over a crash; each is taken, none is forgotten.
func TestRedriveMany(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(422) })
		b.start(sub("s"))
		want := b.publish(keys(50, 700)...)
		b.wait(time.Second)
		letters, next, err := b.m.DeadLetters(b.ctx, "s", "", 500)
		if err != nil || len(letters) != 500 || next == "" {
			t.Fatal(len(letters), next, err)
		}
		if letters, next, err = b.m.DeadLetters(b.ctx, "s", next, 500); err != nil || len(letters) != 200 || next != "" {
			t.Fatal(len(letters), next, err)
		}
		taken := map[string]int{}
		before := len(f.all())
		f.set(func(a attemptSeen) *http.Response { return after(20*time.Millisecond, status(204)) })
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); err != nil || n != 700 {
			t.Fatal(n, err)
		}
		b.publish("live")
		time.Sleep(150 * time.Millisecond)
		b.crash()
		b.start()
		b.wait(time.Minute)
		for _, a := range f.all()[before:] {
			taken[a.id]++
		}
		for _, id := range want {
			if taken[id] == 0 {
				t.Fatalf("%s was not redriven", id)
			}
		}
		if st := b.status("s"); st.Dead != 0 {
			t.Fatalf("status %+v", st)
		}
		b.settled("s")
		for _, kind := range []string{kindDead, kindRedrive} {
			if n := b.records("s", kind); n != 0 {
				t.Errorf("%d records of kind %s are left", n, kind)
			}
		}
	})
}

// A redrive has the attempts of the policy again, with the same ids; when they are used up the letter is dead as before.
func TestRedriveThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(404) })
		s := sub("s")
		s.Attempts = 3
		b.start(s)
		b.publish("k")
		b.wait(time.Hour)
		first, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(first) != 1 {
			t.Fatal(first, err)
		}
		if _, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{first[0].ID, "1-2-3-4"}}); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Fatal(err)
		}
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{first[0].ID}})); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); n != 0 || err != nil {
			t.Fatalf("%d redriven twice at once, %v", n, err)
		}
		b.wait(time.Hour)
		again, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(again) != 1 || again[0].ID != first[0].ID || again[0].Attempts != 3 {
			t.Fatal(again, err)
		}
		all := f.all()
		if len(all) != 6 || all[5].attempt != 3 || all[0].header.Get(tandem.HeaderWebhookID) != all[5].header.Get(tandem.HeaderWebhookID) {
			t.Fatalf("%d attempts", len(all))
		}
		if st := b.status("s"); st.Dead != 1 {
			t.Fatalf("status %+v", st)
		}
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{first[0].ID}})); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if st := b.status("s"); st.Dead != 0 {
			t.Fatalf("status %+v", st)
		}
	})
}
