package stream

import (
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// TestGapsAddUp: what is missing of a page that met two gaps begins where the first did.
func TestGapsAddUp(t *testing.T) {
	p, r := answer{max: 3}, new(eventlog.Reader)
	first := tandem.Gap{Reason: tandem.GapRecreated, From: "1", To: "2"}
	p.add(r, tandem.Page{Cursor: "2", Gap: &first})
	p.add(r, tandem.Page{Cursor: "5", Gap: &tandem.Gap{Reason: tandem.GapRetention, From: "2", To: "4"}, Events: make([]tandem.Record, 1)})
	if want := (tandem.Gap{Reason: tandem.GapRetention, From: "1", To: "4"}); p.Gap == nil || *p.Gap != want || p.Cursor != "5" || len(p.Events) != 1 || p.full() {
		t.Errorf("%+v with gap %+v, want %+v", p, p.Gap, want)
	}
	p.add(r, tandem.Page{Cursor: "9", Gap: &first})
	if p.Cursor != "5" || !p.full() || first.From != "1" {
		t.Errorf("a gap behind events is part of the page: %+v", p)
	}
}
