package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	// maxPullers is how many calls of Pull may wait at a time, for each subscription.
	maxPullers = 1024
	// minVisibility is the shortest lease: a shorter one would be over before the client has it.
	minVisibility = time.Second
)

// puller is a call of Pull. Those that wait are served in the order in which they came.
type puller struct {
	wake chan struct{}
}

// Pull leases up to req.Max events, none that waits behind another one of its key. It returns as soon as there is one, none when
// req.Wait is over, while the subscription is paused, too. Several clients that wait share what there is. A lease is an attempt: it
// ends by Ack, by Nack, or, failed, when its visibility is over. From the second attempt on the start is stored before the lease is
// returned; leases themselves are not, so that after a restart the events are handed out again. Codes: NotFound, Invalid (the
// request; the subscription is not pulled), Overloaded (too many calls wait), Unavailable.
func (m *Manager) Pull(ctx context.Context, name string, req tandem.PullRequest) ([]tandem.Lease, error) {
	s, err := m.findRunning(name)
	if err == nil {
		err = checkPullRequest(&req)
	}
	if err != nil {
		return nil, err
	}
	leases, err := s.pull(ctx, req)
	if err != nil {
		return nil, tandem.Wrap("pull "+name, err)
	}
	return leases, nil
}

func checkPullRequest(req *tandem.PullRequest) error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the pull is invalid")
	checkRange(bad, "/max", req.Max, tandem.MaxBatchSize)
	if req.Wait < 0 || req.Wait > tandem.Duration(tandem.MaxPullWait) {
		bad.WithField("/wait", "must be from 0 to %s", tandem.MaxPullWait)
	}
	checkVisibility(bad, "/visibility", req.Visibility)
	if len(bad.Fields) > 0 {
		return bad
	}
	req.Max = max(req.Max, 1)
	return nil
}

func checkVisibility(bad *tandem.Error, at string, d tandem.Duration) {
	if d != 0 && (d < tandem.Duration(minVisibility) || d > tandem.Duration(tandem.MaxVisibility)) {
		bad.WithField(at, "must be from %s to %s", minVisibility, tandem.MaxVisibility)
	}
}

// findRunning returns a subscription, and tells one that is not there from one that cannot be asked now. Codes: NotFound, Unavailable.
func (m *Manager) findRunning(name string) (*subscription, error) {
	m.mu.RLock()
	stopped := m.subs == nil
	m.mu.RUnlock()
	if stopped {
		return nil, notRunning()
	}
	s, err := m.find(name)
	if err == nil && !s.started() {
		return nil, notRunning()
	}
	return s, err
}

// pull waits for its turn and for events.
func (s *subscription) pull(ctx context.Context, req tandem.PullRequest) ([]tandem.Lease, error) {
	p := &puller{wake: make(chan struct{}, 1)}
	defer s.leave(p)
	var timeout <-chan time.Time
	if req.Wait > 0 {
		t := time.NewTimer(time.Duration(req.Wait))
		defer t.Stop()
		timeout = t.C
	}
	for {
		b, err := s.takeLeases(p, req)
		if err != nil {
			return nil, err
		}
		if len(b.jobs) > 0 {
			leases, err := s.handOver(ctx, b)
			if err != nil || len(leases) > 0 {
				return leases, err
			}
			continue // all of them had become dead, expired or sought over
		}
		if timeout == nil {
			return nil, nil
		}
		select {
		case <-p.wake:
		case <-timeout:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// leave takes a puller out of the queue, and lets the next have its turn.
func (s *subscription) leave(p *puller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unqueue(p)
}

func (s *subscription) unqueue(p *puller) {
	if i := slices.Index(s.pullers, p); i >= 0 {
		s.pullers = slices.Delete(s.pullers, i, i+1)
	}
	s.wakePuller()
}

// wakePuller lets the first of those that wait look for events, if there are any.
func (s *subscription) wakePuller() {
	if len(s.pullers) > 0 && s.ready.len() > 0 && s.sends() && s.inFlight < s.concurrency() {
		s.pullers[0].signal()
	}
}

// wakePullers lets all see that the subscription ends, or is not pulled any more.
func (s *subscription) wakePullers() {
	for _, p := range s.pullers {
		p.signal()
	}
}

func (p *puller) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// ended is why a subscription takes no calls any more.
func (s *subscription) ended() error {
	switch {
	case s.config.Deleted:
		return tandem.Errorf(tandem.CodeNotFound, "subscription %s was deleted", s.name)
	case s.lost:
		return tandem.Errorf(tandem.CodeUnavailable, "another process has taken subscription %s over", s.name)
	}
	return tandem.Errorf(tandem.CodeUnavailable, "deliveries are stopping")
}

func notPulled(name string) error {
	return tandem.Errorf(tandem.CodeInvalid, "subscription %s is not pulled", name).
		WithHint("its deliveries are sent to a target; declare it with pull in place of a service or url")
}

// pulled reports whether clients lease the events.
func (s *subscription) pulled() bool { return s.config.current().Pull != nil }

// visibility is how long leases hold unless the client says otherwise.
func (s *subscription) visibility() time.Duration {
	if p := s.config.current().Pull; p != nil && p.Visibility > 0 {
		return time.Duration(p.Visibility)
	}
	return tandem.DefaultVisibility
}

// retarget lets a changed declaration take effect on who gets the events: what clients were waiting for may be sent now, and what
// was known of an endpoint says nothing about clients.
func (s *subscription) retarget() {
	if !s.pulled() {
		s.wakePullers()
		return
	}
	if s.endpoint.failing {
		s.endpointBack()
	}
	s.endpoint.suspects = nil
	s.allowed = 0
}
