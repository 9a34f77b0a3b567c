package delivery

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

var errDisk = tandem.Errorf(tandem.CodeUnavailable, "the disk is full")

// A seek that cannot be stored at once takes effect when it can.
func TestSeekWhileTheLogFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		b.publish("a", "b")
		b.wait(time.Second)
		b.eng.Fail(errDisk)
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{Earliest: true}, false); tandem.CodeOf(err) != tandem.CodeUnavailable {
			t.Fatalf("seek: %v", err)
		}
		b.eng.Fail(nil)
		b.wait(time.Minute)
		b.publish("c")
		b.wait(time.Minute)
		b.settled("s")
		if n := len(f.all()); n != 5 {
			t.Fatalf("%d attempts, want 2 and, in the new epoch, 3", n)
		}
	})
}

// At a cap reading stops in the middle of a backlog. Redriving the dead letters makes room.
func TestRedriveAtTheCap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(422) })
		b.opts.CopyBytes = 20_000
		const events = 3100
		for range 100 {
			b.publish("one") // so that memory is full in the middle of a batch
		}
		b.publish(keys(3000, 3000)...)
		b.start(sub("s"))
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "capped" || st.Dead > 2*maxHeld {
			t.Fatalf("status %+v", st)
		}
		f.set(nil)
		if _, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.settled("s")
		if st := b.status("s"); st.Dead != 0 || st.Delivered != events {
			t.Fatalf("status %+v", st)
		}
	})
}

// Stop returns although the start of an attempt cannot be stored.
func TestStopWhileTheLogFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(404) })
		b.start(sub("s"))
		b.publish("a")
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		before := len(f.all()) // the backoff has jitter, so that a second one may have come already
		b.eng.Fail(errDisk)
		defer b.eng.Fail(nil) // what is stopped after a failure would wait for ever
		b.wait(time.Minute)
		if n := len(f.all()); before == 0 || n != before {
			t.Fatalf("%d attempts, %d of them before the log failed", n, before)
		}
		ctx, cancel := ctxAfter(time.Second)
		defer cancel()
		at := time.Now()
		err := b.m.Stop(ctx)
		if d := time.Since(at); d > 10*time.Second || err == nil {
			t.Fatalf("Stop took %v: %v", d, err)
		}
		b.eng.Fail(nil)
		f.set(nil)
		b.start()
		b.wait(time.Hour)
		b.settled("s")
	})
}

// A dead letter that is the probe of a failing endpoint may be discarded at any moment.
func TestDiscardTheProbe(t *testing.T) {
	for _, when := range []string{"starting", "sending"} {
		t.Run(when, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) { discardTheProbe(t, b, f, when) })
		})
	}
}

func discardTheProbe(t *testing.T, b *bed, f *endpointFake, when string) {
	f.set(func(attemptSeen) *http.Response { return status(422) })
	s := sub("s")
	s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Second), Max: tandem.Duration(time.Second)}
	b.start(s)
	b.publish("a")
	b.wait(time.Second)
	f.set(func(attemptSeen) *http.Response { return nil })
	if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	wait := time.Minute
	if when == "sending" {
		wait = time.Millisecond // for the first attempt only, so that nothing else is read to probe with
	}
	b.wait(wait)
	if st := b.status("s"); st.State != "failing" || st.Dead != 1 {
		t.Fatalf("status %+v", st)
	}
	running, _ := b.m.find("s")
	if when == "starting" {
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		running.mu.Lock()
		running.endpoint.probeAt = time.Now()
		running.take(nil)
		if p := running.endpoint.probe; p == nil || p.stage != stageStarting {
			t.Error("the probe is not starting")
		}
		running.discardOne(deadRef{id: letters[0].ID, bytes: 100})
		running.mu.Unlock()
		b.publish("b") // not before, since the reader may bring it to probe with
	} else {
		b.publish("b")
		f.set(func(attemptSeen) *http.Response { return after(5*time.Second, status(503)) })
		for b.status("s").InFlight == 0 {
			b.wait(100 * time.Millisecond)
		}
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{})); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		b.wait(3 * time.Second)
	}
	f.set(nil)
	b.wait(5 * time.Minute)
	b.settled("s")
	if st := b.status("s"); st.Delivered != 1 || st.State != "running" {
		t.Fatalf("status %+v", st)
	}
}

// The log refuses a group late, and of an operation whose caller has gone: what it took is stored soon all the same.
func TestOperationThatGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(422) })
		b.start(sub("s"))
		b.publish("a")
		b.wait(time.Second)
		f.set(nil)
		reached, resume := b.eng.Stall()
		ctx, cancel := context.WithCancel(b.ctx)
		done := make(chan error)
		go func() {
			_, err := b.m.Redrive(ctx, "s", tandem.DeadLetterSelection{})
			done <- err
		}()
		<-reached
		b.wait(time.Second)
		cancel()
		if err := <-done; err == nil {
			t.Fatal("no error")
		}
		resume()
		b.wait(10 * time.Second)
		b.settled("s")
		if st := b.status("s"); st.Dead != 0 || st.Delivered != 1 {
			t.Fatalf("status %+v", st)
		}
	})
}

// An event that fails late, when those behind it have filled the memory, gives way to other keys.
func TestFailsWhenMemoryIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return after(5*time.Second, status(503))
			}
			return status(204)
		})
		s := sub("s")
		s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Hour), Max: tandem.Duration(time.Hour)}
		for range maxHeld + 200 {
			b.publish("bad")
		}
		b.publish(keys(16, 16)...)
		b.start(s)
		b.wait(time.Minute)
		if st := b.status("s"); st.Delivered != 16 {
			t.Fatalf("status %+v", st)
		}
	})
}

// A subscription whose creation was stored, but that could not be started, starts when it is declared again.
func TestPutThatCannotStart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		refuse := true
		var err error
		if err = b.log.Close(); err != nil {
			t.Fatal(err)
		}
		b.eng = memlog.New(memlog.Options{})
		if b.log, err = eventlog.Open(b.ctx, &notOwned{b.eng, &refuse}, eventlog.Options{}); err != nil {
			t.Fatal(err)
		}
		b.topic("orders", 4)
		b.start()
		b.publish("a")
		if _, err := b.m.Put(b.ctx, sub("s"), ""); tandem.CodeOf(err) != tandem.CodeUnavailable {
			t.Fatalf("put: %v", err)
		}
		refuse = false
		if _, err := b.m.Put(b.ctx, sub("s"), ""); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.settled("s")
		if n := len(f.all()); n != 1 {
			t.Fatalf("%d attempts", n)
		}
	})
}

// notOwned refuses to hand over a subscription.
type notOwned struct {
	*memlog.Engine
	refuse *bool
}

func (e *notOwned) Own(ctx context.Context, name string) (driver.Fence, error) {
	if *e.refuse && strings.HasPrefix(name, "delivery/") {
		return driver.Fence{}, errDisk
	}
	return e.Engine.Own(ctx, name)
}
