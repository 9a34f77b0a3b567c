package tandem

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
