package delivery

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// What is in memory of a topic that is deleted is still delivered, also over a crash: each event has its outcome.
func TestTopicDeletedBeforeACrash(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "slow" {
				return after(time.Minute, status(204))
			}
			return status(503)
		})
		b.start(sub("s"))
		b.publish("slow", "slow", "fails", "")
		b.wait(time.Second)
		if err := b.log.DeleteTopic(b.ctx, "orders"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.crash()
		f.set(nil)
		b.start()
		b.wait(time.Hour)
		b.settled("s")
		if rows := b.rows(tandem.DeliveryQuery{}); len(rows) != 4 {
			t.Fatalf("%d of 4 events have an outcome: %+v", len(rows), rows)
		}
		for _, kind := range []string{kindAt, kindTried, kindParked, kindWaiting} {
			if n := b.records("s", kind); n != 0 {
				t.Errorf("%d records of kind %s are left", n, kind)
			}
		}
	})
}

// A dead letter whose redrive was answered with replies a moment ago is delivered: to discard it then does nothing, and it counts once.
func TestDiscardWhatWasAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(422) })
		b.start(sub("s"))
		b.publish("a", "b")
		b.wait(time.Second)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 2 {
			t.Fatal(letters, err)
		}
		id := letters[0].ID
		f.set(func(attemptSeen) *http.Response { return after(time.Minute, status(204)) })
		if _, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{id}}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		s, err := b.m.find("s")
		if err != nil {
			t.Fatal(err)
		}
		value, err := b.log.State(b.ctx, s.key(kindDead)+id)
		if err != nil {
			t.Fatal(err)
		}
		s.commitMu.Lock() // the loop stores nothing yet
		s.mu.Lock()
		d := s.redrives[id]
		d.rec, d.bytes = &letters[0].Event, len(value)
		e := event("reply")
		s.finish(d, result{verdict: delivered, at: time.Now(), status: 200, replies: []eventlog.TopicEvent{{Topic: "orders", Event: e}}})
		s.mu.Unlock()
		s.commitMu.Unlock()
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{id}})); n != 0 && err == nil {
			t.Errorf("%d discarded", n)
		}
		f.set(func(attemptSeen) *http.Response { return status(422) })
		b.wait(time.Hour)
		if st := b.status("s"); st.Dead != b.records("s", kindDead) {
			t.Errorf("%d dead letters are counted, %d stored", st.Dead, b.records("s", kindDead))
		}
		if rows := b.rows(tandem.DeliveryQuery{Position: &letters[0].Event.Position}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
			t.Errorf("%+v", rows)
		}
	})
}

// A ledger that begins within a second, on a subscription that is not new, keeps what ends in the rest of that second.
func TestLedgerThatBeginsLate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.LedgerAge = -1
		b.start(sub("s"))
		b.publish("before")
		b.wait(time.Second + 500*time.Millisecond)
		b.stop()
		b.opts.LedgerAge = 0
		b.start()
		id := b.publish("a")[0]
		b.wait(100 * time.Millisecond)
		for range 2 {
			if rows := b.rows(tandem.DeliveryQuery{ID: id}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
				t.Fatalf("%+v", rows)
			}
			b.stop()
			b.start()
		}
	})
}

// A time without ledger is not in it, whatever is swept meanwhile.
func TestLedgerThatWasOff(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		b.publish("a")
		b.wait(time.Minute)
		b.stop()
		b.opts.LedgerAge = -1
		b.start()
		b.wait(time.Hour)
		id := b.publish("b")[0]
		b.wait(time.Hour)
		b.stop()
		b.opts.LedgerAge = 0
		on := time.Now()
		b.start()
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{}, false); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		if rows := b.rows(tandem.DeliveryQuery{ID: id}); len(rows) != 1 || rows[0].State != tandem.DeliveryUnknown || !strings.Contains(rows[0].Reason, on.UTC().Format(time.RFC3339)) {
			t.Fatalf("%+v", rows)
		}
	})
}

// An event that is acknowledged by a lease of before a restart has the time of that.
func TestLedgerOfALateAcknowledgement(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Service, s.Path, s.Pull = "", "", &tandem.Pull{}
		b.start(s)
		b.publish("a")
		b.wait(time.Second)
		leases, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{Max: 1})
		if err != nil || len(leases) != 1 {
			t.Fatal(leases, err)
		}
		b.crash()
		b.start()
		b.wait(time.Second)
		if _, err := b.m.Ack(b.ctx, "s", []string{leases[0].Token}); err != nil {
			t.Fatal(err)
		}
		if rows := b.rows(tandem.DeliveryQuery{Since: time.Now().Add(-time.Second)}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
			t.Fatalf("%+v", rows)
		}
	})
}

// A dead letter that is acknowledged by a lease of before a restart is gone from the counts, and its row takes the place of the old one.
func TestLateAcknowledgementOfARedrive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Service, s.Path, s.Pull, s.Attempts = "", "", &tandem.Pull{}, 1
		b.start(s)
		b.publish("a")
		b.wait(time.Second)
		lease := func() string {
			t.Helper()
			leases, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{Max: 1})
			if err != nil || len(leases) != 1 {
				t.Fatal(leases, err)
			}
			return leases[0].Token
		}
		if _, err := b.m.Nack(b.ctx, "s", []string{lease()}, 0); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Hour)
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		b.wait(time.Second)
		token := lease()
		b.crash()
		b.start()
		b.wait(time.Second)
		if out, err := b.m.Ack(b.ctx, "s", []string{token}); err != nil || out[0].Outcome != tandem.LeaseAcknowledged {
			t.Fatal(out, err)
		}
		run, err := b.m.find("s")
		if err != nil {
			t.Fatal(err)
		}
		run.mu.Lock()
		copies := run.copies
		run.mu.Unlock()
		if copies != (tally{}) {
			t.Errorf("%+v", copies)
		}
		if rows := b.rows(tandem.DeliveryQuery{}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered || len(rows[0].History) == 0 {
			t.Errorf("%+v", rows)
		}
	})
}

// The runs that are open take little memory, however many partitions a subscription has.
func TestOpenRunsAreBounded(t *testing.T) {
	m := New(nil, Options{})
	s := newSubscription(m, "s", config{Versions: []version{{}}})
	s.ledger = newLedger(&m.opts)
	seg := newSegment(1)
	for topic := range driver.ID(10) {
		for part := range tandem.MaxPartitions {
			s.addToRun(&seg, &outcome{where: where{topic, part, 7}, name: "t"})
		}
	}
	n := 0
	for _, topic := range s.ledger.open.topics {
		for _, pair := range topic.parts {
			if pair[0] != nil {
				n++
			}
		}
	}
	if n == 0 || n > maxOpenRuns {
		t.Errorf("%d runs are open", n)
	}
}

// A name that leaves no room for that of a replay is the reason that is given.
func TestReplayOfALongName(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub(strings.Repeat("s", 195)))
		_, err := b.m.Replay(b.ctx, strings.Repeat("s", 195), tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
		p := tandem.ProblemOf(err)
		if tandem.CodeOf(err) != tandem.CodeInvalid || len(p.Errors) != 0 || !strings.Contains(p.Detail, "200 bytes") {
			t.Errorf("%+v", p)
		}
	})
}

// A record of the ledger that cannot be read costs what is older, and stops no delivery.
func TestDamagedLedger(t *testing.T) {
	for _, kind := range []string{kindSegment, keyHorizon} {
		t.Run(strings.TrimSuffix(kind, "/"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				b.start(sub("s"))
				older := b.publish("a")[0]
				b.wait(time.Hour)
				newer := b.publish("a")[0]
				b.wait(time.Second)
				b.stop()
				b.overwrite(subPrefix("s")+kind, "\xff{")
				for range 2 {
					b.start()
					id := b.publish("b")[0]
					b.wait(time.Minute)
					known := []string{newer, id}
					if kind == keyHorizon {
						known = append(known, older) // nothing of it is gone
					} else if rows := b.rows(tandem.DeliveryQuery{ID: older}); len(rows) != 1 || rows[0].State != tandem.DeliveryUnknown {
						t.Errorf("%+v", rows)
					}
					for _, id := range known {
						if rows := b.rows(tandem.DeliveryQuery{ID: id}); len(rows) != 1 || rows[0].State != tandem.DeliveryDelivered {
							t.Errorf("%s: %+v", id, rows)
						}
					}
					b.stop()
				}
				b.start()
			})
		})
	}
}

// A replay whose end was seen while somebody else stored a group ends soon after that.
func TestReplayEndsAfterAGroup(t *testing.T) {
	m := New(nil, Options{Logger: slog.New(slog.DiscardHandler)})
	s := newSubscription(m, "s.replay-1", config{Until: &places{}, Versions: []version{{}}})
	s.commitMu.Lock()
	s.endReplay()
	s.commitMu.Unlock()
	if !s.config.Ended.IsZero() || s.lookAt.IsZero() {
		t.Error("the loop does not look again")
	}
	s.endReplay()
	if s.config.Ended.IsZero() {
		t.Error("it does not end")
	}
}

// A row that cannot be read does not keep a page from the others.
func TestDamagedRow(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(422) })
		b.start(sub("s"))
		b.publish("a", "b", "c")
		b.wait(time.Second)
		b.overwrite(subPrefix("s")+kindLedger, "\xff{")
		if rows := b.rows(tandem.DeliveryQuery{State: tandem.DeliveryDead}); len(rows) != 2 {
			t.Errorf("%+v", rows)
		}
	})
}
