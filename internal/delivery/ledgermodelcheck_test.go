package delivery

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// all returns all rows of a query, read in small pages.
func (m *ledgerModel) all(q tandem.DeliveryQuery) []tandem.Delivery {
	var out []tandem.Delivery
	q.Limit = 1 + m.rng.IntN(9)
	for {
		page, err := m.b.m.Deliveries(m.b.ctx, "s", q)
		if err != nil || len(page.Deliveries) > q.Limit {
			m.t.Fatalf("%+v: %d rows, %v", q, len(page.Deliveries), err)
		}
		out = append(out, page.Deliveries...)
		if q.After = page.Next; q.After == "" {
			return out
		}
	}
}

func rowName(d *tandem.Delivery) string {
	return fmt.Sprintf("%s epoch %d %s %s", d.Position, d.Epoch, d.State, d.Ended)
}

// final checks the outcomes when nothing is left to do, and that every other query finds the same rows.
func (m *ledgerModel) final() {
	at := map[string]bool{}
	keys := map[string][]string{}
	for _, e := range m.events {
		if slices.Contains(openStates, e.last.State) {
			m.t.Errorf("%s has no outcome: %+v", e.pos, e.last)
		}
		if d := &e.last; d.State == tandem.DeliveryDelivered && e.class == "late" && !m.healed && d.Attempts < 2 {
			m.t.Errorf("%s needed two attempts: %+v", e.pos, d)
		}
		var names []string
		for _, d := range m.at(e.pos) {
			if d.Ended != "" && (d.State != tandem.DeliveryExpired && d.State != tandem.DeliveryPassed || d.Version > 0 && len(d.ID) > 0 && d.Count == 0) {
				at[rowName(&d)] = true
			}
			if d.Version == 0 && d.Ended != "" {
				m.t.Errorf("no version: %+v", d)
			}
			names = append(names, rowName(&d))
		}
		if e.gone {
			continue
		}
		if e.key != "" {
			keys[e.key] = append(keys[e.key], names...)
		}
		var found []string
		for _, d := range m.all(tandem.DeliveryQuery{ID: e.id, Source: "/test"}) {
			found = append(found, rowName(&d))
		}
		if matched := slices.Equal(found, names); !matched && len(found)+len(names) > 0 && m.everSelected(e) {
			m.t.Errorf("by id %v, by position %v", found, names)
		}
	}
	m.checkKeys(keys)
	listed := map[string]bool{}
	for _, state := range []string{tandem.DeliveryDelivered, tandem.DeliveryDead, tandem.DeliveryExpired, tandem.DeliveryDiscarded, tandem.DeliveryPassed} {
		for _, d := range m.all(tandem.DeliveryQuery{State: state}) {
			if listed[rowName(&d)] {
				m.t.Errorf("listed twice: %s", rowName(&d))
			}
			if listed[rowName(&d)] = true; d.State != state {
				m.t.Errorf("%s among %s", d.State, state)
			}
		}
	}
	for _, d := range m.all(tandem.DeliveryQuery{}) {
		if !listed[rowName(&d)] {
			m.t.Errorf("listed only without state: %s", rowName(&d))
		}
		delete(listed, rowName(&d))
	}
	if len(listed) > 0 {
		m.t.Errorf("listed only by state: %v", listed)
	}
}

func (m *ledgerModel) everSelected(e *judgedEvent) bool {
	for _, epoch := range m.epochs {
		for _, v := range epoch {
			if s := modelSub(v.kind); matchesTopic(&s, e.pos.Topic) {
				return true
			}
		}
	}
	return false
}

func (m *ledgerModel) checkKeys(keys map[string][]string) {
	for key, names := range keys {
		found := map[string]bool{}
		for _, d := range m.all(tandem.DeliveryQuery{Key: key}) {
			if d.Key != key {
				m.t.Errorf("key %s among those of %s", d.Key, key)
			}
			found[rowName(&d)] = true
		}
		for _, n := range names {
			if !found[n] && !strings.Contains(n, "other/") && !strings.Contains(n, "more/") {
				m.t.Errorf("%s is not found by key %s", n, key)
			}
		}
	}
}
