package delivery

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// Limits of a policy.
const (
	maxConcurrency = 1024
	maxAttempts    = 1000
	maxBackoffs    = 100 // waits in a list
	maxFailures    = 1000
	minRate        = 0.001 // an event in about a quarter of an hour
	maxRate        = 1e6
)

// checkPolicy reports what is wrong with how a subscription is to be delivered.
func checkPolicy(bad *tandem.Error, sub *tandem.Subscription) {
	checkRange(bad, "/attempts", sub.Attempts, maxAttempts)
	checkRange(bad, "/concurrency", sub.Concurrency, maxConcurrency)
	checkRange(bad, "/batchSize", sub.BatchSize, tandem.MaxBatchSize)
	checkRange(bad, "/breaker/failures", sub.Breaker.Failures, maxFailures)
	if sub.BatchSize > 0 && sub.Content != tandem.ContentBatch && sub.AMQP == nil {
		bad.WithField("/batchSize", "goes with content: batch, or amqp")
	}
	if r := sub.Rate; r != 0 && !(r >= minRate && r <= maxRate) {
		bad.WithField("/rate", "must be from %v to %v events a second", minRate, int(maxRate))
	}
	for _, d := range []struct {
		at string
		d  tandem.Duration
	}{
		{"/timeout", sub.Timeout}, {"/retryAfter", sub.RetryAfter}, {"/pauseAfter", sub.PauseAfter}, {"/breaker/wait", sub.Breaker.Wait},
		{"/backoff/base", sub.Backoff.Base}, {"/backoff/max", sub.Backoff.Max},
	} {
		if d.d < 0 {
			bad.WithField(d.at, "must not be negative")
		}
	}
	checkOneOf(bad, "/ordering", sub.Ordering, tandem.OrderingKey, tandem.OrderingNone)
	checkOneOf(bad, "/exhausted", sub.Exhausted, tandem.ExhaustedDead, tandem.ExhaustedPause)
	if sub.PauseAfter != 0 && sub.Exhausted != tandem.ExhaustedPause {
		bad.WithField("/pauseAfter", "goes with exhausted: pause")
	}
	checkBackoffList(bad, &sub.Backoff)
	for _, status := range slices.Sorted(maps.Keys(sub.Answers)) {
		answer := sub.Answers[status]
		at := "/answers/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(status)
		if _, ok := parseStatus(status); !ok {
			bad.WithField(at, "%q is neither a status from 200 to 599 nor 2xx, 3xx, 4xx or 5xx", status)
		}
		if answer == "" {
			bad.WithField(at, "must be delivered, retry, dead or disable")
		}
		checkOneOf(bad, at, answer, tandem.AnswerDelivered, tandem.AnswerRetry, tandem.AnswerDead, tandem.AnswerDisable)
	}
}

func checkBackoffList(bad *tandem.Error, b *tandem.Backoff) {
	switch {
	case b.List != nil && len(b.List) == 0:
		bad.WithField("/backoff/list", "must not be empty")
	case len(b.List) > 0 && (b.Base != 0 || b.Max != 0):
		bad.WithField("/backoff/list", "cannot stand beside base and max")
	case len(b.List) > maxBackoffs:
		bad.WithField("/backoff/list", "has more than %d waits", maxBackoffs)
	}
	for i, d := range b.List {
		if d <= 0 {
			bad.WithField("/backoff/list/"+strconv.Itoa(i), "must be positive")
		}
	}
}

// checkOneOf lets a field be empty or one of values.
func checkOneOf(bad *tandem.Error, at, v string, values ...string) {
	if v == "" {
		return
	}
	for _, ok := range values {
		if v == ok {
			return
		}
	}
	last := len(values) - 1
	bad.WithField(at, "%q is not %s or %s", v, strings.Join(values[:last], ", "), values[last])
}

func checkRange(bad *tandem.Error, at string, v, top int) {
	if v < 0 || v > top {
		bad.WithField(at, "must be from 1 to %d", top)
	}
}
