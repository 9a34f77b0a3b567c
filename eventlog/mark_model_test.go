package eventlog_test

import (
	"fmt"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

func (m *marked) append(topic string, n int) {
	events := make([]tandem.Event, n)
	for i := range events {
		m.count++
		data := fmt.Sprintf("%q", fmt.Sprint(topic, "-", m.count))
		events[i] = tandem.Event{Source: "/s", Type: []string{"even", "odd"}[m.count%2], Subject: fmt.Sprint(m.count % 7), Data: []byte(data)}
		if topic != "other" && m.filter.Match(&events[i]) {
			m.stored[data] = kept
		}
	}
	if _, err := m.log.Append(ctx, topic, events); err != nil {
		m.t.Fatal(err)
	}
}

// page reads once; what is read is the member's if mine.
func (m *marked) page(r *eventlog.Reader, mine bool) {
	p, err := r.ReadWithin(ctx, m.filter, eventlog.Limits{Events: 1 + m.rng.IntN(30)})
	if err != nil {
		m.t.Fatal(err)
	}
	if mine {
		m.take(p.Events, p.Gap)
		m.at = p.Cursor
	}
	if m.rng.IntN(3) == 0 {
		r.Forget()
	}
}

func (m *marked) take(events []tandem.Record, gap *tandem.Gap) {
	if gap != nil {
		m.gaps++
		if gap.From == "" || gap.To == "" {
			m.t.Errorf("gap %+v", gap)
		}
	}
	for i := range events {
		e := &events[i]
		m.got[string(e.Data)]++
		part := fmt.Sprint(e.Position.Topic, "/", e.Position.Partition)
		if e.Position.Offset == 0 { // of another incarnation
			delete(m.last, part)
		}
		if last, ok := m.last[part]; ok && e.Position.Offset <= last {
			m.t.Errorf("%s: %d after %d", part, e.Position.Offset, last)
		}
		m.last[part] = e.Position.Offset
	}
}

// join lets the member read up to the mark of the shared reader, if it is not ahead of it.
func (m *marked) join() {
	if m.own == nil || m.own.Ahead(m.shared.Mark()) {
		return
	}
	mark, at := m.shared.Mark(), m.shared.Cursor()
	for range m.rng.IntN(3) { // what happens meanwhile is handed over later
		m.append("a", 1+m.rng.IntN(10))
	}
	events, gaps := readTo(m.t, m.own, m.filter, mark, 1+m.rng.IntN(50))
	m.take(events, nil)
	for _, g := range gaps {
		m.take(nil, g)
	}
	if m.own.Ahead(mark) {
		m.t.Error("ahead of the mark that it was to read to")
	}
	if m.total && m.own.Cursor() != at { // otherwise the cursor still names topics that are gone
		m.t.Errorf("at %s, the mark is at %s", m.own.Cursor(), at)
	}
	m.own.Close()
	m.own, m.at = nil, at
}

// pull reads the rest.
func (m *marked) pull() {
	r := m.shared
	if m.own != nil {
		r = m.own
	}
	for range 200 {
		m.page(r, true)
	}
}

func (m *marked) check() {
	lost := 0
	for data, f := range m.stored {
		switch n := m.got[data]; {
		case n > 1:
			m.t.Errorf("%s came %d times", data, n)
		case n == 0 && f == kept:
			m.t.Errorf("%s did not come", data)
		case n == 0 && f == expired:
			lost++
		}
	}
	if lost > 0 && m.gaps == 0 {
		m.t.Errorf("%d events are missing without a gap", lost)
	}
}
