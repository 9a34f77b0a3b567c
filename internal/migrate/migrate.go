package migrate

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Options configure a Migration. Only Rooms is required.
type Options struct {
	Rooms []Room
	// Progress is called from within Run and Verify, after each batch. It must be quick. Nil means nobody looks.
	Progress func(Progress)
	Now      func() time.Time // nil means time.Now

	BatchEvents int // events stored by one append; zero means 4,096
	BatchBytes  int // of one append, after the first event; zero means 4 MiB
}

// Progress is how far a step has come, in events, or in records of state.
type Progress struct {
	Step        Step
	Done, Total uint64 // Total may be a little more than there is
}

// Step is a step of a migration.
type Step string

// The steps, in their order.
const (
	StepEvents Step = "events"
	StepState  Step = "state"
	StepVerify Step = "verify"
)

// Migration copies one log into another. It is for one caller at a time, and owns neither engine.
type Migration struct {
	from, to driver.Driver
	opts     Options

	run    offsetmap.Run
	fence  driver.Fence
	topics []*topic // sorted by name
	byID   map[driver.ID]*topic
	places *offsetmap.Map
	log    *eventlog.Log // over from, if that keeps repeats; while a method runs

	events uint64 // in the source, at most
	copied uint64 // of them, in the target
	found  uint64 // of copied, by an earlier run
	recent recent
}

// topic is a topic on both sides.
type topic struct {
	from, to driver.Topic
	parts    []*part
}

// part is a partition on both sides.
type part struct {
	topic *topic
	index int
	old   driver.Bounds // of the source, when it was looked at last

	removed uint64 // offset of the source before which nothing was copied, though there may have been events; from verify

	first   *driver.Record // Offset and Seq of Moved.First, once it was asked for
	next    uint64         // offset of the source to read next
	last    uint64         // offset of the last event in the target; zero when there is none
	any     bool           // there is one
	before  uint64         // that of the last pair that was written
	pending []offsetmap.Pair

	buf  []tandem.Record // read ahead
	head int
	over bool // nothing is left to read
}

// New returns a migration. Neither engine may be used by anybody else until it is over: Tandem has to be stopped on both.
func New(from, to driver.Driver, opts Options) *Migration {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.BatchEvents == 0 {
		opts.BatchEvents = 4096
	}
	if opts.BatchBytes == 0 {
		opts.BatchBytes = 4 << 20
	}
	if opts.Progress == nil {
		opts.Progress = func(Progress) {}
	}
	for _, d := range []driver.Driver{from, to} {
		d.Notify(func([]driver.End) {})
	}
	return &Migration{from: from, to: to, opts: opts, places: offsetmap.New(to, from.Info().LogID)}
}

// Run copies what is not copied yet, compares both sides, and lets the target be opened. Codes: Conflict (the target is in use, was filled from
// elsewhere or is finished, or both sides differ), NotFound (nothing is in the source), Unsupported (state of an unknown room, an event that is too large for the target), Unavailable
// (also when ctx is done): running it again goes on where it was.
func (m *Migration) Run(ctx context.Context) (Summary, error) {
	begin := m.opts.Now()
	s, err := m.execute(ctx)
	s.Took = m.opts.Now().Sub(begin).Seconds()
	if err != nil && ctx.Err() != nil {
		err = tandem.Errorf(tandem.CodeUnavailable, "stopped when %d of %d events were copied", m.copied, max(m.copied, m.events)).
			WithHint("run the same command again: it goes on there")
	}
	return s, err
}

func (m *Migration) execute(ctx context.Context) (s Summary, err error) {
	s = m.summary()
	closeSource, err := m.openSource(ctx)
	if err != nil {
		return s, err
	}
	defer closeSource()
	if err := m.look(ctx); err != nil {
		return s, err
	}
	state, err := m.stateOfSource(ctx)
	if err != nil {
		return s, err
	}
	if err := m.begin(ctx, len(state) == 0); err != nil {
		return s, err
	}
	if err := m.createTopics(ctx); err != nil {
		return s, err
	}
	if err := m.copyEvents(ctx); err != nil {
		return s, err
	}
	if err := m.copyState(ctx); err != nil {
		return s, err
	}
	if s, err = m.verify(ctx); err != nil {
		return s, err
	}
	return s, m.finish(ctx)
}

// begin takes the target for this migration, or goes on with one that was begun.
func (m *Migration) begin(ctx context.Context, stateless bool) error {
	began, err := m.began(ctx)
	if err != nil {
		return err
	}
	if began && !m.run.Finished.IsZero() {
		return tandem.Errorf(tandem.CodeConflict, "the log was migrated already, at %s", m.run.Finished.Format(time.RFC3339)).
			WithHint("start Tandem on the new engine, or compare both with --verify-only before that")
	}
	if !began && stateless && len(m.topics) == 0 { // a name that is misspelt gives a new log on some engines
		return errNothing()
	}
	if m.fence, err = m.to.Own(ctx, "migrate"); err != nil {
		return tandem.Wrap("take the target", err)
	}
	if began {
		return nil
	}
	m.run = offsetmap.Run{From: m.from.Info().LogID, Engine: m.from.Info().Engine, Started: m.opts.Now().UTC().Truncate(time.Millisecond)}
	return tandem.Wrap("begin the journal", m.put(ctx, driver.StateOp{Key: offsetmap.RunKey, Value: offsetmap.Encode(&m.run)}))
}

func errNothing() error {
	return tandem.Errorf(tandem.CodeNotFound, "there is nothing in the source: no topic and no state").WithHint("is its address, and its prefix or directory, the right one?")
}

// began reads the journal of the target. Without one, the target must be empty. Code: Conflict.
func (m *Migration) began(ctx context.Context) (bool, error) {
	from, to := m.from.Info(), m.to.Info()
	if from.LogID == to.LogID {
		return false, tandem.Errorf(tandem.CodeConflict, "both sides are the same log")
	}
	if err := m.whole(ctx); err != nil {
		return false, err
	}
	value, err := offsetmap.Get(ctx, m.to, offsetmap.RunKey)
	if err != nil {
		return false, tandem.Wrap("read the target", err)
	}
	if value == nil {
		return false, m.empty(ctx)
	}
	if m.run, err = offsetmap.ParseRun(value); err != nil {
		return false, tandem.Errorf(tandem.CodeInternal, "state record %s of the target: %w", offsetmap.RunKey, err)
	}
	if m.run.From != offsetmap.LogID(from.LogID) {
		return false, tandem.Errorf(tandem.CodeConflict, "the target is being filled from another log, %s (%s)", m.run.From, m.run.Engine).
			WithHint("name that log as the source, or an empty target")
	}
	return true, nil
}

// whole refuses a source that was not finished itself. Code: Conflict.
func (m *Migration) whole(ctx context.Context) error {
	value, err := offsetmap.Get(ctx, m.from, offsetmap.RunKey)
	if err != nil || value == nil {
		return tandem.Wrap("read the source", err)
	}
	run, err := offsetmap.ParseRun(value)
	if err != nil {
		return tandem.Errorf(tandem.CodeInternal, "state record %s of the source: %w", offsetmap.RunKey, err)
	}
	if run.Finished.IsZero() {
		return tandem.Errorf(tandem.CodeConflict, "the migration into the source is not finished").WithHint("finish that one first")
	}
	return nil
}

// empty refuses a target that somebody has used. Code: Conflict.
func (m *Migration) empty(ctx context.Context) error {
	topics, err := m.to.Topics(ctx)
	if err != nil {
		return tandem.Wrap("read the target", err)
	}
	what := ""
	if len(topics) > 0 {
		what = "topic " + topics[0].Name
	}
	err = m.to.ScanState(ctx, "", "", func(key string, _ []byte) bool {
		what = "state record " + key
		return false
	})
	if err != nil {
		return tandem.Wrap("read the target", err)
	}
	if what != "" {
		return tandem.Errorf(tandem.CodeConflict, "the target is not empty: it has %s", what).
			WithHint("migrate into an engine that Tandem was not started on, or name another namespace or directory")
	}
	return nil
}

// look reads the topics of the source and what they hold.
func (m *Migration) look(ctx context.Context) error {
	all, err := m.from.Topics(ctx)
	if err != nil {
		return tandem.Wrap("read the topics of the source", err)
	}
	m.topics, m.byID, m.events = nil, map[driver.ID]*topic{}, 0
	for _, dt := range all {
		t := &topic{from: dt}
		for i := range dt.Partitions {
			b, err := m.from.Bounds(ctx, dt.ID, i)
			if err != nil {
				return tandem.Wrap("bounds of "+dt.Name, err)
			}
			t.parts = append(t.parts, &part{topic: t, index: i, old: b})
			m.events += b.EndSeq - b.StartSeq
		}
		m.topics, m.byID[dt.ID] = append(m.topics, t), t
	}
	sortTopics(m.topics)
	return nil
}

// createTopics makes the topics of the target, or finds those that an earlier run made.
func (m *Migration) createTopics(ctx context.Context) error {
	there, err := m.to.Topics(ctx)
	if err != nil {
		return tandem.Wrap("read the topics of the target", err)
	}
	known := map[string]driver.Topic{}
	for _, dt := range there {
		known[dt.Name] = dt
	}
	for _, t := range m.topics {
		if err := ctx.Err(); err != nil {
			return err
		}
		dt, ok := known[t.from.Name]
		if !ok {
			if dt, err = m.to.CreateTopic(ctx, t.from.Topic); err != nil {
				return tandem.Wrap("create topic "+t.from.Name, err)
			}
		}
		if dt.Partitions != t.from.Partitions {
			return tandem.Errorf(tandem.CodeConflict, "topic %s has %d partitions in the target and %d in the source", dt.Name, dt.Partitions, t.from.Partitions)
		}
		t.to = dt
		delete(known, dt.Name)
	}
	for name := range known {
		return tandem.Errorf(tandem.CodeConflict, "the target has topic %s, which the source does not have", name).WithHint("migrate into an empty target")
	}
	return nil
}

// finish stores what the log needs to know of the source, and last that all is there.
func (m *Migration) finish(ctx context.Context) error {
	info := m.from.Info()
	out := offsetmap.Log{To: m.to.Info().LogID, Engine: info.Engine, TotalOrder: info.TotalOrder}
	var w stateWriter
	w.m = m
	for _, t := range m.topics {
		r := offsetmap.Topic{Name: t.from.Name, To: uint64(t.to.ID), Born: t.from.Born, Replaced: t.from.Replaced}
		out.End = max(out.End, t.from.Born+1)
		for _, p := range t.parts {
			r.Parts = append(r.Parts, offsetmap.Part{Removed: p.removed, End: p.old.End, Next: p.after()})
			out.End = max(out.End, p.old.End)
		}
		if err := w.put(ctx, offsetmap.TopicKey(info.LogID, uint64(t.from.ID)), offsetmap.Encode(&r)); err != nil {
			return err
		}
	}
	if !info.TotalOrder {
		out.End = 0
	} else if err := m.horizon(ctx, &out); err != nil {
		return err
	}
	if err := errors.Join(w.put(ctx, offsetmap.LogKey(info.LogID), offsetmap.Encode(&out)), w.flush(ctx)); err != nil {
		return err
	}
	m.run.Finished = m.opts.Now().UTC().Truncate(time.Millisecond)
	return tandem.Wrap("finish the journal", m.put(ctx, driver.StateOp{Key: offsetmap.RunKey, Value: offsetmap.Encode(&m.run)}))
}

// after is the offset of the target behind what was copied.
func (p *part) after() uint64 {
	if !p.any {
		return 0
	}
	return p.last + 1
}

// put stores state at once.
func (m *Migration) put(ctx context.Context, ops ...driver.StateOp) error {
	return m.to.Append(ctx, &driver.Batch{State: ops, Fence: &m.fence})
}
