package flow

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// How many requests are remembered, and how long a text of one may be.
const (
	maxRequests       = 4096
	maxFailedRequests = 1024 // beside them
	maxRequestText    = 256
)

// Request is a request through the public listener that was answered.
type Request struct {
	Flow  string
	Began time.Time
	Took  time.Duration
	tandem.FlowRequest
}

// failed reports whether the server could not answer, or the client did not wait.
func (r *Request) failed() bool { return r.Status == 0 || r.Status >= 400 }

// requests are the newest ones, and the newest that failed, which others do not push out.
type requests struct {
	mu          sync.Mutex
	all, failed ring
}

// ring holds the newest of what is put into it.
type ring struct {
	items []Request
	next  int
}

func (r *ring) put(max int, q Request) {
	if len(r.items) < max {
		r.items = append(r.items, q)
		return
	}
	r.items[r.next] = q
	r.next = (r.next + 1) % max
}

// Note remembers a request. It does not block.
func (f *Flows) Note(q Request) {
	if q.Flow == "" {
		return // it matched no route
	}
	// Copies: each is a part of the text that a client sent, which may be long and would be kept whole.
	for _, text := range []*string{&q.Method, &q.Path, &q.Principal, &q.Trace} {
		*text = strings.Clone((*text)[:min(len(*text), maxRequestText)])
	}
	rs := &f.requests
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all.put(maxRequests, q)
	if q.failed() {
		rs.failed.put(maxFailedRequests, q)
	}
}

// find returns the remembered requests for which ok, oldest first.
func (rs *requests) find(ok func(*Request) bool) []Request {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var out []Request
	for _, r := range []*ring{&rs.all, &rs.failed} {
		for i := range r.items {
			if ok(&r.items[i]) && !slices.Contains(out, r.items[i]) {
				out = append(out, r.items[i])
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Request) int { return a.Began.Compare(b.Began) })
	return out
}

// isAPI reports whether an event came through the API: its Route names the resource.
func isAPI(route string) bool { return strings.HasPrefix(route, "/v1/") }
