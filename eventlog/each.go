package eventlog

import (
	"context"

	"github.com/tandem-hybrid/tandem"
)

// AppendEach stores events that do not belong together, in the order given, and says for each what became of it: one that is wrong
// keeps no other from being stored. They cost one append if all are right, and otherwise one each. An event that could not be stored
// for now does not hold back those behind it.
func (l *Log) AppendEach(ctx context.Context, topic string, events []tandem.Event) []tandem.Stored {
	out := make([]tandem.Stored, len(events))
	receipts, err := l.Append(ctx, topic, events)
	switch {
	case err == nil:
		for i := range out {
			out[i].Receipt = receipts[i]
		}
	case len(events) == 1 || tandem.CodeOf(err) != tandem.CodeInvalid && tandem.CodeOf(err) != tandem.CodeConflict && tandem.CodeOf(err) != tandem.CodeTooLarge:
		for i := range out { // it is none of theirs
			out[i].Err = err
		}
	default:
		for i := range events {
			out[i] = l.AppendEach(ctx, topic, events[i:i+1])[0]
		}
	}
	return out
}
