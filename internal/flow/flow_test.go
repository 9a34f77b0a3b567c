package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/flow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sick is an engine that can be told to be unable to write.
type sick struct {
	*memlog.Engine
	ill atomic.Bool
}

func (s *sick) Health() error {
	if s.ill.Load() {
		return errors.New("the disk is full")
	}
	return s.Engine.Health()
}

type world struct {
	t      *testing.T
	engine *sick
	log    *eventlog.Log
	flows  *flow.Flows
	opts   flow.Options
}

func newWorld(t *testing.T, opts flow.Options) *world {
	t.Helper()
	return newWorldOver(t, memlog.Options{}, opts)
}

// engines are the kinds of engines: one number for all events, or one for each partition.
var engines = map[string]memlog.Options{"numbered": {}, "partitioned": {Partitioned: true, LateDedup: true}}

// overEngines runs a test on every kind of engine.
func overEngines(t *testing.T, opts flow.Options, test func(*testing.T, *world)) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) { test(t, newWorldOver(t, engine, opts)) })
	}
}

func newWorldOver(t *testing.T, engine memlog.Options, opts flow.Options) *world {
	t.Helper()
	w := &world{t: t, engine: &sick{Engine: memlog.New(engine)}, opts: opts}
	var err error
	if w.log, err = eventlog.Open(t.Context(), w.engine, eventlog.Options{AutoCreate: true}); err != nil {
		t.Fatal(err)
	}
	w.opts.Logger = slog.New(slog.DiscardHandler)
	t.Cleanup(func() { w.stop(); w.log.Close() })
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.flows, err = flow.Open(w.log, w.opts); err != nil {
		w.t.Fatal(err)
	}
	w.flows.Start()
}

func (w *world) stop() {
	if err := w.flows.Stop(context.Background()); err != nil {
		w.t.Error(err)
	}
}

// put stores an event and returns its ref.
func (w *world) put(topic, id, flow string, causes ...string) string {
	w.t.Helper()
	_, err := w.log.Append(w.t.Context(), topic, []tandem.Event{{ID: id, Source: "/s", Type: "t", Meta: tandem.Meta{Flow: flow, Causes: causes}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return tandem.Ref(topic, "/s", id)
}

func (w *world) get(id string) tandem.Flow {
	w.t.Helper()
	f, err := w.flows.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// edges are the nodes of a flow with what caused them.
func edges(f *tandem.Flow) (out []string) {
	for _, n := range f.Nodes {
		name := n.ID
		if n.Event != nil && n.Event.ID != "" {
			name = n.Event.ID
		}
		causes := slices.Clone(n.Causes)
		for i := range causes {
			for _, m := range f.Nodes {
				if m.ID == causes[i] && m.Event != nil {
					causes[i] = m.Event.ID
				}
			}
		}
		out = append(out, strings.Join(causes, "+")+">"+name)
	}
	slices.Sort(out)
	return out
}

func (w *world) want(f *tandem.Flow, want ...string) {
	w.t.Helper()
	if got := edges(f); !slices.Equal(got, want) {
		w.t.Errorf("the graph has %q, want %q", got, want)
	}
}

// TestGraph: a flow over several topics, with several causes, and what leads to other flows and back.
func TestGraph(t *testing.T) { overEngines(t, flow.Options{}, testGraph) }

func testGraph(t *testing.T, w *world) {
	one, two := tandem.NewID(), tandem.NewID()
	a := w.put("orders", "a", one)
	b := w.put("stock", "b", one, a)
	c := w.put("mail", "c", one, a, b)
	w.put("mail", "d", two, c, b)
	w.put("mail", "e", "named by a client")
	unnamed := w.put("mail", "f", "")
	w.put("mail", "g", two, tandem.Ref("orders", "/s", "never was"))
	f := w.get(one)
	w.want(&f, ">a", "a+b>c", "a>b")
	if f.State != tandem.FlowDone || len(f.Missing) != 0 {
		t.Errorf("%s, missing %v", f.State, f.Missing)
	}
	if len(f.Links) != 2 || f.Links[0].Kind != tandem.FlowEffect || f.Links[0].Flow != two || f.Links[0].Ref != tandem.Ref("mail", "/s", "d") {
		t.Errorf("links %+v", f.Links)
	}
	f = w.get(two)
	w.want(&f, ">d", ">g")
	if len(f.Links) != 3 || f.Links[0].Kind != tandem.FlowCause || f.Links[0].Flow != one || f.Links[0].Ref != c || f.Links[2].Flow != "" {
		t.Errorf("links %+v", f.Links)
	}
	f = w.get("named by a client")
	w.want(&f, ">e")
	f = w.get(unnamed) // an event without a flow begins one that is named like itself
	w.want(&f, ">f")
	p, err := w.flows.List(t.Context(), tandem.FlowQuery{Event: "e", Source: "/s"})
	if err != nil || len(p.Flows) != 1 || p.Flows[0].ID != "named by a client" {
		t.Errorf("by its event: %+v, %v", p, err)
	}
	if _, err := w.flows.Get(t.Context(), tandem.NewID()); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestOneByOne: each event is there as soon as it is asked for.
func TestOneByOne(t *testing.T) { overEngines(t, flow.Options{}, testOneByOne) }

func testOneByOne(t *testing.T, w *world) {
	if _, err := w.log.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	id := tandem.NewID()
	for n := range 20 {
		w.put("a", fmt.Sprint(n), id)
		if f := w.get(id); len(f.Nodes) != n+1 {
			t.Fatalf("%d nodes after %d events", len(f.Nodes), n+1)
		}
	}
}

// TestCircle: clients may claim what they like.
func TestCircle(t *testing.T) {
	w := newWorld(t, flow.Options{})
	id := tandem.NewID()
	w.put("a", "x", id, tandem.Ref("a", "/s", "y"))
	w.put("a", "y", id, tandem.Ref("a", "/s", "x"))
	w.put("a", "z", id, tandem.Ref("a", "/s", "z"))
	f := w.get(id)
	w.want(&f, "x>y", "y>x", "z>z")
}

// TestRebuilt: the index goes on where it was stopped, in the middle of much, and comes to the same when it is lost.
func TestRebuilt(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() + "/flows"
			testRebuilt(t, newWorldOver(t, engine, flow.Options{Dir: dir}), dir)
		})
	}
}

func testRebuilt(t *testing.T, w *world, dir string) {
	const flows, each = 20, 40
	ids := make([]string, flows)
	for i := range ids {
		ids[i] = tandem.NewID()
	}
	for n := range each {
		for i, id := range ids {
			w.put(fmt.Sprintf("topic%d", (n+i)%5), fmt.Sprint(i, "-", n), id)
		}
		if n%20 == 10 { // wherever it is
			w.stop()
			w.start()
		}
	}
	check := func(when string) {
		t.Helper()
		for _, id := range ids {
			f := w.get(id)
			seen := map[string]bool{}
			for _, n := range f.Nodes {
				seen[n.ID] = true
			}
			if len(f.Nodes) != each || len(seen) != each || len(f.Missing) > 0 {
				t.Fatalf("%s: %d nodes, %d of them different, missing %v", when, len(f.Nodes), len(seen), f.Missing)
			}
		}
	}
	check("after restarts")
	if s := w.flows.Status(t.Context()); s.Behind != 0 || s.Lag != 0 || s.Lost != 0 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
	w.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.start()
	check("built anew")
}

// TestBehind: on a full disk nothing is indexed, and the answer says so.
func TestBehind(t *testing.T) {
	w := newWorld(t, flow.Options{})
	id := tandem.NewID()
	w.put("a", "1", id)
	f := w.get(id)
	w.want(&f, ">1")
	w.engine.ill.Store(true)
	w.put("a", "2", id)
	w.put("a", "3", id)
	f = w.get(id)
	w.want(&f, ">1")
	if len(f.Missing) != 1 || !strings.HasPrefix(f.Missing[0], "2 stored events are not in the index yet") {
		t.Errorf("missing %q", f.Missing)
	}
	if s := w.flows.Status(t.Context()); s.Behind != 2 || s.Lag <= 0 {
		t.Errorf("%+v", s)
	}
	w.engine.ill.Store(false)
	f = w.get(id)
	w.want(&f, ">1", ">2", ">3")
	if len(f.Missing) != 0 {
		t.Errorf("missing %q", f.Missing)
	}
}

// TestRemoved: what is not stored any more keeps its place in the graph, and so does that of a deleted topic, which may come again.
func TestRemoved(t *testing.T) { overEngines(t, flow.Options{}, testRemoved) }

func testRemoved(t *testing.T, w *world) {
	id := tandem.NewID()
	a := w.put("gone", "a", id)
	w.put("stays", "b", id, a)
	before := w.get(id)
	if err := w.log.DeleteTopic(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	w.put("gone", "c", id)
	f := w.get(id)
	if len(f.Nodes) != 3 || len(f.Missing) != 1 || !strings.Contains(f.Missing[0], "gone was deleted") {
		t.Fatalf("%+v", f)
	}
	n := &f.Nodes[0]
	if n.State != "removed" || n.Event.Ref != a || n.Event.Position.Topic != "gone" || !n.At.Equal(before.Nodes[0].At) {
		t.Errorf("%+v %+v", n, n.Event)
	}
	if f.Nodes[1].Causes[0] != n.ID {
		t.Errorf("its effect has the causes %v", f.Nodes[1].Causes)
	}
}

// TestRetention: an event that retention removed keeps its place; one that it removed before it was in the index is told of.
func TestRetention(t *testing.T) {
	var later atomic.Int64
	w := newWorldOver(t, memlog.Options{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }}, flow.Options{})
	if _, err := w.log.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: 1, Retention: tandem.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	id := tandem.NewID()
	w.put("a", "1", id)
	before := w.get(id)
	later.Store(int64(2 * time.Hour))
	w.engine.RunRetention()
	w.put("b", "2", id)
	f := w.get(id)
	if len(f.Nodes) != 2 || f.Nodes[0].State != "removed" || f.Nodes[0].ID != before.Nodes[0].ID || f.Nodes[1].Event.ID != "2" || len(f.Missing) > 0 {
		t.Errorf("%+v", f)
	}
	w.engine.ill.Store(true)
	w.put("a", "3", id)
	w.engine.RunRetention()
	w.engine.ill.Store(false)
	if f = w.get(id); len(f.Nodes) != 2 || len(f.Missing) != 1 || f.Missing[0] != "events that retention removed before they were in the index: 1" {
		t.Errorf("%d nodes, missing %q", len(f.Nodes), f.Missing)
	}
}

// TestRequests: requests without events are known by their flow while they are remembered; those that failed longer.
func TestRequests(t *testing.T) {
	w := newWorld(t, flow.Options{})
	note := func(id string, status int) {
		w.flows.Note(flow.Request{Flow: id, Began: time.Now(), Took: time.Millisecond,
			FlowRequest: tandem.FlowRequest{Method: "GET", Path: "/", Route: "/", Status: status, Trace: strings.ReplaceAll(id, "-", "")}})
	}
	good, bad := tandem.NewID(), tandem.NewID()
	note(good, 200)
	note(bad, 503)
	f := w.get(good)
	if f.State != tandem.FlowDone || f.Nodes[0].Kind != tandem.NodeRequest || f.Nodes[0].State != "answered" || f.Trace == "" {
		t.Errorf("%+v", f)
	}
	if p, err := w.flows.List(t.Context(), tandem.FlowQuery{Trace: f.Trace}); err != nil || len(p.Flows) != 1 || p.Flows[0].ID != good {
		t.Errorf("by its trace: %+v, %v", p, err)
	}
	for range 5000 {
		note(tandem.NewID(), 200)
	}
	if _, err := w.flows.Get(t.Context(), good); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("one of long ago: %v", err)
	}
	if f := w.get(bad); f.State != tandem.FlowFailed || f.Nodes[0].Reason != "status 503" {
		t.Errorf("%+v", f)
	}
}

func TestNoIndex(t *testing.T) {
	w := newWorld(t, flow.Options{Bytes: -1})
	w.put("a", "1", tandem.NewID())
	if _, err := w.flows.Get(t.Context(), "x"); tandem.CodeOf(err) != tandem.CodeUnsupported {
		t.Errorf("%v", err)
	}
	if s := w.flows.Status(t.Context()); s != (tandem.FlowIndexStatus{}) {
		t.Errorf("%+v", s)
	}
}

func TestBadQueries(t *testing.T) {
	w := newWorld(t, flow.Options{})
	for _, q := range []tandem.FlowQuery{
		{Event: "1"}, {Source: "/s"}, {Event: "1", Source: "/s", Trace: strings.Repeat("1", 32)}, {Operation: "o", Key: "k"}, {Trace: "x"}, {State: "lost"},
		{Limit: 1001}, {After: "x"}, {Since: time.Unix(2, 0), Until: time.Unix(1, 0)},
	} {
		if _, err := w.flows.List(t.Context(), q); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
