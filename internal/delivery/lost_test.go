package delivery

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// overtaking is an engine whose retention removes the first event of a read after its bounds were looked at.
type overtaking struct {
	*memlog.Engine
	armed bool
}

func (e *overtaking) Read(ctx context.Context, id driver.ID, part int, from uint64, n, bytes int, dst []tandem.Record) ([]tandem.Record, error) {
	at := len(dst)
	dst, err := e.Engine.Read(ctx, id, part, from, n, bytes, dst)
	if e.armed && len(dst) > at && dst[at].Seq == 1 {
		dst = append(dst[:at], dst[at+1:]...)
	}
	return dst, err
}

func (e *overtaking) Bounds(ctx context.Context, id driver.ID, part int) (driver.Bounds, error) {
	b, err := e.Engine.Bounds(ctx, id, part)
	if e.armed && b.EndSeq == 3 { // as it is after the read
		b.Start, b.StartSeq, b.Removed = b.Start+1, b.StartSeq+1, b.Start+1
	}
	return b, err
}

// What retention removes between a look at the bounds and the read is recorded as expired.
func TestRetentionWhileReading(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		if err := b.log.Close(); err != nil {
			t.Fatal(err)
		}
		b.eng = memlog.New(memlog.Options{})
		eng := &overtaking{Engine: b.eng}
		var err error
		if b.log, err = eventlog.Open(b.ctx, &lateBounds{eng, 0}, eventlog.Options{}); err != nil {
			t.Fatal(err)
		}
		b.topic("orders", 1)
		b.start(sub("s"))
		b.wait(time.Second)
		eng.armed = true
		if _, err := b.log.Append(b.ctx, "orders", []tandem.Event{event("a"), event("a")}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		if n, expired := len(f.all()), b.expired("s"); n != 1 || expired != 1 {
			t.Fatalf("%d attempts and %d expired ranges, want 1 and 1", n, expired)
		}
	})
}

// lateBounds lets the first look at the bounds of new events come before retention.
type lateBounds struct {
	*overtaking
	looks int
}

func (e *lateBounds) Bounds(ctx context.Context, id driver.ID, part int) (driver.Bounds, error) {
	if e.armed {
		if e.looks++; e.looks == 1 {
			return e.Engine.Bounds(ctx, id, part)
		}
	}
	return e.overtaking.Bounds(ctx, id, part)
}

// An event that was under way when the process ended, and whose topic is deleted before the next start, is recorded as expired.
func TestTopicDeletedBetweenProcesses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return after(time.Minute, status(204)) })
		b.start(sub("s"))
		b.publish("a", "b")
		b.wait(15 * time.Second)
		b.crash()
		if err := b.log.DeleteTopic(b.ctx, "orders"); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.wait(time.Minute)
		if n, at := b.expired("s"), b.records("s", kindAt); n != 2 || at != 0 {
			t.Fatalf("%d expired and %d cursors, want 2 and 0", n, at)
		}
		b.settled("s")
	})
}

// An event that ends the process at once, before the first group, ends dead, too.
func TestEventThatEndsTheProcessAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return after(time.Second, status(204)) })
		s := sub("s")
		s.Attempts = 3
		b.start(s)
		b.wait(time.Second)
		b.stop()
		b.publish("killer")
		crashes := 0
		for ; crashes < 20; crashes++ {
			b.start()
			for range 10 {
				time.Sleep(time.Millisecond / 2)
				synctest.Wait()
				if b.status("s").InFlight > 0 || b.status("s").Dead > 0 {
					break
				}
			}
			if b.status("s").Dead > 0 {
				break
			}
			b.crash()
		}
		if crashes != 3 {
			t.Fatalf("%d crashes, want 3", crashes)
		}
	})
}
