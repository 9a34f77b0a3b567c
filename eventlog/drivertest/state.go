package drivertest

import (
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

func (s *suite) put(ops ...driver.StateOp) {
	s.Helper()
	s.ok(s.drv.Append(ctx, &driver.Batch{State: ops}))
}

func set(key, value string) driver.StateOp { return driver.StateOp{Key: key, Value: []byte(value)} }

func (s *suite) states(from, to string, want ...pair) {
	s.Helper()
	if want == nil {
		want = []pair{}
	}
	if d := cmp.Diff(want, s.scan(from, to)); d != "" {
		s.Fatalf("state from %q to %q (-want +got):\n%s", from, to, d)
	}
}

func (s *suite) state() {
	s.states("", "")
	s.put(set("b", "2"), set("a/\x00", "low"), set("a", "1"), set("c", ""))
	s.put(set("a/\xff\xff", "high"))
	s.put(set("a/x", "3"), driver.StateOp{Key: "never"})
	all := []pair{{"a", "1"}, {"a/\x00", "low"}, {"a/x", "3"}, {"a/\xff\xff", "high"}, {"b", "2"}, {"c", ""}}
	s.states("", "", all...)
	s.states("a/", "a0", all[1:4]...)
	s.states("a/x", "b", all[2:4]...)
	s.states("b", "b")
	s.states("bb", "", all[5])
	s.put(driver.StateOp{Key: "a"}, set("b", "two"), driver.StateOp{Key: "c"})
	s.states("", "", pair{"a/\x00", "low"}, pair{"a/x", "3"}, pair{"a/\xff\xff", "high"}, pair{"b", "two"})

	calls := 0
	s.ok(s.drv.ScanState(ctx, "", "", func(string, []byte) bool { calls++; return calls < 2 }))
	if calls != 2 {
		s.Errorf("fn returned false and was called %d times", calls)
	}

	// Many, of which the engine keeps no reference.
	value := []byte("mine")
	var ops []driver.StateOp
	for i := range 2000 {
		ops = append(ops, driver.StateOp{Key: fmt.Sprintf("many/%04d", i), Value: value})
	}
	s.put(ops...)
	value[0] = 'X'
	got := s.scan("many/", "many0")
	if len(got) != 2000 {
		s.Fatalf("scanned %d state records, want 2000", len(got))
	}
	for i, p := range got {
		if p.Key != fmt.Sprintf("many/%04d", i) || p.Value != "mine" {
			s.Fatalf("state record %d is %v", i, p)
		}
	}
}

func (s *suite) stateIf() {
	try := func(key, value, is string) error {
		op := driver.StateOp{Key: key, Value: []byte(value), If: []byte(is)}
		return s.drv.Append(ctx, &driver.Batch{State: []driver.StateOp{op}})
	}
	s.code(try("k", "v1", "v0"), tandem.CodeConflict) // it is absent
	s.ok(try("k", "v1", ""))
	s.code(try("k", "v2", ""), tandem.CodeConflict) // it is there
	s.code(try("k", "v2", "v"), tandem.CodeConflict)
	s.ok(try("k", "v2", "v1"))
	s.states("", "", pair{"k", "v2"})
	b := &driver.Batch{State: []driver.StateOp{{Key: "k", If: []byte("v2")}}}
	s.ok(s.drv.Append(ctx, b))
	s.states("", "")

	// Of many that try, one wins each round.
	s.put(set("race", "0"))
	const racers = 16
	for round := range 20 {
		won := make(chan bool)
		for i := range racers {
			go func() {
				won <- try("race", fmt.Sprintf("%d/%d", round+1, i), s.scanOne("race")) == nil
			}()
		}
		wins := 0
		for range racers {
			if <-won {
				wins++
			}
		}
		if wins == 0 {
			s.Fatal("nobody won a round of compare-and-set")
		}
	}
}

// scanOne does not fail the test, so it may be called from any goroutine.
func (s *suite) scanOne(key string) string {
	value := ""
	if err := s.drv.ScanState(ctx, key, key+"\x00", func(_ string, v []byte) bool { value = string(v); return false }); err != nil {
		s.Error(err)
	}
	return value
}

// atomic: events of several topics and state are stored together or not at all, and Failed names what was wrong.
func (s *suite) atomic() {
	if !s.drv.Info().Atomic {
		s.Skip("the engine does not declare Atomic")
	}
	a, b := s.create("a", 2), s.create("b", 1)
	s.put(set("cursor", "0"))
	good := &driver.Batch{Records: []driver.Record{record(a, 0, s.event(0)), record(b, 0, s.event(0)), record(a, 1, s.event(0))},
		State: []driver.StateOp{{Key: "cursor", Value: []byte("1"), If: []byte("0")}, set("extra", "e")}}
	s.ok(s.drv.Append(ctx, good))

	id := s.event(1)
	s.append(deduped(b, 0, id))
	other := *id
	other.Data = []byte("2222")
	unchanged := func() {
		s.Helper()
		s.states("", "", pair{"cursor", "1"}, pair{"extra", "e"})
		if x, y, z := len(s.readFrom(a, 0, 0)), len(s.readFrom(a, 1, 0)), len(s.readFrom(b, 0, 0)); x != 1 || y != 1 || z != 2 {
			s.Fatalf("a refused batch left events: %d, %d and %d instead of 1, 1 and 2", x, y, z)
		}
	}
	for _, c := range []struct {
		why    string
		batch  driver.Batch
		code   tandem.Code
		failed int
	}{
		{"state had another value", driver.Batch{Records: []driver.Record{record(a, 0, s.event(0)), record(b, 0, s.event(0))},
			State: []driver.StateOp{set("extra", "no"), {Key: "cursor", Value: []byte("2"), If: []byte("0")}}}, tandem.CodeConflict, 3},
		{"an id has other data", driver.Batch{Records: []driver.Record{record(a, 0, s.event(0)), deduped(b, 0, &other), record(b, 0, s.event(0))},
			State: []driver.StateOp{set("extra", "no")}}, tandem.CodeConflict, 1},
		{"a partition is not there", driver.Batch{Records: []driver.Record{record(a, 0, s.event(0)), record(a, 2, s.event(0))},
			State: []driver.StateOp{set("extra", "no")}}, tandem.CodeNotFound, 0},
	} {
		if c.code == tandem.CodeConflict && c.failed < 3 && s.drv.Info().Dedup == driver.DedupAtDelivery {
			continue
		}
		s.code(s.drv.Append(ctx, &c.batch), c.code)
		if c.code == tandem.CodeConflict && c.batch.Failed != c.failed {
			s.Errorf("%s: Failed is %d, want %d", c.why, c.batch.Failed, c.failed)
		}
		unchanged()
	}
	if s.h.Reopen != nil {
		s.reopenNow()
		unchanged()
	}
}

func (s *suite) fence() {
	t := s.create("t", 1)
	first, err := s.drv.Own(ctx, "partition/0")
	s.ok(err)
	other, err := s.drv.Own(ctx, "another")
	s.ok(err)
	write := func(f driver.Fence) error {
		return s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(t, 0, s.event(0))}, State: []driver.StateOp{set("k", "v")}, Fence: &f})
	}
	s.ok(write(first))
	second, err := s.drv.Own(ctx, "partition/0")
	s.ok(err)
	if second.Epoch <= first.Epoch || second.Name != "partition/0" {
		s.Fatalf("%+v was taken over with %+v", first, second)
	}
	s.code(write(first), tandem.CodePrecondition)
	s.ok(write(second))
	s.ok(write(other))
	if n := len(s.readFrom(t, 0, 0)); n != 3 {
		s.Errorf("%d events are stored, want 3: a stale fence stores nothing", n)
	}
}
