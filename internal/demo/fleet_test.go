package demo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// fleetOnce runs the fleet to its end on ports of its own, and shows the children's logs when it fails.
func fleetOnce(t *testing.T, o FleetOptions) FleetSummary {
	t.Helper()
	o.Once, o.Public, o.API, o.Data = true, "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	var out bytes.Buffer
	o.Out = &out
	sum, err := RunFleet(t.Context(), o)
	t.Logf("%s%s", &out, sum)
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(o.Data, "logs", "*.log"))
		for _, path := range logs {
			body, _ := os.ReadFile(path)
			t.Logf("%s:\n%s", filepath.Base(path), body[max(0, len(body)-3000):])
		}
		t.Fatal(err)
	}
	return sum
}

// The expected result of examples/fleet.
func TestTheFleetArrives(t *testing.T) {
	sum := fleetOnce(t, FleetOptions{})
	if sum.Receipts != 12000 || sum.Stored != 12000 || sum.Seen != 12000 || sum.Repeats != 0 || sum.Broken != 0 {
		t.Errorf("%+v", sum)
	}
	readme, err := os.ReadFile("../../examples/fleet/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{fmt.Sprintf("%d receipts for %d positions of %d vehicles", sum.Receipts, sum.Positions, sum.Vehicles),
		fmt.Sprintf("%d, each vehicle's in order", sum.Stored), fmt.Sprintf("one saw all %d, a slow one", sum.Seen)} {
		if !strings.Contains(sum.String(), line) || !strings.Contains(string(readme), line) {
			t.Errorf("the summary or the README does not say %q", line)
		}
	}
}

// Of more than the connection of a slow reader holds it is sent the latest. The positions come from a file.
func TestASlowReaderIsSentTheLatest(t *testing.T) {
	type row struct {
		seconds float64
		text    string
	}
	var rows []row
	for _, track := range vehicle.Generate(20, 2000, 1) {
		for _, p := range track.Positions {
			rows = append(rows, row{p.Seconds, fmt.Sprintf("%.3f,%s,%d,%f,%f", p.Seconds, track.Vehicle, p.Vendor, p.Longitude, p.Latitude)})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.seconds, b.seconds) })
	var file strings.Builder
	file.WriteString(strings.Join(vehicle.Columns, ",") + "\n")
	for _, r := range rows {
		file.WriteString(r.text + "\n")
	}
	path := filepath.Join(t.TempDir(), "positions.csv")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := fleetOnce(t, FleetOptions{Positions: path})
	if sum.Vehicles != 20 || sum.Seen != 40_000 || sum.SlowSeen >= sum.Seen || sum.SlowSeen < sum.Vehicles {
		t.Errorf("of %d positions of %d vehicles a slow reader was sent %d", sum.Seen, sum.Vehicles, sum.SlowSeen)
	}
}

// The server is killed while all vehicles send: nothing that had a receipt is lost, what is sent again is stored once, and the vehicles and the
// readers go on where they were.
func TestKillsLoseNoPosition(t *testing.T) {
	kills := rounds(2, 10, 100)
	o := FleetOptions{Vehicles: 20 * kills}
	if kills > 10 {
		o.Vehicles = 2000
	}
	total := o.Vehicles * madeUp
	o.Control = func(f *Fleet) error {
		for i := range kills {
			if err := f.WaitStored((i + 1) * total / (kills + 2)); err != nil {
				return err
			}
			f.Kill(process.Server)
		}
		return nil
	}
	sum := fleetOnce(t, o)
	if sum.Receipts != total || sum.Broken < kills {
		t.Errorf("%d receipts of %d, %d connections broke in %d kills", sum.Receipts, total, sum.Broken, kills)
	}
	if bound := kills * o.Vehicles * vehicle.Window; sum.Repeats > bound {
		t.Errorf("%d positions were stored before, %d can have been on their way", sum.Repeats, bound)
	}
}

// vehicle-positions.csv beside the project is read where TANDEM_POSITIONS names it.
func TestRealPositions(t *testing.T) {
	path := os.Getenv("TANDEM_POSITIONS")
	if path == "" {
		t.Skip("TANDEM_POSITIONS names no file")
	}
	sum := fleetOnce(t, FleetOptions{Positions: path})
	if sum.Vehicles != 994 || sum.Stored != 47889 {
		t.Errorf("%+v", sum)
	}
}

func TestCtrlCEndsTheFleet(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pids []int
	o := FleetOptions{Vehicles: 5, Speed: 1000, Public: "127.0.0.1:0", API: "127.0.0.1:0", Control: func(f *Fleet) error {
		defer cancel()
		for _, p := range f.Processes() {
			pids = append(pids, p.PID())
		}
		return f.WaitStored(5*madeUp + 1) // a second lap
	}}
	sum, err := RunFleet(ctx, o)
	if err != nil || sum.Receipts <= 5*madeUp || sum.Broken != 0 {
		t.Errorf("%v, %+v", err, sum)
	}
	if len(pids) != 2 || slices.ContainsFunc(pids, alive) {
		t.Errorf("of the processes %v some were left behind", pids)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	o.Once, o.Speed, o.Control = true, 1, func(f *Fleet) error { cancel(); return nil }
	if sum, err = RunFleet(ctx, o); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "of 1000 positions") || sum.OK {
		t.Errorf("%v, %+v", err, sum)
	}
}

func TestFleetOptionsThatCannotBeMeant(t *testing.T) {
	file := filepath.Join(t.TempDir(), "positions.csv")
	if err := os.WriteFile(file, []byte("vehicle,lat\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []FleetOptions{{Vehicles: -1}, {Vehicles: 10_001}, {Speed: -1}, {Positions: file, Vehicles: 1}, {Positions: file}, {Public: "nonsense"}} {
		o.Once = true
		if _, err := RunFleet(t.Context(), o); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := RunFleet(t.Context(), FleetOptions{Positions: file + "x"}); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("%v", err)
	}
}

// Each fault alone is noticed, by one who has to see all and by one who is sent the latest; what conflation leaves out is none.
func TestTheTallySeesEachFault(t *testing.T) {
	tracks := []vehicle.Track{{Vehicle: "a", Positions: make([]vehicle.Position, 3)}, {Vehicle: "b", Positions: make([]vehicle.Position, 2)}}
	for _, c := range []struct {
		seen        string // vehicle and number
		all, latest string // what is wrong for each reader
	}{
		{"a1 b1 a2 b2 a3", "", ""},
		{"a1 a3 b2", "vehicle a: position 3 behind 1", ""},
		{"b1 a3 b2", "vehicle a: position 3 behind 0", ""},
		{"a1 a2 a2 a3 b1 b2", "vehicle a: position 2 twice", "vehicle a: position 2 twice"},
		{"a1 a2 a3 b1 b2 b1", "vehicle b: position 1 behind 2", "vehicle b: position 1 behind 2"},
		{"a1 a2 b1 b2", "vehicle a: position 2 was the last, of 3", "vehicle a: position 2 was the last, of 3"},
		{"a1 a2 a3", "vehicle b: position 0 was the last, of 2", "vehicle b: position 0 was the last, of 2"},
		{"a1 a2 a3 b1 b2 b3", "vehicle b: position 3, it sends 2", "vehicle b: position 3, it sends 2"},
		{"a1 a2 a3 b1 b2 c1", "vehicle c: position 1, it sends 0", "vehicle c: position 1, it sends 0"},
		{"a1 a2 a3 b1 b2 bx", "vehicle b: invalid", "vehicle b: invalid"},
	} {
		for _, all := range []bool{true, false} {
			tally := newTally(tracks, all)
			for _, p := range strings.Fields(c.seen) {
				tally.take(p[:1], fmt.Appendf(nil, `{"n":%s}`, p[1:]))
			}
			want, got := c.latest, tally.disagreements("who")
			if all {
				want = c.all
			}
			if (len(got) > 0) != (want != "") || want != "" && !strings.HasPrefix(got[0], "who: "+want) {
				t.Errorf("%s, all %v: %q, want %q", c.seen, all, got, want)
			}
		}
	}
}
