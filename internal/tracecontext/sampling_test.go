package tracecontext

import (
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestSampling: of the traces that begin here the share is sampled, whoever asks says the same, and nobody else's flag is touched.
func TestSampling(t *testing.T) {
	const flows = 4000
	for _, share := range []float64{0, 0.25, 1} {
		s, taken := Sampling{Exports: true, Share: share}, 0
		for range flows {
			flow := tandem.NewID()
			parent := s.Begin(flow)
			if !valid(parent) || parent != s.Begin(flow) || parent[:53] != Begin(flow)[:53] {
				t.Fatalf("flow %s began %q", flow, parent)
			}
			if Sampled(parent) {
				taken++
			}
		}
		if got := float64(taken) / flows; got < share-0.05 || got > share+0.05 {
			t.Errorf("of a share of %v, %v was sampled", share, got)
		}
	}
	none := Sampling{}
	if flow := tandem.NewID(); none.Begin(flow) != Begin(flow) || none.Enter(parent, "1111111111111111") != parent || none.EnterRequest(parent, flow) != parent {
		t.Error("without an exporter the context changed")
	}
	s := Sampling{Exports: true, Share: 1}
	unsampled := parent[:53] + "00"
	if got := s.Enter(unsampled, "1111111111111111"); got != unsampled {
		t.Errorf("one that is not sampled became %q", got)
	}
	for _, in := range []string{parent, "cc" + parent[2:] + "-more"} {
		if got := s.Enter(in, "1111111111111111"); got != "00-"+trace+"-1111111111111111-01" {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestSpansOfEvents(t *testing.T) {
	s := Sampling{Exports: true, Share: 1}
	ev := tandem.Event{ID: "1", Source: "/x", Meta: tandem.Meta{Flow: tandem.NewID()}}
	s.Ensure("orders", &ev)
	if got := ev.Meta.TraceParent; ID(got) != strings.ReplaceAll(ev.Meta.Flow, "-", "") || Span(got) != EventSpan("orders", "/x", "1") || !valid(got) {
		t.Errorf("an event began %q in flow %s", got, ev.Meta.Flow)
	}
	first := ev.Meta.TraceParent
	if s.Ensure("orders", &ev); ev.Meta.TraceParent != first {
		t.Errorf("the second time it is %q", ev.Meta.TraceParent)
	}
	if a, b := NewSpan(), NewSpan(); a == b || len(a) != 16 || isZero(a) {
		t.Errorf("%q and %q", a, b)
	}
}
