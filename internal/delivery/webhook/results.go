package webhook

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// ItemResult is what an answer says of one event of a batch.
type ItemResult struct {
	Status     int // from 200 to 599
	RetryAfter time.Duration
	Detail     string         // one line, bounded, with possible secrets masked
	Events     []tandem.Event // replies; only with 2xx
}

// Results returns what became of each of n events of a batch, in the order in which they were sent, where an answer says so: with a
// status of 2xx and a body of tandem.MediaResults. ok is false without one: the status counts for all. An error means that the
// answer is broken, so that nothing is known of any. It is one, too, to answer a batch with CloudEvents: whose replies they are
// cannot be told.
func (a *Answer) Results(n int) (items []ItemResult, ok bool, err error) {
	if a.Status < 200 || a.Status > 299 {
		return nil, false, nil
	}
	mode, err := tandem.ContentMode(a.Header)
	switch {
	case err != nil:
		return nil, false, err
	case mode == tandem.ModeBinary || mode == tandem.ModeStructured || mode == tandem.ModeBatch:
		return nil, false, tandem.Errorf(tandem.CodeInvalid, "a batch was answered with CloudEvents").
			WithHint("answer %s, with the replies to each event in its result", tandem.MediaResults)
	}
	media, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), tandem.MediaResults) {
		return nil, false, nil
	}
	if a.Cut {
		return nil, false, tandem.Errorf(tandem.CodeTooLarge, "the results are over %d bytes", MaxAnswerBytes)
	}
	var body struct{ Results []itemJSON }
	if err := json.Unmarshal(a.Body, &body); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) { // whose text speaks of Go
			return nil, false, tandem.Errorf(tandem.CodeInvalid, "the results are not valid: a JSON %s does not belong at byte %d", kind.Value, kind.Offset)
		}
		return nil, false, tandem.Errorf(tandem.CodeInvalid, "the results are not valid: %w", err)
	}
	if len(body.Results) != n {
		return nil, false, tandem.Errorf(tandem.CodeInvalid, "%d results for %d events", len(body.Results), n)
	}
	items = make([]ItemResult, n)
	for i := range body.Results {
		if items[i], err = body.Results[i].item(a.hidden); err != nil {
			return nil, false, tandem.Wrap("result "+strconv.Itoa(i), err)
		}
	}
	return items, true, nil
}

type itemJSON struct {
	Status     int
	RetryAfter float64 // seconds
	Detail     string
	Events     json.RawMessage
}

// maxRetryAfter keeps a number of seconds within time.Duration. What is obeyed of it the policy says.
const maxRetryAfter = 365 * 24 * time.Hour

func (j *itemJSON) item(hidden []string) (ItemResult, error) {
	detail := hide([]byte(j.Detail[:min(len(j.Detail), maxHidden)]), hidden, 2*maxExcerpt)
	r := ItemResult{Status: j.Status, Detail: redact(detail, maxExcerpt)}
	switch {
	case j.Status < 200 || j.Status > 599:
		return r, tandem.Errorf(tandem.CodeInvalid, "the status %d is not from 200 to 599", j.Status)
	case j.RetryAfter < 0:
		return r, tandem.Errorf(tandem.CodeInvalid, "retryAfter is negative")
	}
	r.RetryAfter = time.Duration(min(j.RetryAfter, maxRetryAfter.Seconds()) * float64(time.Second))
	if j.Status > 299 || len(j.Events) == 0 || string(j.Events) == "null" {
		return r, nil
	}
	var err error
	r.Events, err = tandem.ParseBatchJSON(j.Events)
	return r, err
}
