package console

import (
	"fmt"
	"testing"
	"time"
)

// TestLags: the newest samples are drawn to scale, with a gap where nobody looked, and nothing is where there was no lag.
func TestLags(t *testing.T) {
	var l lags
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for _, s := range []struct{ at, n int }{{0, 0}, {1, 999}, {3, 100}, {6, 50}, {60, 0}} { // the second is too near
		l.note("pay", uint64(s.n), at(s.at))
		l.note("idle", 0, at(s.at))
	}
	s := l.of("pay")
	if s == nil || s.Path != "M1 41L16 1L31 21M301 41" || s.Says != "Lag over the last 1 min, at most 100 events" {
		t.Errorf("%+v", s)
	}
	if l.of("idle") != nil || l.of("other") != nil {
		t.Error("nothing is drawn")
	}
	for i := range 2 * maxNoted {
		l.note("pay", 1<<63, at(100+3*i))
	}
	if n := len(l.noted["pay"]); n != maxNoted {
		t.Errorf("%d samples are kept", n)
	}
	if s := l.of("pay"); s.Path[:10] != "M1 1L3 1L6" {
		t.Errorf("%+v", s)
	}
	for i := range 2 * maxLags {
		l.note(fmt.Sprint(i), 1, at(0))
	}
	if len(l.noted) > maxLags {
		t.Errorf("%d subscriptions are remembered", len(l.noted))
	}
}
