package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// A selection meets those dead letters that it names or describes, a dry run says how many and does nothing.
func TestDeadLettersSelected(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(422)
			}
			return status(404)
		})
		s := sub("s")
		s.Attempts = 1
		b.start(s)
		b.publish("bad", "bad", "bad")
		b.wait(time.Minute)
		middle := time.Now()
		b.publish("a", "bad")
		b.wait(time.Minute)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 5 {
			t.Fatal(letters, err)
		}
		one, err := b.m.DeadLetter(b.ctx, "s", letters[0].ID)
		if err != nil || one.ID != letters[0].ID || one.Event.ID != letters[0].Event.ID || one.Reason != letters[0].Reason {
			t.Fatalf("%+v, %v", one, err)
		}
		for _, id := range []string{"", "nonsense", "1-2-0000000000000003-4", letters[0].ID + "0"} {
			if _, err := b.m.DeadLetter(b.ctx, "s", id); tandem.CodeOf(err) != tandem.CodeNotFound {
				t.Errorf("%q: %v", id, err)
			}
		}
		for _, c := range []struct {
			sel  tandem.DeadLetterSelection
			want int
		}{
			{tandem.DeadLetterSelection{}, 5},
			{tandem.DeadLetterSelection{IDs: []string{letters[1].ID, letters[3].ID, letters[1].ID}}, 2},
			{tandem.DeadLetterSelection{Reason: "refused"}, 4},
			{tandem.DeadLetterSelection{Reason: "exhausted"}, 1},
			{tandem.DeadLetterSelection{Reason: "loop"}, 0},
			{tandem.DeadLetterSelection{Since: middle}, 2},
			{tandem.DeadLetterSelection{Until: middle}, 3},
			{tandem.DeadLetterSelection{Since: middle, Reason: "refused"}, 1},
			{tandem.DeadLetterSelection{Filter: filter(t, `{"subject":"bad"}`), Since: middle}, 1},
			{tandem.DeadLetterSelection{Filter: filter(t, `{"subject":"none"}`)}, 0},
		} {
			c.sel.DryRun = true
			for _, verb := range []string{"redrive", "discard"} {
				do := b.m.Redrive
				if verb == "discard" {
					do = b.m.Discard
				}
				if n, err := do(b.ctx, "s", c.sel); n != (tandem.DeadLetterCount{Count: c.want, DryRun: true}) || err != nil {
					t.Errorf("%s of %+v: %+v, %v", verb, c.sel, n, err)
				}
			}
		}
		for field, sel := range map[string]tandem.DeadLetterSelection{
			"/ids":    {IDs: []string{letters[0].ID}, Reason: "refused"},
			"/reason": {Reason: "bored"},
			"/until":  {Since: middle, Until: middle},
			"/rate":   {Rate: -1},
		} {
			_, err := b.m.Discard(b.ctx, "s", sel)
			if p := tandem.ProblemOf(err); tandem.CodeOf(err) != tandem.CodeInvalid || len(p.Errors) != 1 || p.Errors[0].Pointer != field {
				t.Errorf("%s: %v", field, err)
			}
		}
		before := len(f.all())
		if st := b.status("s"); st.Dead != 5 || before != 5 {
			t.Fatalf("a dry run did something: %+v, %d attempts", st, before)
		}
		f.set(nil)
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Since: middle})); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{Until: middle, Filter: filter(t, `{"subject":"bad"}`)})); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		b.wait(time.Second)
		if st := b.status("s"); st.Dead != 0 || len(f.all()) != before+2 {
			t.Fatalf("%+v, %d attempts", st, len(f.all())-before)
		}
	})
}

// The dry run of a seek says what the seek then does, and does nothing.
func TestSeekPlan(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(404)
			}
			return status(204)
		})
		b.start(sub("s"))
		b.publish("a", "bad", "bad", "b")
		b.wait(time.Second)
		middle := time.Now().UTC().Format(time.RFC3339Nano)
		b.wait(time.Second)
		b.publish("c", "bad", "d")
		b.wait(time.Second)
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.publish("e", "f")
		b.wait(time.Second)
		seen := len(f.all())
		for _, c := range []struct {
			to   tandem.Start
			want tandem.SeekPlan
		}{
			{tandem.Start{}, tandem.SeekPlan{Over: 5, Parked: 3}}, // two unread, one parked and two behind it
			{tandem.Start{Time: middle}, tandem.SeekPlan{Again: 3, Over: 2, Parked: 2}},
			{tandem.Start{Earliest: true}, tandem.SeekPlan{Again: 7}},
		} {
			c.want.DryRun = true
			if got, err := b.m.Seek(b.ctx, "s", c.to, true); got != c.want || err != nil {
				t.Errorf("dry run to %+v: %+v, %v; want %+v", c.to, got, err, c.want)
			}
		}
		if st := b.status("s"); st.ParkedKeys != 1 || st.Lag != 5 {
			t.Fatalf("status %+v", st)
		}
		if got, err := b.m.Seek(b.ctx, "s", tandem.Start{Time: middle}, false); got != (tandem.SeekPlan{Again: 3, Over: 2, Parked: 2}) || err != nil {
			t.Fatal(got, err)
		}
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{Cursor: "nonsense"}, true); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatal(err)
		}
		f.set(nil)
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.settled("s")
		if n := len(f.all()) - seen; n != 5 {
			t.Fatalf("%d events were sent after the seek, want 5", n)
		}
	})
}
