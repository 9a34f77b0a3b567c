package delivery

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// overwrite damages the first state record of a prefix.
func (b *bed) overwrite(prefix, value string) {
	b.t.Helper()
	found := ""
	if err := b.log.ScanState(b.ctx, prefix, func(key string, _ []byte) bool { found = key; return false }); err != nil || found == "" {
		b.t.Fatalf("no record %s: %v", prefix, err)
	}
	if _, err := b.log.Commit(b.ctx, &eventlog.Tx{State: []driver.StateOp{{Key: found, Value: []byte(value)}}}); err != nil {
		b.t.Fatal(err)
	}
}

// One record that cannot be read stops its subscription and nothing else: the rest starts, is declared and delivers. A seek mends what
// it can without losing dead letters, deleting and declaring it again everything.
func TestDamagedRecord(t *testing.T) {
	for kind, mendable := range map[string]bool{kindAt: true, kindTried: true, kindParked: true, kindWaiting: true, keyTally: true, "config": false} {
		t.Run(strings.TrimSuffix(kind, "/"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				f.set(func(a attemptSeen) *http.Response {
					switch a.key {
					case "bad":
						return status(422)
					case "slow":
						return status(404)
					}
					return status(204)
				})
				b.start(sub("healthy"))
				for _, name := range []string{"sick", "well"} {
					if _, err := b.m.Put(b.ctx, sub(name), ""); err != nil {
						t.Fatal(err)
					}
				}
				b.publish("a", "bad", "slow", "slow", "b")
				b.wait(time.Second)
				b.stop()
				if kind == "config" {
					b.overwrite(configPrefix+"sick", `{"v":1`)
				} else {
					b.overwrite(subPrefix("sick")+kind, "\xff{")
				}
				b.start(sub("healthy"))
				before := len(f.all())
				ids := b.publish("c")
				b.wait(time.Millisecond * 100)
				got := 0
				for _, a := range f.all()[before:] {
					if a.id == ids[0] {
						got++
					}
				}
				if got != 2 {
					t.Fatalf("%d of two other subscriptions deliver", got)
				}
				st := b.status("sick")
				if st.State != "damaged" || st.Reason == "" {
					t.Fatalf("status %+v", st)
				}
				for what, err := range map[string]error{
					"pause": b.m.Pause(b.ctx, "sick"),
					"put":   func() error { _, err := b.m.Put(b.ctx, sub("sick"), ""); return err }(),
					"replay": func() error {
						_, err := b.m.Replay(b.ctx, "sick", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
						return err
					}(),
					"redrive": func() error { _, err := b.m.Redrive(b.ctx, "sick", tandem.DeadLetterSelection{}); return err }(),
				} {
					if tandem.CodeOf(err) != tandem.CodeConflict || !strings.Contains(err.Error(), "damaged") {
						t.Errorf("%s: %v", what, err)
					}
				}
				if letters, _, err := b.m.DeadLetters(b.ctx, "sick", "", 0); err != nil || len(letters) != 1 {
					t.Fatal(letters, err)
				}
				if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("healthy"), sub("sick")}); err != nil {
					t.Fatalf("a damaged one fails the configuration: %v", err)
				}
				b.stop() // with nothing to store of what cannot be read
				b.start()
				f.set(nil)
				_, err := b.m.Seek(b.ctx, "sick", tandem.Start{Earliest: true}, false)
				if (err == nil) != mendable {
					t.Fatal(err)
				}
				dead := 1
				if !mendable {
					if err := b.m.Delete(b.ctx, "sick"); err != nil {
						t.Fatal(err)
					}
					if _, err := b.m.Put(b.ctx, sub("sick"), ""); err != nil {
						t.Fatal(err)
					}
					dead = 0
				}
				b.wait(time.Hour)
				b.settled("sick")
				if st := b.status("sick"); st.State != "running" || st.Delivered != 6 || st.Dead != dead {
					t.Fatalf("status %+v", st)
				}
				if n, err := counted(b.m.Redrive(b.ctx, "sick", tandem.DeadLetterSelection{})); n != dead || err != nil {
					t.Fatal(n, err)
				}
				b.wait(time.Second)
				if st := b.status("sick"); st.Dead != 0 || st.Redriving != 0 {
					t.Fatalf("status %+v", st)
				}
			})
		})
	}
}

// A copy that cannot be read is the event's own while the log has that, and can be seen and discarded in any case.
func TestDamagedCopy(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(422)
			}
			return status(404)
		})
		b.start(sub("s"))
		ids := b.publish("bad", "bad", "slow")
		b.wait(time.Second)
		b.overwrite(subPrefix("s")+kindDead, "\xff{")
		b.overwrite(subPrefix("s")+kindParked, "\xff{")
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 2 || letters[0].Reason != "damaged" || letters[1].Reason != "refused" {
			t.Fatalf("%+v, %v", letters, err)
		}
		f.set(nil)
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		b.wait(time.Hour)
		b.settled("s")
		if st := b.status("s"); st.Dead != 0 || st.Delivered != 3 {
			t.Fatalf("status %+v", st)
		}
		for _, id := range ids {
			if !slices.ContainsFunc(f.all(), func(a attemptSeen) bool { return a.id == id }) {
				t.Errorf("%s was not sent", id)
			}
		}
	})
}
