package demo

import (
	"fmt"
	"slices"
	"strings"
)

// FleetSummary is what came of a run. Its JSON form is part of the command line: names do not change.
type FleetSummary struct {
	OK        bool `json:"ok"` // all counts agree
	Vehicles  int  `json:"vehicles"`
	Positions int  `json:"positions"` // of the input
	Receipts  int  `json:"receipts"`
	Repeats   int  `json:"repeats"` // of the receipts, those of positions that were stored when they were sent before
	Broken    int  `json:"broken"`  // connections of vehicles that broke, and were made again

	// With Once.
	Stored   int `json:"stored"`   // positions in the log
	Seen     int `json:"seen"`     // by a reader of the map's stream
	SlowSeen int `json:"slowSeen"` // by one that is too slow, and is sent the latest position of each vehicle

	Seconds       float64  `json:"seconds"` // until the last receipt
	Receipt       Spread   `json:"receipt"` // from sending a position to its receipt
	Disagreements []string `json:"disagreements,omitempty"`
}

func (f *Fleet) summary() FleetSummary {
	s := FleetSummary{Vehicles: len(f.tracks), Positions: f.total, Seconds: f.ended.Sub(f.began).Seconds()}
	f.sent.mu.Lock()
	s.Receipts, s.Repeats, s.Broken, s.Receipt = f.sent.receipts, f.sent.repeats, f.sent.broken, spreadOf(&f.sent.took)
	f.sent.mu.Unlock()
	if !f.o.Once {
		return s
	}
	s.Stored, s.Seen, s.SlowSeen = f.stored.count(), f.page.count(), f.slowPage.count()
	s.Disagreements = slices.Concat(f.stored.disagreements("the log"), f.page.disagreements("a reader"), f.slowPage.disagreements("a slow reader"))
	s.OK = s.Positions > 0 && s.Receipts == s.Positions && s.Stored == s.Positions && s.Seen == s.Positions && len(s.Disagreements) == 0
	return s
}

// String is the summary for people.
func (s FleetSummary) String() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("positions     %d receipts for %d positions of %d vehicles", s.Receipts, s.Positions, s.Vehicles)
	p("connections   %d broke; %d positions were sent again that were stored", s.Broken, s.Repeats)
	p("receipt       p50 %.1f ms, p99 %.1f ms", s.Receipt.P50, s.Receipt.P99)
	p("time          %.2f s, %.0f positions a second", s.Seconds, float64(s.Receipts)/max(s.Seconds, 0.001))
	if s.OK {
		p("stored        %d, each vehicle's in order", s.Stored)
		p("readers       one saw all %d, a slow one %d with the last of each vehicle", s.Seen, s.SlowSeen)
	}
	for i, d := range s.Disagreements {
		if i == 20 {
			p("              and %d more", len(s.Disagreements)-i)
			break
		}
		p("DISAGREEMENT  %s", d)
	}
	return b.String()
}
