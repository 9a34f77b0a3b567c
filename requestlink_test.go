package tandem

import (
	"encoding/json"
	"testing"
)

func TestRequestLinkCrossesTheWire(t *testing.T) {
	for outcome, status := range map[LinkOutcome]int{LinkRefused: 502, LinkUnavailable: 503, LinkTimeout: 504} {
		sent := Errorf(CodeRequestLink, "payments said no")
		sent.Link = &RequestLink{Link: "payments", Outcome: outcome, Done: []string{"inventory"}}
		p := ProblemOf(Wrap("publish orders", sent))
		if p.Status != status {
			t.Errorf("%s: status %d, want %d", outcome, p.Status, status)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Problem
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		got := back.Err()
		if got.Code != CodeRequestLink || got.Link == nil || got.Link.Link != "payments" || got.Link.Outcome != outcome || len(got.Link.Done) != 1 {
			t.Errorf("%s: read back as %+v with link %+v", outcome, got, got.Link)
		}
	}
}

func TestRequestLinkNeedsItsType(t *testing.T) {
	if e := (&Problem{Type: "about:blank", Status: 502, Outcome: LinkRefused}).Err(); e.Code != CodeUpstream || e.Link != nil {
		t.Errorf("a 502 of a proxy became %+v", e)
	}
	if e := (&Problem{Type: "https://example.org/problems/request-link", Status: 503, Outcome: LinkUnavailable}).Err(); e.Code != CodeRequestLink || e.Link == nil {
		t.Errorf("a type that ends in /request-link became %+v", e)
	}
}
