package tandem

import (
	"slices"
	"strconv"
	"time"
)

// OperationState is the state of an Operation.
type OperationState string

// The states of an operation. All but running are final.
const (
	OperationRunning   OperationState = "running"
	OperationSucceeded OperationState = "succeeded"
	OperationFailed    OperationState = "failed"
	OperationCancelled OperationState = "cancelled"
)

// Final reports whether an operation in this state has ended.
func (s OperationState) Final() bool { return s != OperationRunning }

// Operation is the token that a client holds for work that goes on after the response.
type Operation struct {
	ID      string         `json:"id"`
	State   OperationState `json:"state"`
	Flow    string         `json:"flow,omitempty"`
	Created string         `json:"created"`           // RFC 3339
	Ended   string         `json:"ended,omitempty"`   // RFC 3339
	Expires string         `json:"expires,omitempty"` // RFC 3339: when the time is out
	Result  *Event         `json:"result,omitempty"`  // the event that ended it
	Problem *Problem       `json:"problem,omitempty"` // why it failed without an event: its time was out
}

// OperationSpec says which events end an operation. The first event stored in one of Topics that carries the
// operation's id and one of the types ends it; so does its time.
type OperationSpec struct {
	Topics  []string `json:"topics"`            // names or patterns; at least one
	Succeed []string `json:"succeed"`           // event types after which it has succeeded; at least one
	Fail    []string `json:"fail,omitempty"`    // event types after which it has failed
	Timeout Duration `json:"timeout,omitempty"` // from its beginning; zero means DefaultOperationTimeout
}

// Limits of an operation's time.
const (
	DefaultOperationTimeout = time.Hour
	MaxOperationTimeout     = 30 * 24 * time.Hour
)

// Check reports what is wrong with a spec, with a field for each fault. Code: Invalid.
func (s *OperationSpec) Check() error {
	e := Errorf(CodeInvalid, "the operation is not declared right")
	if len(s.Topics) == 0 {
		e.WithField("/topics", "names no topic")
	}
	for i, t := range s.Topics {
		if !ValidTopicPattern(t) {
			e.WithField("/topics/"+strconv.Itoa(i), "%q is not a topic name or pattern", t)
		}
	}
	if len(s.Succeed) == 0 {
		e.WithField("/succeed", "names no event type")
	}
	for i, t := range s.Succeed {
		if t == "" {
			e.WithField("/succeed/"+strconv.Itoa(i), "is empty")
		}
	}
	for i, t := range s.Fail {
		if t == "" || slices.Contains(s.Succeed, t) {
			e.WithField("/fail/"+strconv.Itoa(i), "%q is empty or ends it as succeeded, too", t)
		}
	}
	if s.Timeout < 0 || time.Duration(s.Timeout) > MaxOperationTimeout {
		e.WithField("/timeout", "%s is not between 0 and %s", s.Timeout, MaxOperationTimeout)
	}
	if len(e.Fields) > 0 {
		return e
	}
	return nil
}
