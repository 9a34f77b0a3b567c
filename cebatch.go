package tandem

import "strconv"

// ParseBatchJSON reads events in the JSON batch format of CloudEvents 1.0, as ParseEventJSON reads one: they share b. An
// empty batch is valid. It ends at the first wrong event; pointers begin with its index ("/3/type").
//
// Code: Invalid.
func ParseBatchJSON(b []byte) ([]Event, error) {
	var events []Event
	p := eventParser{jsonScanner: jsonScanner{b: b}}
	p.space()
	ok := p.array(0, func(i int) bool {
		events = append(events, Event{})
		if !p.event(&events[i], 1) {
			return false
		}
		if p.bad != nil {
			for f := range p.bad.Fields {
				p.bad.Fields[f].Pointer = "/" + strconv.Itoa(i) + p.bad.Fields[f].Pointer
			}
			return false
		}
		return true
	})
	switch {
	case p.bad != nil:
		return nil, p.bad
	case !ok || !p.end():
		return nil, p.err()
	}
	return events, nil
}
