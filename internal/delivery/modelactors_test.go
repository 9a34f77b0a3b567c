package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// handle is the endpoint.
func (m *model) handle(r *http.Request) (*http.Response, error) {
	got, err := m.received(r)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	if got[0].replay > 0 {
		m.again = append(m.again, got...)
	} else {
		m.sent = append(m.sent, got...)
	}
	down, bad, each := 0, make([]bool, len(got)), m.sub.BatchSize > 0 && m.dice.IntN(2) == 0
	spoilt := false
	for i, s := range got {
		down, bad[i] = m.luck(s.key)
		spoilt = spoilt || bad[i]
	}
	kind, took := m.dice.IntN(20), time.Duration(m.dice.IntN(20))*time.Millisecond
	m.mu.Unlock()
	if down == 1 {
		m.finish(got, nil)
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	if spoilt && kind == 0 {
		took = time.Minute
	}
	t := time.NewTimer(took)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		m.finish(got, nil)
		return nil, r.Context().Err()
	}
	answer := func(i int) (code int, replied bool) {
		switch {
		case bad[i] && kind < 3:
			return 422, false
		case bad[i] && kind < 6:
			return 404, false
		case bad[i]:
			return 500, false
		}
		return 200, got[i].replies
	}
	switch {
	case down == 2:
		m.finish(got, nil)
		return status(503), nil
	case each:
		m.finish(got, answer)
		return results(len(got), answer), nil
	case spoilt && kind == 6:
		m.finish(got, nil)
		return reply(tandem.MediaEvent, `{"specversion":"1.0","id":"x"}`), nil // not a CloudEvent
	}
	for i := range got { // the status of one counts for all
		if code, _ := answer(i); code != 200 {
			m.finish(got, nil)
			return status(code), nil
		}
	}
	if m.sub.BatchSize > 0 { // replies need a result for each event
		m.finish(got, func(int) (int, bool) { return 200, false })
		return status(204), nil
	}
	m.finish(got, answer)
	if got[0].replies {
		return reply(tandem.MediaEvent, modelReply), nil
	}
	return status(204), nil
}

const modelReply = `{"specversion":"1.0","id":"r","source":"/svc","type":"reply"}`

// results is an answer for each of n events.
func results(n int, answer func(i int) (code int, replied bool)) *http.Response {
	body := []byte(`{"results":[`)
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		code, replied := answer(i)
		body = fmt.Appendf(body, `{"status":%d`, code)
		if replied {
			body = append(body, `,"events":[`+modelReply+`]`...)
		}
		body = append(body, '}')
	}
	return reply(tandem.MediaResults, string(append(body, "]}"...)))
}

// received reads the events of a request.
func (m *model) received(r *http.Request) ([]*sending, error) {
	buf, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	header := func(e *tandem.Event) (hook, attempt string) {
		return r.Header.Get(tandem.HeaderWebhookID), r.Header.Get(tandem.HeaderAttempt)
	}
	var events []tandem.Event
	if r.Header.Get("Content-Type") == tandem.MediaBatch {
		events, err = tandem.ParseBatchJSON(buf)
		header = func(e *tandem.Event) (hook, attempt string) {
			for _, x := range e.Extensions {
				switch x.Name {
				case tandem.AttrDelivery:
					hook = x.Value
				case tandem.AttrAttempt:
					attempt = x.Value
				}
			}
			return hook, attempt
		}
	} else {
		var e tandem.Event
		e, err = tandem.ParseEventJSON(buf)
		events = append(events, e)
	}
	if err != nil {
		return nil, err
	}
	replay, _ := strconv.Atoi(r.Header.Get(tandem.HeaderReplay))
	keys := map[string]bool{}
	out := make([]*sending, len(events))
	for i := range events {
		e := &events[i]
		hook, attempt := header(e)
		n, err := strconv.Atoi(attempt)
		if err != nil {
			return nil, err
		}
		out[i] = &sending{event: e.ID, key: e.Subject, hook: hook, attempt: n, from: time.Now(), replay: replay, replies: e.Data[5]%2 == 1}
		if e.Subject != "" && keys[e.Subject] && m.kind != modelUnordered {
			m.t.Errorf("two events of key %s in a request", e.Subject)
		}
		keys[e.Subject] = true
	}
	if n := m.sub.BatchSize; len(out) > max(1, n) {
		m.t.Errorf("%d events in a request, at most %d may be", len(out), n)
	}
	return out, nil
}

// finish notes the end of an attempt, and for which events it was a success: for none if answer is nil.
func (m *model) finish(got []*sending, answer func(i int) (code int, replied bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range got {
		s.to = time.Now()
		if answer != nil {
			code, replied := answer(i)
			s.ok, s.done, s.replied = code == 200, s.to, replied
			if m.b.real && s.to.Sub(s.from) > time.Duration(m.sub.Timeout)/2 {
				s.maybe, s.ok = s.ok, false // the time may be out before the answer is there
			}
		}
	}
}

// luck says how the endpoints and clients are, and whether an event of a key fails by itself. Called with mu held.
func (m *model) luck(key string) (down int, bad bool) {
	if m.healed {
		return 0, false
	}
	return m.down, m.poisoned[key] || m.dice.Float64() < m.flaky
}

// client pulls until ctx is done. It acknowledges, releases, extends and forgets leases, and comes late.
func (m *model) client(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		mgr, process := m.mgr, m.process
		req := tandem.PullRequest{Max: 1 + m.dice.IntN(6), Wait: tandem.Duration(m.b.short(time.Duration(m.dice.IntN(3000)) * time.Millisecond)),
			Visibility: tandem.Duration(m.b.lease(time.Duration(1+m.dice.IntN(4)) * time.Second))}
		m.mu.Unlock()
		leases, err := mgr.Pull(ctx, "s", req)
		if err != nil || len(leases) == 0 {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		visibility := time.Duration(req.Visibility)
		m.work(leases, m.leased(leases, process), visibility)
	}
}

// leased notes leases. Those of before the last turn are void.
func (m *model) leased(leases []tandem.Lease, process int) []*sending {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	out := make([]*sending, len(leases))
	for i, l := range leases {
		e := l.Event
		out[i] = &sending{event: e.ID, key: e.Subject, hook: l.ID, attempt: l.Attempt, from: now, to: now}
		if process == m.process && !m.discarded[e.ID] {
			until, err := time.Parse(time.RFC3339Nano, l.Until)
			if err != nil {
				m.t.Error(err)
			}
			out[i].to = until
		}
		m.sent = append(m.sent, out[i])
	}
	held := 0
	for _, s := range m.sent {
		if s.to.After(now) {
			held++
		}
	}
	if held > m.sub.Concurrency {
		m.t.Errorf("%d leases are held at %v, of %d", held, now, m.sub.Concurrency)
	}
	return out
}

// work does something with each lease of a pull, in a few calls for all.
func (m *model) work(leases []tandem.Lease, got []*sending, visibility time.Duration) {
	const ack, release, forget, extend, late = 0, 1, 2, 3, 4
	plan := make([]int, len(leases))
	m.mu.Lock()
	for i, s := range got {
		down, bad := m.luck(s.key)
		switch n := m.dice.IntN(20); {
		case down != 0 || bad && n < 6:
			plan[i] = forget
		case bad && n < 18:
			plan[i] = release
		case bad:
			plan[i] = late
		case n < 2 && !m.healed:
			plan[i] = extend
		}
	}
	took := time.Duration(m.dice.IntN(40)) * time.Millisecond
	delay := time.Duration(m.dice.IntN(800)-100) * time.Millisecond
	m.mu.Unlock()
	some := func(what int) (tokens []string, of []*sending) {
		for i := range leases {
			if plan[i] == what {
				tokens, of = append(tokens, leases[i].Token), append(of, got[i])
			}
		}
		return tokens, of
	}
	time.Sleep(took)
	m.ack(some(ack))
	if tokens, of := some(release); len(tokens) > 0 {
		m.giveBack(of)
		_, _ = m.manager().Nack(m.b.ctx, "s", tokens, delay) // after an error the leases expire
	}
	if tokens, of := some(extend); len(tokens) > 0 {
		m.extend(tokens, of)
		time.Sleep(m.b.lease(3*time.Second) / 2)
		m.ack(tokens, of)
	}
	if tokens, of := some(late); len(tokens) > 0 {
		time.Sleep(visibility)
		m.ack(tokens, of)
	}
}

func (m *model) manager() *Manager {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mgr
}

// giveBack notes that leases end now.
func (m *model) giveBack(of []*sending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range of {
		if s.to.After(time.Now()) {
			s.to = time.Now()
		}
	}
}

func (m *model) extend(tokens []string, of []*sending) {
	m.mu.Lock()
	mgr, process := m.mgr, m.process
	m.mu.Unlock()
	visibility := m.b.lease(3 * time.Second)
	until := time.Now().Add(visibility)
	out, err := mgr.Extend(m.b.ctx, "s", tokens, visibility)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range out {
		if r.Outcome == tandem.LeaseExtended && process == m.process {
			of[i].to = until
		}
	}
}

// ack acknowledges leases, that may be over.
func (m *model) ack(tokens []string, of []*sending) {
	if len(tokens) == 0 {
		return
	}
	m.giveBack(of) // from now on others may get what comes after
	out, err := m.manager().Ack(m.b.ctx, "s", tokens)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range of {
		switch {
		case err != nil:
			s.maybe = true
		case out[i].Outcome == tandem.LeaseAcknowledged:
			s.ok, s.done = true, time.Now()
		case out[i].Outcome == tandem.LeaseInvalid:
			m.t.Errorf("the lease of %s is called invalid", s.event)
		}
	}
}
