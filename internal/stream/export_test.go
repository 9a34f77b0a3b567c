package stream

// Internals returns how many tails and members there are.
func (s *Streams) Internals() (tails, members int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tails), len(s.members)
}

// SegmentBytes is what one client that takes nothing may hold beyond Options.WaitingBytes, and an event.
const SegmentBytes = segmentBytes
