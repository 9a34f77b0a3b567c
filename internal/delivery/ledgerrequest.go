package delivery

import (
	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// recordRequest notes a call of a chain that failed: there is no event, so that the row has no place. Called with mu held.
func (s *subscription) recordRequest(c *chain.Called) {
	a := c.Answer
	made := 0 // nobody was called while it is paused
	if a.Took > 0 {
		made = 1
	}
	r := &row{State: tandem.DeliveryFailed, Attempts: made, isRequest: true,
		History: []tandem.Attempt{{Number: made, At: a.At, Took: tandem.Duration(a.Took), Status: a.Status, Detail: a.Detail}}}
	r.event(c.Event)
	switch {
	case a.Outcome != "":
		r.Reason = string(a.Outcome) + "; the event was not stored"
	default:
		r.Reason = "what it did stands, and the event was not stored: " + c.Because
	}
	s.recordRow(where{}, s.config.Epoch, r)
}
