package console

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxLags  = 1000             // subscriptions that are remembered; beyond it all are forgotten
	maxNoted = 120              // samples of each: the newest
	lagSpan  = 2 * time.Second  // between two samples at least
	lagGap   = 30 * time.Second // beyond which two samples say nothing about what was between
)

// lags remembers the lag of subscriptions as pages showed it. Nothing is sampled while nobody looks.
type lags struct {
	mu    sync.Mutex // guards what follows
	noted map[string][]lagAt
}

type lagAt struct {
	at time.Time
	n  uint64
}

// note remembers the lag of a subscription.
func (l *lags) note(name string, n uint64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.noted[name]
	if len(all) > 0 && now.Sub(all[len(all)-1].at) < lagSpan {
		return
	}
	if l.noted == nil || all == nil && len(l.noted) >= maxLags {
		l.noted = map[string][]lagAt{}
	}
	if len(all) == maxNoted {
		all = slices.Delete(all, 0, 1)
	}
	l.noted[name] = append(all, lagAt{now, n})
}

// sparkline is lag over time, as a line.
type sparkline struct {
	Path string
	Says string
}

// Size of the drawing, without its edge.
const sparkWidth, sparkHeight = 300, 40

// of draws what is remembered of a subscription; nil: there was no lag.
func (l *lags) of(name string) *sparkline {
	l.mu.Lock()
	all := slices.Clone(l.noted[name])
	l.mu.Unlock()
	most := uint64(0)
	for _, s := range all {
		most = max(most, s.n)
	}
	if most == 0 || len(all) < 2 {
		return nil
	}
	first, last := all[0].at, all[len(all)-1].at
	var path strings.Builder
	for i, s := range all {
		to := "L"
		if i == 0 || s.at.Sub(all[i-1].at) > lagGap {
			to = "M"
		}
		fmt.Fprintf(&path, "%s%d %d", to, 1+int(sparkWidth*s.at.Sub(first)/last.Sub(first)), 1+sparkHeight-int(sparkHeight*(float64(s.n)/float64(most))))
	}
	return &sparkline{path.String(), fmt.Sprintf("Lag over the last %s, at most %s", durationText(last.Sub(first).Round(time.Second)), plural(most, "event"))}
}
