package delivery

import (
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// lostDetail is recorded with the start of an attempt, and is read only if nothing was recorded after it.
const lostDetail = "the process ended during the attempt"

// stoppedDetail is recorded with an attempt that does not count.
const stoppedDetail = "given up, since the process was to stop"

// note records an attempt that was made. A delivery that ends at its first attempt keeps no history: began, took and status say it
// all, and most deliveries are like that.
func (d *delivery) note(r *result) {
	if r.verdict != delivered || len(d.history) > 0 {
		d.history = remember(d.history, d.attempt(r.at, r))
	}
	d.began, d.ended = r.at, r.at.Add(r.took)
	d.status, d.detail, d.took = r.status, r.detail, r.took
}

// amend turns the last attempt, which seemed to have delivered, into a failed one.
func (d *delivery) amend(detail string) {
	d.detail = detail
	if n := len(d.history); n > 0 {
		d.history[n-1].Detail = detail
		return
	}
	d.ended = time.Time{}
	d.history = remember(nil, d.attempt(d.began, &result{status: d.status, took: d.took, detail: detail}))
	d.ended = d.began.Add(d.took)
}

// attempt describes the attempt that began at a time. It is the one that d.attempts counts last.
func (d *delivery) attempt(at time.Time, r *result) tandem.Attempt {
	since := d.ended
	if since.IsZero() {
		since = d.accepted
	}
	a := tandem.Attempt{Number: d.attempts, At: at.UTC().Round(0), Took: tandem.Duration(r.took.Round(time.Microsecond)), Status: r.status,
		Detail: r.detail}
	if !since.IsZero() {
		a.Wait = tandem.Duration(max(0, at.Sub(since)).Round(time.Millisecond))
	}
	return a
}

// remember keeps the first attempt and the newest ones. Those that tell the same share its text.
func remember(history []tandem.Attempt, a tandem.Attempt) []tandem.Attempt {
	n := len(history)
	if n > 0 && history[n-1].Detail == a.Detail {
		a.Detail = history[n-1].Detail
	}
	if n >= tandem.MaxAttemptsRecorded {
		history = slices.Delete(history, 1, n-tandem.MaxAttemptsRecorded+2)
	}
	return append(history, a)
}

// withStart returns the history with an attempt that begins now and whose end is not known. Number zero does not count.
func (d *delivery) withStart(number int) []tandem.Attempt {
	a := d.attempt(time.Now(), &result{detail: lostDetail})
	a.Number = number
	return remember(slices.Clone(d.history), a)
}

// uncount takes the newest n attempts that counted out of the count.
func (d *delivery) uncount(n int) {
	d.attempts -= n
	for i := len(d.history) - 1; i >= 0 && n > 0; i-- {
		if d.history[i].Number > 0 {
			d.history[i].Number = 0
			n--
		}
	}
}

// recall takes over what was done before.
func (d *delivery) recall(e effort) {
	d.attempts, d.probes, d.due, d.status, d.detail = e.Attempts, e.Probes, e.Due, e.Status, e.Detail
	d.took = time.Duration(e.Took) * time.Millisecond
	d.single = d.attempts > 0 || d.probes > 0 // it may have failed in a batch
	d.lost = e.Open
	d.recallHistory(e.History)
}

func (d *delivery) recallHistory(history []tandem.Attempt) {
	d.history = history
	if n := len(history); n > 0 {
		last := &history[n-1]
		d.began, d.ended = last.At, last.At.Add(time.Duration(last.Took))
	}
}
