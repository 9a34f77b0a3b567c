package api

import "sync"

// relay hands groups of lines from the goroutine that parses them to the one that stores them. While the parser waits for
// more of the body, what it has parsed so far may be taken, however little: so a slow client has its receipts soon, and
// a fast one has large groups. There are at most three groups: being filled, full, and being stored.
type relay struct {
	mu      sync.Mutex
	changed sync.Cond
	filling *group // the parser's, unless it is reading
	full    *group // waits to be stored
	reading bool
	ended   bool
}

// give hands over the group that is being filled and returns the next, which fresh makes. It waits while another is full.
func (r *relay) give(fresh *group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.full != nil {
		r.changed.Wait()
	}
	r.full, r.filling = r.filling, fresh
	r.changed.Broadcast()
}

// pause lets the group that is being filled be taken until resume.
func (r *relay) pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = true
	r.changed.Broadcast()
}

func (r *relay) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
}

// end says that nothing is parsed any more.
func (r *relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.changed.Broadcast()
}

// take waits for a group and returns it, nil after the last. fresh makes what takes the place of one that is not full.
func (r *relay) take(fresh func() *group) *group {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		g := r.full
		switch {
		case g != nil:
			r.full = nil
			r.changed.Broadcast()
			return g
		case (r.reading || r.ended) && len(r.filling.lines) > 0:
			g, r.filling = r.filling, fresh()
			return g
		case r.ended:
			return nil
		}
		r.changed.Wait()
	}
}
