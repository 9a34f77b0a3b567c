package delivery

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		want := b.publish("a", "b", "", "a", "")
		b.wait(time.Second)
		got := f.ids()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("delivered %v, want %v", got, want)
		}
		b.settled("s")
		if st := b.status("s"); st.State != "running" || st.Delivered != 5 || st.Cursor == "" {
			t.Fatalf("status %+v", st)
		}
	})
}

func TestRetriesAndDeadLetter(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(500)
			}
			return status(204)
		})
		s := sub("s")
		s.Attempts = 4
		b.start(s)
		b.publish("bad", "good", "bad", "good")
		b.wait(time.Hour)
		st := b.status("s")
		if st.Dead != 2 || st.Delivered != 2 {
			t.Fatalf("status %+v", st)
		}
		b.settled("s")
		letters, next, err := b.m.DeadLetters(b.ctx, "s", "", 10)
		if err != nil || len(letters) != 2 || next != "" {
			t.Fatal(letters, next, err)
		}
		if l := letters[0]; l.Reason != "exhausted" || l.Attempts != 4 || l.Status != 500 || l.Event.Subject != "bad" || len(l.Event.Data) != 7 {
			t.Fatalf("letter %+v", l)
		}
		if n := len(f.all()); n != 10 {
			t.Fatalf("%d attempts, want 10", n)
		}
		f.set(nil)
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		b.wait(time.Second)
		if st := b.status("s"); st.Dead != 0 || st.Delivered != 4 {
			t.Fatalf("after redrive: %+v", st)
		}
		for _, kind := range []string{kindDead, kindRedrive, kindParked, kindTried, kindWaiting} {
			if n := b.records("s", kind); n != 0 {
				t.Errorf("%d records of kind %s are left", n, kind)
			}
		}
	})
}
