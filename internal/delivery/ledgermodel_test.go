package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestLedgerModel publishes, changes filters and topics, seeks, lets retention run, redrives, discards, pauses, restarts and crashes, at random and in
// virtual time. After every step it asks for the delivery of every event that was ever published, of topics that the subscription selects and of
// others, and compares the answer with what the declarations say and with the answer before. TANDEM_SEED=N runs one seed.
func TestLedgerModel(t *testing.T) {
	seeds, first := 40, 1
	if os.Getenv("TANDEM_SOAK") != "" {
		seeds = 5000
	}
	var one int
	if n, _ := fmt.Sscan(os.Getenv("TANDEM_SEED"), &one); n == 1 {
		seeds, first = 1, one
	}
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				m := &ledgerModel{t: t, b: b, rng: rand.New(rand.NewPCG(uint64(seed), 11)), epochs: [][]modelVersion{{{}}}}
				b.topic("more", 2)
				b.topic("other", 1)
				f.set(m.answer)
				m.run()
			})
		})
	}
}

// ledgerModel is what the answers must be.
type ledgerModel struct {
	t      *testing.T
	b      *bed
	rng    *rand.Rand
	events []*judgedEvent
	// epochs are the versions of the declaration: from which offset on each holds.
	epochs [][]modelVersion
	kind   int // of the current declaration
	healed bool
	log    []string // what was done
}

type modelVersion struct {
	from  uint64
	since time.Time // of a seek to a time: in place of from
	kind  int
}

// covers reports whether v holds for what was stored when e was. A place by time is one in the topics that are selected then.
func (v *modelVersion) covers(e *judgedEvent) bool {
	if v.since.IsZero() {
		return e.pos.Offset >= v.from
	}
	s := modelSub(v.kind)
	return !matchesTopic(&s, e.pos.Topic) || !e.at.Before(v.since)
}

type judgedEvent struct {
	id, key string
	class   string // of its answer: the first part of the key
	typ     string
	pos     tandem.Position
	at      time.Time
	gone    bool // retention removed it
	goneIn  int  // epoch
	last    tandem.Delivery
	real    *tandem.Delivery // the newest outcome that was answered
}

// modelSub is the declaration of a kind.
func modelSub(kind int) tandem.Subscription {
	s := sub("s")
	s.Attempts, s.Concurrency = 3, 4
	s.Backoff = tandem.Backoff{Base: tandem.Duration(200 * time.Millisecond), Max: tandem.Duration(2 * time.Second)}
	switch kind {
	case 1:
		s.Filter, _ = tandem.ParseFilter([]byte(`{"type":"a"}`))
	case 2:
		s.Topics = []string{"orders", "more"}
	case 3:
		s.Topics = []string{"more"}
		s.Filter, _ = tandem.ParseFilter([]byte(`{"type":"b"}`))
	}
	return s
}

func (v *modelVersion) selects(e *judgedEvent) bool {
	s := modelSub(v.kind)
	return matchesTopic(&s, e.pos.Topic) && (v.kind != 1 || e.typ == "a") && (v.kind != 3 || e.typ == "b")
}

// answer is the endpoint: events whose key begins with "good" are taken, with "late" at the second attempt, with "refused" never, and with "poison" never
// either, each in its way. Healed, it takes all.
func (m *ledgerModel) answer(a attemptSeen) *http.Response {
	switch class, _, _ := strings.Cut(a.key, "."); {
	case m.healed, class == "good", class == "late" && a.attempt > 1:
		return after(time.Duration(len(a.id)%7)*time.Millisecond, status(204))
	case class == "refused":
		return status(422)
	case class == "late":
		return status(404)
	}
	return status(409)
}

func (m *ledgerModel) run() {
	b := m.b
	if _, err := b.log.UpdateTopic(b.ctx, tandem.Topic{Name: "orders", Partitions: 4, Retention: tandem.Duration(time.Hour)}); err != nil {
		m.t.Fatal(err)
	}
	b.start(modelSub(0))
	for range 25 + m.rng.IntN(25) {
		m.step()
		if m.t.Failed() {
			m.t.Logf("done: %v", m.log)
			return
		}
	}
	m.did("heal")
	m.healed = true
	if err := b.m.Resume(b.ctx, "s"); err != nil {
		m.t.Fatal(err)
	}
	b.wait(30 * time.Minute)
	m.look("heal")
	m.final()
	if m.t.Failed() {
		m.t.Logf("done: %v", m.log)
	}
}

func (m *ledgerModel) did(what string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(what, args...))
}

func (m *ledgerModel) step() {
	b := m.b
	var op string
	switch n := m.rng.IntN(100); {
	case n < 35:
		m.publish(1 + m.rng.IntN(12))
		op = "publish"
	case n < 50:
		b.wait(time.Duration(m.rng.IntN(4000)) * time.Millisecond)
		op = "wait"
	case n < 58:
		op = "declare"
		m.declare()
	case n < 65:
		op = "seek"
		m.look("wait") // what it goes over is what is open now
		m.seek()
	case n < 70:
		op = "retention"
		m.retention()
	case n < 77:
		op = "redrive"
		m.letters(b.m.Redrive)
	case n < 81:
		op = "discard"
		m.letters(b.m.Discard)
	case n < 86:
		op = "pause"
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			m.t.Fatal(err)
		}
	case n < 92:
		op = "resume"
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			m.t.Fatal(err)
		}
	case n < 95:
		op = "restart"
		b.stop()
		b.start()
	default:
		op = "crash"
		time.Sleep(time.Duration(m.rng.IntN(25)) * time.Millisecond)
		b.crash()
		b.start()
	}
	m.did("%s", op)
	m.look(op)
}

func (m *ledgerModel) publish(n int) {
	for range n {
		topic := []string{"orders", "orders", "more", "other"}[m.rng.IntN(4)]
		class := []string{"good", "good", "late", "refused", "poison"}[m.rng.IntN(5)]
		e := event(fmt.Sprintf("%s.%d", class, m.rng.IntN(3)))
		if m.rng.IntN(5) == 0 {
			e.Subject = ""
		}
		e.Type = []string{"a", "b"}[m.rng.IntN(2)]
		got, err := m.b.log.Append(m.b.ctx, topic, []tandem.Event{e})
		if err != nil {
			m.t.Fatal(err)
		}
		m.events = append(m.events, &judgedEvent{id: e.ID, key: e.Subject, class: class, typ: e.Type, at: time.Now(),
			pos: tandem.Position{Topic: topic, Partition: got[0].Partition, Offset: got[0].Offset}})
	}
}

func (m *ledgerModel) end() uint64 {
	if len(m.events) == 0 {
		return 0
	}
	return m.events[len(m.events)-1].pos.Offset + 1
}

func (m *ledgerModel) declare() {
	kind := m.rng.IntN(4)
	if err := m.b.m.Apply(m.b.ctx, []tandem.Subscription{modelSub(kind)}); err != nil {
		if tandem.CodeOf(err) == tandem.CodeConflict {
			return // too far behind for another version
		}
		m.t.Fatal(err)
	}
	if kind != m.kind {
		last := len(m.epochs) - 1
		m.epochs[last] = append(m.epochs[last], modelVersion{from: m.end(), kind: kind})
		m.kind = kind
	}
	m.did("kind %d from %d", kind, m.end())
}

func (m *ledgerModel) seek() {
	start, v := tandem.Start{Earliest: true}, modelVersion{kind: m.kind}
	switch m.rng.IntN(3) {
	case 0:
		start, v.from = tandem.Start{}, m.end()
	case 1:
		if len(m.events) > 0 {
			v.since = m.events[m.rng.IntN(len(m.events))].at
			start = tandem.Start{Time: v.since.UTC().Format(time.RFC3339Nano)}
		}
	}
	if _, err := m.b.m.Seek(m.b.ctx, "s", start, false); err != nil {
		m.t.Fatal(err)
	}
	m.epochs = append(m.epochs, []modelVersion{v})
	m.did("to %+v", v)
}

func (m *ledgerModel) retention() {
	if m.rng.IntN(2) == 0 {
		m.b.wait(40 * time.Minute)
	}
	m.b.eng.RunRetention()
	for _, e := range m.events {
		if !e.gone && e.pos.Topic == "orders" && time.Since(e.at) > time.Hour {
			e.gone, e.goneIn = true, len(m.epochs)-1
		}
	}
	synctest.Wait()
}

func (m *ledgerModel) letters(verb func(context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error)) {
	all, _, err := m.b.m.DeadLetters(m.b.ctx, "s", "", 0)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range all {
		if m.rng.IntN(3) > 0 {
			continue
		}
		if _, err := verb(m.b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{l.ID}}); err != nil && tandem.CodeOf(err) != tandem.CodeNotFound {
			m.t.Fatal(err)
		}
	}
}

func (m *ledgerModel) at(p tandem.Position) []tandem.Delivery {
	page, err := m.b.m.Deliveries(m.b.ctx, "s", tandem.DeliveryQuery{Position: &p})
	if err != nil || len(page.Deliveries) == 0 || page.Next != "" {
		m.t.Fatalf("%s: %+v %v", p, page, err)
	}
	return page.Deliveries
}

// look asks for every event, after a step.
func (m *ledgerModel) look(op string) {
	synctest.Wait()
	for _, e := range m.events {
		rows := m.at(e.pos)
		got := rows[0]
		if why := m.wrong(e, &got, op); why != "" {
			m.t.Errorf("after %s: %s (%s, type %s, gone %t): %s\nbefore %+v\nanswer %+v\nepochs %+v", op, e.pos, e.id, e.typ, e.gone, why, e.last, rows, m.epochs)
			return
		}
		if m.isReal(&got) {
			e.real = &got
		}
		e.last = got
	}
}

func (m *ledgerModel) isReal(d *tandem.Delivery) bool {
	switch d.State {
	case tandem.DeliveryExpired: // also before the reader has noticed
		return true
	case tandem.DeliveryDelivered, tandem.DeliveryDead, tandem.DeliveryDiscarded:
		return d.Ended != ""
	}
	return false
}

// judgeOf returns the version of an epoch that judges e.
func (m *ledgerModel) judgeOf(epoch int, e *judgedEvent) *modelVersion {
	if e.gone && epoch > e.goneIn {
		return nil
	}
	for i := len(m.epochs[epoch]) - 1; i >= 0; i-- {
		if v := &m.epochs[epoch][i]; v.covers(e) {
			return v
		}
	}
	return nil
}

var openStates = []string{tandem.DeliveryUnread, tandem.DeliveryQueued, tandem.DeliverySending, tandem.DeliveryRetrying, tandem.DeliveryWaiting}

// wrong returns what is wrong with an answer, "" when nothing is.
func (m *ledgerModel) wrong(e *judgedEvent, got *tandem.Delivery, op string) string {
	if !slices.Contains(deliveryStates, got.State) {
		return "no state"
	}
	if got.ID != e.id && !e.gone {
		return "another event"
	}
	epoch := len(m.epochs) - 1
	v := m.judgeOf(epoch, e)
	now := v != nil
	for i := epoch; i >= 0 && v == nil; i-- {
		v = m.judgeOf(i, e)
	}
	selected := v != nil && v.selects(e)
	first := modelSub(m.epochs[0][0].kind)
	switch {
	case now && !selected, !now && e.real == nil && v != nil && !selected:
		// Of an event that is gone nobody can tell whether the filter matched.
		gone := []string{tandem.DeliveryUnknown, tandem.DeliveryExpired, tandem.DeliveryPassed}
		switch {
		case got.State == tandem.DeliverySkipped, e.gone && slices.Contains(gone, got.State):
		case e.gone && e.real != nil:
			return m.wrongStep(e, e.real, got, op)
		default:
			return "want skipped"
		}
	case !now && v == nil && !matchesTopic(&first, e.pos.Topic) && got.State != tandem.DeliverySkipped:
		return "want skipped: another topic"
	case !now && e.real == nil:
		gone := []string{tandem.DeliveryExpired, tandem.DeliveryUnknown, tandem.DeliverySkipped}
		if got.State != tandem.DeliveryPassed && !(e.gone && slices.Contains(gone, got.State)) {
			return "want passed"
		}
	case !now:
		return m.wrongStep(e, e.real, got, op)
	case got.Epoch != uint64(epoch):
		return "want the current epoch"
	case got.State == tandem.DeliverySkipped || got.State == tandem.DeliveryPassed || got.State == tandem.DeliveryUnknown:
		return "want a state of an event that is selected"
	case e.last.Epoch == got.Epoch && e.last.State != "":
		return m.wrongStep(e, &e.last, got, op)
	}
	return ""
}

// wrongStep checks what follows what.
func (m *ledgerModel) wrongStep(e *judgedEvent, before, got *tandem.Delivery, op string) string {
	if before.Epoch != got.Epoch {
		return "want the epoch of before"
	}
	switch before.State {
	case tandem.DeliveryDelivered, tandem.DeliveryDiscarded, tandem.DeliveryExpired:
		if got.State != before.State || before.Ended != "" && got.Ended != before.Ended {
			return "an outcome changed"
		}
	case tandem.DeliveryDead:
		if got.State == tandem.DeliveryUnread || got.State == tandem.DeliveryWaiting || got.State == tandem.DeliveryExpired || got.State == tandem.DeliveryPassed {
			return "a dead letter became something else"
		}
	default:
		if got.State == tandem.DeliveryDiscarded && before.DeadLetter == "" {
			return "discarded, and was no dead letter"
		}
		if got.State == tandem.DeliveryUnread && before.State != tandem.DeliveryUnread && op != "crash" {
			return "unread, and was read"
		}
	}
	return ""
}
