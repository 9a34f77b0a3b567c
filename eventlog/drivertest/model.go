package drivertest

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"

	"pgregory.net/rapid"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// model compares an engine with a few maps under random operations, shrunk to the shortest that differ: 100 runs, or
// 5,000 with TANDEM_SOAK=1.
func (s *suite) model() {
	if os.Getenv("TANDEM_SOAK") == "1" {
		s.ok(flag.Set("rapid.checks", "5000"))
	}
	run := 0
	rapid.Check(s.T, func(t *rapid.T) {
		run++
		m := &model{suite: s, name: fmt.Sprintf("run-%d", run), state: map[string]string{}, topics: map[string]*modelTopic{}, ids: map[[16]byte]modelPlace{}}
		t.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"create":  m.create,
			"delete":  m.delete,
			"append":  m.append,
			"append2": m.append,
			"read":    m.read,
			"state":   m.changeState,
			"reopen":  m.reopen,
		})
		for name := range m.topics {
			if err := s.drv.DeleteTopic(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	})
}

type model struct {
	suite  *suite
	name   string // of this run: its topics and keys begin with it
	topics map[string]*modelTopic
	state  map[string]string
	ids    map[[16]byte]modelPlace
	top    uint64
}

type modelTopic struct {
	driver.Topic
	parts [][]driver.Record
}

type modelPlace struct {
	offset    uint64
	partition int
	sum       uint64
}

func (m *model) pick(t *rapid.T) *modelTopic {
	if len(m.topics) == 0 {
		t.Skip("no topic")
	}
	return m.topics[rapid.SampledFrom(slices.Sorted(maps.Keys(m.topics))).Draw(t, "topic")]
}

func (m *model) create(t *rapid.T) {
	name := m.name + rapid.SampledFrom([]string{".a", ".b", ".c"}).Draw(t, "name")
	made, err := m.suite.drv.CreateTopic(ctx, tandem.Topic{Name: name, Partitions: rapid.IntRange(1, 3).Draw(t, "partitions"), Retention: -1})
	if m.topics[name] != nil {
		if tandem.CodeOf(err) != tandem.CodeConflict {
			t.Fatalf("creating %s again: %v", name, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.topics[name] = &modelTopic{Topic: made, parts: make([][]driver.Record, made.Partitions)}
}

func (m *model) delete(t *rapid.T) {
	topic := m.pick(t)
	if err := m.suite.drv.DeleteTopic(ctx, topic.Name); err != nil {
		t.Fatal(err)
	}
	delete(m.topics, topic.Name)
	for _, part := range topic.parts {
		for _, r := range part {
			delete(m.ids, r.Identity)
		}
	}
}

// append draws a batch over several topics, with ids that repeat and state that has a condition.
func (m *model) append(t *rapid.T) {
	m.pick(t)
	withIDs := m.suite.drv.Info().Dedup != driver.DedupAtDelivery
	b := driver.Batch{Failed: -1}
	for range rapid.IntRange(1, 5).Draw(t, "events") {
		topic := m.pick(t)
		ev := m.suite.event(rapid.IntRange(0, 1000).Draw(t, "data"))
		part := rapid.IntRange(0, topic.Partitions-1).Draw(t, "partition")
		r := record(topic.Topic, part, ev)
		if withIDs && rapid.Bool().Draw(t, "own id") {
			ev.ID = rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "id")
			ev.Data = []byte(rapid.SampledFrom([]string{"1", "1", "1", "2"}).Draw(t, "content"))
			if m.suite.drv.Info().Dedup == driver.DedupBoth { // at append, a repeat is found in its partition only
				part = int(ev.ID[0]) % topic.Partitions
			}
			r = deduped(topic.Topic, part, ev)
		}
		b.Records = append(b.Records, r)
	}
	if rapid.Bool().Draw(t, "with state") {
		b.State = []driver.StateOp{m.drawOp(t)}
	}
	err := m.suite.drv.Append(ctx, &b)
	if failed := m.refused(&b); failed >= 0 {
		atomic := m.suite.drv.Info().Atomic
		if tandem.CodeOf(err) != tandem.CodeConflict || b.Failed < 0 || atomic && b.Failed != failed {
			t.Fatalf("the error is %v and Failed %d, want a conflict at %d", err, b.Failed, failed)
		}
		if !atomic {
			m.store(t, b.Records)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.apply(b.State)
	m.store(t, b.Records)
}

// store takes the records that were stored; what was not has no Seq.
func (m *model) store(t *rapid.T, records []driver.Record) {
	for _, r := range records {
		if r.Seq == 0 {
			continue
		}
		if first, ok := m.ids[r.Identity]; r.Dedup && ok {
			if !r.Duplicate || r.Offset != first.offset || r.Stored != first.partition {
				t.Fatalf("a repeat of %+v is %+v", first, r)
			}
			continue
		}
		topic := m.byID(r.Topic)
		topic.parts[r.Partition] = append(topic.parts[r.Partition], r)
		if m.suite.drv.Info().TotalOrder && r.Offset <= m.top {
			t.Fatalf("number %d follows %d", r.Offset, m.top)
		}
		m.top = r.Offset
		if r.Dedup {
			m.ids[r.Identity] = modelPlace{r.Offset, r.Partition, r.Sum}
		}
	}
}

func (m *model) byID(id driver.ID) *modelTopic {
	for _, t := range m.topics {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// refused returns what Failed has to be, -1 if the batch is good.
func (m *model) refused(b *driver.Batch) int {
	sums := map[[16]byte]uint64{}
	for i, r := range b.Records {
		if !r.Dedup {
			continue
		}
		sum, known := sums[r.Identity]
		if first, ok := m.ids[r.Identity]; ok {
			sum, known = first.sum, true
		}
		if known && sum != r.Sum {
			return i
		}
		sums[r.Identity] = r.Sum
	}
	for i, op := range b.State {
		v, ok := m.state[op.Key]
		if op.If != nil && (len(op.If) == 0 && ok || len(op.If) > 0 && (!ok || v != string(op.If))) {
			return len(b.Records) + i
		}
	}
	return -1
}

func (m *model) drawOp(t *rapid.T) driver.StateOp {
	op := driver.StateOp{Key: m.name + "/" + rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "key")}
	if rapid.IntRange(0, 3).Draw(t, "put") > 0 {
		op.Value = []byte(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value"))
	}
	switch rapid.IntRange(0, 3).Draw(t, "if") {
	case 0:
		op.If = []byte{}
	case 1:
		op.If = []byte(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "is"))
	}
	return op
}

func (m *model) apply(ops []driver.StateOp) {
	for _, op := range ops {
		if op.Value == nil {
			delete(m.state, op.Key)
		} else {
			m.state[op.Key] = string(op.Value)
		}
	}
}

func (m *model) changeState(t *rapid.T) {
	b := driver.Batch{State: []driver.StateOp{m.drawOp(t)}}
	err := m.suite.drv.Append(ctx, &b)
	if m.refused(&b) >= 0 {
		if tandem.CodeOf(err) != tandem.CodeConflict || b.Failed != 0 {
			t.Fatalf("the error is %v and Failed %d, want a conflict at 0", err, b.Failed)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.apply(b.State)
}

func (m *model) read(t *rapid.T) {
	topic := m.pick(t)
	part := rapid.IntRange(0, topic.Partitions-1).Draw(t, "partition")
	have := topic.parts[part]
	from, skip := uint64(0), 0
	if n := len(have); n > 0 {
		skip = rapid.IntRange(0, n).Draw(t, "skip")
		if skip > 0 {
			from = have[skip-1].Offset + 1
		}
	}
	want := have[skip:]
	most := rapid.IntRange(1, 10).Draw(t, "max")
	got, err := m.suite.drv.Read(ctx, topic.ID, part, from, most, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != min(most, len(want)) {
		t.Fatalf("read %d events of %d, at most %d", len(got), len(want), most)
	}
	for i := range got {
		if w := want[i]; got[i].ID != w.Event.ID || got[i].Position.Offset != w.Offset || got[i].Seq != w.Seq || string(got[i].Data) != string(w.Event.Data) {
			t.Fatalf("event %d is %+v, want %+v", i, got[i], w)
		}
	}
}

func (m *model) reopen(t *rapid.T) {
	if m.suite.h.Reopen == nil || rapid.IntRange(0, 9).Draw(t, "really") > 0 {
		t.Skip("not now")
	}
	m.suite.reopenNow()
}

// check holds after every operation.
func (m *model) check(t *rapid.T) {
	got := m.suite.scan(m.name+"/", m.name+"0")
	want := []pair{}
	for k, v := range m.state {
		want = append(want, pair{k, v})
	}
	slices.SortFunc(want, func(a, b pair) int { return cmp.Compare(a.Key, b.Key) })
	if !slices.Equal(got, want) {
		t.Fatalf("state is %v, want %v", got, want)
	}
	for _, topic := range m.topics {
		for i, part := range topic.parts {
			b := m.suite.boundsOf(topic.Topic, i)
			dense := b.EndSeq == uint64(len(part)+1) || m.suite.drv.Info().SparseSeq && b.EndSeq > uint64(len(part))
			if b.StartSeq != 1 || !dense || len(part) > 0 && (b.Start != part[0].Offset || b.End <= part[len(part)-1].Offset) {
				t.Fatalf("%d events of %s/%d have %+v", len(part), topic.Name, i, b)
			}
		}
	}
}
