package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Harness is how the suite gets at an engine. Only Open is required; a nil function leaves out the tests that need it.
type Harness struct {
	// Open returns a new, empty engine. The suite closes it.
	Open func(t testing.TB) driver.Driver

	// Reopen closes the engine and opens what it stored.
	Reopen func(t testing.TB, drv driver.Driver) driver.Driver

	// StallSync makes syncing wait until resume is called. reached is closed when an Append waits for it.
	StallSync func(t testing.TB, drv driver.Driver) (reached <-chan struct{}, resume func())

	// Retain sets the engine's clock and runs retention. An engine may keep events beyond their retention for a while, at
	// most until twice the retention and two days are over.
	Retain func(t testing.TB, drv driver.Driver, now time.Time)

	// Skip leaves out tests, by name, of an engine that is not finished; the value says what is missing.
	Skip map[string]string
}

// Run tests an engine against the contract.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		fn   func(*suite)
	}{
		{"Topics", (*suite).topics},
		{"Recreate", (*suite).recreate},
		{"Exact", (*suite).exact},
		{"Order", (*suite).order},
		{"Concurrent", (*suite).concurrent},
		{"Read", (*suite).read},
		{"Bounds", (*suite).bounds},
		{"OffsetAt", (*suite).offsetAt},
		{"State", (*suite).state},
		{"StateIf", (*suite).stateIf},
		{"Atomic", (*suite).atomic},
		{"Fence", (*suite).fence},
		{"Dedup", (*suite).dedup},
		{"DedupRace", (*suite).dedupRace},
		{"DedupConflict", (*suite).dedupConflict},
		{"Notify", (*suite).notify},
		{"NotifyBeforeCreate", (*suite).notifyBeforeCreate},
		{"Visibility", (*suite).visibility},
		{"Reopen", (*suite).reopen},
		{"Retention", (*suite).retention},
		{"RetentionBytes", (*suite).retentionBytes},
		{"Close", (*suite).close},
		{"Model", (*suite).model},
		{"Log", func(s *suite) { RunLog(s.T, h) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if why, ok := h.Skip[test.name]; ok {
				t.Skip(why)
			}
			s := &suite{T: t, h: h, drv: h.Open(t), ends: map[partKey]uint64{}}
			s.watch()
			t.Cleanup(func() { s.drv.Close() })
			test.fn(s)
		})
	}
}

// suite is one test of one engine.
type suite struct {
	*testing.T
	h   Harness
	drv driver.Driver
	ids atomic.Int64

	mu     sync.Mutex
	ends   map[partKey]uint64 // as Notify said
	onEnds func([]driver.End) // also called by Notify, if set before
}

type partKey struct {
	topic     driver.ID
	partition int
}

var ctx = context.Background()

// epoch is when the suite's events were accepted first: a moment ago, in the milliseconds that every engine can hold.
var epoch = time.Now().UTC().Truncate(time.Second)

func (s *suite) watch() {
	s.drv.Notify(func(ends []driver.End) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range ends {
			k := partKey{e.Topic, e.Partition}
			if e.End < s.ends[k] {
				s.Errorf("Notify: the end of %v went back from %d to %d", k, s.ends[k], e.End)
			}
			s.ends[k] = e.End
		}
		if s.onEnds != nil {
			s.onEnds(ends)
		}
	})
}

func (s *suite) end(topic driver.ID, partition int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[partKey{topic, partition}]
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) code(err error, want tandem.Code) {
	s.Helper()
	if got := tandem.CodeOf(err); got != want {
		s.Fatalf("the error is %q (%v), want %q", got, err, want)
	}
}

func (s *suite) create(name string, partitions int) driver.Topic {
	s.Helper()
	t, err := s.drv.CreateTopic(ctx, tandem.Topic{Name: name, Partitions: partitions, Retention: -1})
	s.ok(err)
	return t
}

// event returns an event of a topic, with an id of its own, accepted n milliseconds after epoch.
func (s *suite) event(n int) *tandem.Event {
	return &tandem.Event{ID: fmt.Sprintf("id-%d", s.ids.Add(1)), Source: "/drivertest", Type: "test.event", Data: fmt.Appendf(nil, "%d", n),
		Encoding: tandem.DataJSON, Meta: tandem.Meta{Accepted: epoch.Add(time.Duration(n) * time.Millisecond)}}
}

func record(t driver.Topic, partition int, ev *tandem.Event) driver.Record {
	return driver.Record{Topic: t.ID, Partition: partition, Event: ev}
}

// deduped is record with the identity that the log would give it; the sum is that of the data.
func deduped(t driver.Topic, partition int, ev *tandem.Event) driver.Record {
	r := record(t, partition, ev)
	r.Dedup, r.Identity, r.Sum = true, tandem.Fingerprint(t.Name, ev.Source, ev.ID), uint64(len(ev.Data))
	for _, c := range ev.Data {
		r.Sum = r.Sum*31 + uint64(c)
	}
	return r
}

func (s *suite) append(records ...driver.Record) []driver.Record {
	s.Helper()
	s.ok(s.drv.Append(ctx, &driver.Batch{Records: records}))
	return records
}

// fill appends n events to a partition, a few in each batch, and returns their records.
func (s *suite) fill(t driver.Topic, partition, n int) []driver.Record {
	s.Helper()
	var all []driver.Record
	for i := 0; i < n; {
		var b []driver.Record
		for range min(1+i%4, n-i) {
			b = append(b, record(t, partition, s.event(i)))
			i++
		}
		all = append(all, s.append(b...)...)
	}
	return all
}

func (s *suite) readFrom(t driver.Topic, partition int, from uint64) []tandem.Record {
	s.Helper()
	var all []tandem.Record
	for {
		n := len(all)
		var err error
		all, err = s.drv.Read(ctx, t.ID, partition, from, 100, 1<<20, all)
		s.ok(err)
		if len(all) == n {
			return all
		}
		from = all[len(all)-1].Position.Offset + 1
	}
}

// same compares what was read with what was appended.
func (s *suite) same(t driver.Topic, got []tandem.Record, want []driver.Record) {
	s.Helper()
	if len(got) != len(want) {
		s.Fatalf("read %d events, want %d", len(got), len(want))
	}
	for i := range got {
		w := tandem.Record{Event: *want[i].Event, Seq: want[i].Seq,
			Position: tandem.Position{Topic: t.Name, Partition: want[i].Partition, Offset: want[i].Offset},
			Assigned: !want[i].Dedup && s.drv.Info().Dedup != driver.DedupAtAppend}
		if d := cmp.Diff(w, got[i], exactBytes); d != "" {
			s.Fatalf("event %d differs (-want +got):\n%s", i, d)
		}
	}
}

// exactBytes tells nil from empty, and does not look for the difference of long data.
var exactBytes = cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) })

func (s *suite) boundsOf(t driver.Topic, partition int) driver.Bounds {
	s.Helper()
	b, err := s.drv.Bounds(ctx, t.ID, partition)
	s.ok(err)
	return b
}

func (s *suite) reopenNow() {
	s.Helper()
	s.drv = s.h.Reopen(s.T, s.drv)
	s.mu.Lock()
	clear(s.ends)
	s.mu.Unlock()
	s.watch()
}

type pair struct{ Key, Value string }

func (s *suite) scan(from, to string) []pair {
	s.Helper()
	all := []pair{}
	s.ok(s.drv.ScanState(ctx, from, to, func(k string, v []byte) bool {
		all = append(all, pair{k, string(v)})
		return true
	}))
	return all
}
