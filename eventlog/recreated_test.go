package eventlog_test

import (
	"context"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// TestRecreatedIsToldOnce: a reader that looks while a topic is created again tells of it when it can name a place behind that, so that who goes on from
// there is not told again; and it is woken for it.
func TestRecreatedIsToldOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "a", 1)
		const rounds = 200
		r := reader(t, l, tandem.Start{}, "a")
		w := reader(t, l, tandem.Start{}, "a")
		woken := make(chan *tandem.Gap)
		c, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(woken)
			for {
				p, err := w.Next(c, tandem.Filter{}, 10)
				if err != nil {
					return
				}
				woken <- p.Gap
			}
		}()
		for range rounds {
			if err := l.DeleteTopic(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { create(t, l, "a", 1); close(done) }()
			var gap *tandem.Gap
			for gap == nil {
				p, err := r.Read(ctx, tandem.Filter{}, 100)
				if err != nil {
					t.Fatal(err)
				}
				gap = p.Gap
			}
			<-done
			if g := <-woken; g == nil {
				t.Error("woken for nothing")
			}
			p, err := reader(t, l, tandem.Start{Cursor: gap.To}, "a").Read(ctx, tandem.Filter{}, 1)
			if err != nil || p.Gap != nil {
				t.Fatalf("told again: %+v, %v", p.Gap, err)
			}
		}
		cancel()
		for range woken {
		}
	})
}
