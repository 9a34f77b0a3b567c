package operation

import "time"

// deadlines is a heap of entries, the earliest first (container/heap).
type deadlines []*entry

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].deadline.Before(d[j].deadline) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heapPos, d[j].heapPos = i, j
}

func (d *deadlines) Push(x any) {
	e := x.(*entry)
	e.heapPos = len(*d)
	*d = append(*d, e)
}

func (d *deadlines) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return e
}

// next returns how long it is to the earliest deadline, an hour if there is none.
func (d deadlines) next(now time.Time) time.Duration {
	if len(d) == 0 {
		return time.Hour
	}
	return max(0, d[0].deadline.Sub(now))
}

// passed returns up to maxCommitDue entries whose deadline has passed, without removing them.
func (d deadlines) passed(now time.Time) (out []*entry) {
	// In a heap an entry is due only if its parent is: look below due entries only.
	for at := []int{0}; len(at) > 0 && len(out) < maxCommitDue; {
		i := at[0]
		at = at[1:]
		if i >= len(d) || d[i].deadline.After(now) {
			continue
		}
		out = append(out, d[i])
		at = append(at, 2*i+1, 2*i+2)
	}
	return out
}
