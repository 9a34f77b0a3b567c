package delivery

import (
	"context"
	"slices"
	"sync"
)

// turns bounds the requests of a link that are under way, of chains with the links of before as well. The others wait, first come first
// served; there are never more of them than publishers. The zero value has no bound.
type turns struct {
	mu    sync.Mutex
	most  int // zero: any number
	taken int
	queue []chan struct{} // each is closed when it is its turn
}

// allow sets how many may be under way from now on. Those that are go on.
func (t *turns) allow(most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.most = most
	t.next()
}

// take waits for a turn, which give ends. It returns false when ctx ended before.
func (t *turns) take(ctx context.Context) bool {
	mine := make(chan struct{})
	t.mu.Lock()
	t.queue = append(t.queue, mine)
	t.next()
	t.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.queue, mine)
	if i < 0 {
		return true // at the same moment
	}
	t.queue = slices.Delete(t.queue, i, i+1)
	return false
}

func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	t.next()
}

// next lets those go on whose turn it is. Called with mu held.
func (t *turns) next() {
	for len(t.queue) > 0 && (t.most == 0 || t.taken < t.most) {
		close(t.queue[0])
		t.queue = t.queue[1:]
		t.taken++
	}
}
