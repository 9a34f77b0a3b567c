package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Offer is a load, open loop: attempts are due by the clock, whatever became of earlier ones, and each is timed from when
// it was due. So a system that falls behind shows it, where a closed loop would wait with it (coordinated omission).
type Offer struct {
	Rate     float64       // attempts a second
	Warmup   time.Duration // offered before the cell begins, and not counted
	Duration time.Duration // offered and counted
	Even     bool          // at even intervals; otherwise arrivals are a Poisson process
	Seed     uint64        // of the arrivals
	InFlight int           // bound of attempts under way; zero means 2,000
}

// Unit is a unit of work that is due.
type Unit struct {
	Seq int       // from 0, of the warm-up too
	ID  string    // the effects are found under it; unique in the cell
	Due time.Time // by the wall clock, to compare with what services note

	Warmup bool // it is offered before the cell begins, and not counted
}

// Told is what the caller was told.
type Told uint8

// What a caller can be told.
const (
	Unknown  Told = iota // nothing, or that nobody knows
	Accepted             // that it is or will be done
	Refused              // that it is not
)

// Send sends a request and tells what became of it, as ToldBy does.
func Send(c *http.Client, req *http.Request) Told {
	res, err := c.Do(req)
	return ToldBy(res, err)
}

// ToldBy tells what an answer to a request means for whoever sent it: 2xx that it is accepted; no connection, 4xx and 5xx
// that it is not; and a connection that broke off, or 504, nothing. It reads the body to its end and closes it.
func ToldBy(res *http.Response, err error) Told {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case err != nil:
		return Unknown
	}
	_, rerr := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	switch {
	case rerr != nil, res.StatusCode == http.StatusGatewayTimeout:
		return Unknown
	case res.StatusCode/100 == 2:
		return Accepted
	}
	return Refused
}

// attempt is what became of a unit. Times are since the beginning of the cell, negative in the warm-up.
type attempt struct {
	id       string
	due      time.Duration
	begun    time.Duration
	answered time.Duration
	told     Told
}

const (
	defaultInFlight = 2000
	// late is how long after it was due an attempt may begin and still count as begun in time, and enough the share that
	// must for a cell to have latencies.
	late   = 50 * time.Millisecond
	enough = 0.95
	// attemptTimeout bounds one attempt: longer than any deadline of a route.
	attemptTimeout = 15 * time.Second
)

// arrivals are the times at which units are due, since the beginning of the cell. They depend on nothing but the offer.
func (o Offer) arrivals() []time.Duration {
	rng := rand.New(rand.NewPCG(o.Seed, 0x6f66666572))
	gap := float64(time.Second) / o.Rate
	due := make([]time.Duration, 0, int(o.Rate*(o.Warmup+o.Duration).Seconds()*1.1)+16)
	for at := -float64(o.Warmup); ; {
		if o.Even {
			due = append(due, time.Duration(at))
			at += gap
		} else {
			at += rng.ExpFloat64() * gap
			due = append(due, time.Duration(at))
		}
		if last := len(due) - 1; due[last] >= o.Duration {
			return due[:last]
		}
	}
}

// offer makes the attempts and returns them when the last has ended. It returns early, with what there is, when ctx is done.
// zero is the beginning of the cell, in the future by the warm-up.
func offer(ctx context.Context, o Offer, zero time.Time, prefix string, try func(context.Context, Unit) Told) []attempt {
	due := o.arrivals()
	attempts := make([]attempt, len(due))
	slots := make(chan struct{}, o.inFlight())
	// An attempt that was begun is let finish when the run is broken off, so that it is known what became of it.
	tries := context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	for i := range due {
		a := &attempts[i]
		a.id, a.due = prefix+strconv.Itoa(i), due[i]
		if !sleepUntil(ctx, zero.Add(due[i])) {
			attempts = attempts[:i]
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(tries, attemptTimeout)
			defer cancel()
			a.begun = time.Since(zero)
			a.told = try(ctx, Unit{Seq: i, ID: a.id, Due: zero.Add(due[i]), Warmup: due[i] < 0})
			a.answered = time.Since(zero)
		})
	}
	wg.Wait()
	return attempts
}

// load says what was offered, and, when the generator could not keep it, why not.
func (o Offer) load(attempts []attempt) (l Load, notReachable string) {
	inTime := 0
	for _, a := range attempts {
		if a.begun-a.due <= late {
			inTime++
		}
	}
	l = Load{Rate: o.Rate, Units: int64(len(attempts))}
	n := len(attempts)
	if n == 0 {
		return l, ""
	}
	l.Reached = o.Rate * float64(inTime) / float64(n)
	if float64(inTime) < enough*float64(n) {
		notReachable = fmt.Sprintf("%d of %d attempts began more than %s after they were due: with at most %d under way, this load cannot be kept here",
			n-inTime, n, late, o.inFlight())
	}
	return l, notReachable
}

func (o Offer) inFlight() int {
	if o.InFlight > 0 {
		return o.InFlight
	}
	return defaultInFlight
}

// sleepUntil sleeps in short pieces, to end soon after ctx, and reports whether the time has come.
func sleepUntil(ctx context.Context, at time.Time) bool {
	for {
		rest := time.Until(at)
		if ctx.Err() != nil {
			return false
		}
		if rest <= 0 {
			return true
		}
		sleep(min(rest, 20*time.Millisecond))
	}
}
