package table

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
)

func write(t *testing.T, r *compare.Report, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// No line is wider than the terminal, but for the command, which is there to be copied.
func TestWidth(t *testing.T) {
	r := reporttest.Report()
	for _, wide := range []int{0, 60, 80, 100, 160, 400} {
		for _, line := range strings.Split(write(t, r, Options{Width: wide}), "\n") {
			limit := wide
			if wide == 0 {
				limit = 80
			}
			if width(line) > limit && !strings.Contains(line, r.Command) {
				t.Errorf("%d columns in %d: %s", width(line), wide, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%q ends in spaces", line)
			}
		}
	}
}

// Each figure of each cell is there in its row when there is room, and each table's figures stand under their names.
func TestFiguresOfEachCell(t *testing.T) {
	r := reporttest.Report()
	rows := strings.Split(write(t, r, Options{Width: 400}), "\n")
	next := 0
	find := func(what string, ok func(line string) bool) {
		t.Helper()
		for ; next < len(rows); next++ {
			if ok(rows[next]) {
				next++
				return
			}
		}
		t.Fatalf("there is no line for %s, or not in its place", what)
	}
	for i := range r.Findings {
		_, groups := figure.Groups(&r.Findings[i])
		for _, columns := range [][]figure.Column{figure.Latencies, figure.OutcomesOf(groups), figure.Costs} {
			columns, never := busy(figure.Measured(columns, groups), groups)
			for _, g := range groups {
				find(g.Name, func(line string) bool { return line == "  "+g.Name })
				for _, s := range g.Series {
					want := []string{s.Name}
					for _, c := range columns {
						if text := c.Get(s.Cell).Text; text != "" {
							want = append(want, text)
						} else if s.NotReachable == "" {
							want = append(want, "–")
						}
					}
					if s.NotReachable != "" {
						want = []string{s.Name, "not reachable here"}
					}
					find(strings.Join(want, " "), func(line string) bool {
						return strings.HasPrefix(strings.Join(strings.Fields(line), " "), strings.Join(want, " "))
					})
				}
			}
			if len(never) > 0 {
				find("what never was", func(line string) bool { return line == "  In no cell: "+strings.Join(never, ", ")+"." })
			}
		}
	}
	all := strings.Join(rows, "\n")
	for _, s := range []string{"orders → payments  as an event\n", "agreed in part: All work", "the generator began 1,912 of 3,200 units a second in time", "9.73 s after the fault ended",
		"± 633 µs", r.Command, "seed 7"} {
		if !strings.Contains(all, s) {
			t.Errorf("it does not say %q", s)
		}
	}
	if strings.Count(all, "1,912 of 3,200") != 1 {
		t.Error("it says more than once why a cell was not reachable")
	}
}

var aligned = regexp.MustCompile(`\S+`)

// Figures end where the names of their columns end.
func TestAligned(t *testing.T) {
	lines := strings.Split(write(t, reporttest.Report(), Options{Width: 160}), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(strings.TrimSpace(line), "p50 ") {
			continue
		}
		ends := func(line string) (all []int) {
			for _, m := range aligned.FindAllStringIndex(line, -1) {
				all = append(all, width(line[:m[1]]))
			}
			return all
		}
		heads, row := ends(line), ends(lines[i+2])
		for n, at := range heads {
			if !strings.HasPrefix(lines[i+2], "  request") && !strings.HasPrefix(lines[i+2], "  poll") {
				t.Fatal(lines[i+2])
			}
			if row[len(row)-2*len(heads)+2*n+1] != at {
				t.Fatalf("not aligned:\n%s\n%s", line, lines[i+2])
			}
		}
		return
	}
	t.Error("there is no table")
}

// What does not fit is named. What nobody wants is shown however narrow it is.
func TestNarrow(t *testing.T) {
	r := reporttest.Report()
	r.Findings = r.Findings[:1]
	got := write(t, r, Options{Width: 48})
	if !strings.Contains(got, "Left out for want of room: ") || !strings.Contains(got, "half done\n") || !regexp.MustCompile(`(?m)^  request .* 11$`).MatchString(got) {
		t.Error(got)
	}
	if wide := write(t, r, Options{Width: 200}); strings.Contains(wide, "Left out") {
		t.Error(wide)
	}
}

// What was counted in a cell that was not reachable was counted.
func TestInNoCell(t *testing.T) {
	r := &compare.Report{Findings: []compare.Finding{{Cells: []compare.Cell{{Style: "request", Outcome: compare.Outcome{Accepted: 7}},
		{Style: "event", NotReachable: "busy", Outcome: compare.Outcome{Accepted: 3, Unknown: 4}}}}}}
	if got := write(t, r, Options{}); !strings.Contains(got, "In no cell: refused.") {
		t.Error(got)
	}
}

// A long text leaves room for figures.
func TestLongText(t *testing.T) {
	r := &compare.Report{Findings: []compare.Finding{{Cells: []compare.Cell{{Style: "event", Outcome: compare.Outcome{Accepted: 7},
		Also: []compare.Param{{Name: "vehicles", Value: "4000"}, {Name: "more", Value: "8000: p99 until all consumers had it 1.07 s"}}}}}}}
	if got := write(t, r, Options{Width: 60}); !strings.Contains(got, "  event  ") || !strings.Contains(got, " 7 ") || !strings.Contains(got, "Left out for want of room: also more.\n") {
		t.Error(got)
	}
	if got := write(t, r, Options{Width: 100}); !strings.Contains(got, " 7 ") || !strings.Contains(got, "had it 1.07 s\n") || strings.Contains(got, "Left out") {
		t.Error(got)
	}
}

func TestNothingIsNotZero(t *testing.T) {
	r := &compare.Report{Findings: []compare.Finding{{Title: "Nothing", Cells: []compare.Cell{
		{Style: "request", Answered: &compare.Latency{Count: 9, P50: time.Millisecond}, PerUnit: compare.PerUnit{Requests: new(float64)}}, {Style: "event"}}}}}
	got := write(t, r, Options{})
	r.Findings[0].Cells[0].Outcome = compare.Outcome{Accepted: 9, Lost: new(int64)}
	r.Findings[0].Cells[0].Load.Units = 9
	if known := write(t, r, Options{}); !strings.Contains(known, "  Not measured: twice, half done.\n") || !strings.Contains(known, "           offered  outcome\n             units ") {
		t.Error(known)
	}
	for _, line := range []string{"  request +1.00 ms\n  event +–\n", "  request +0\n  event +–\n", "This run recommends nothing."} {
		if !regexp.MustCompile(line).MatchString(got) {
			t.Errorf("it does not say %q", line)
		}
	}
	for _, zero := range []string{"0001", "0 core", "0 s", "refused", "In no cell"} {
		if strings.Contains(got, zero) {
			t.Errorf("it says %q", zero)
		}
	}
}

func TestPartial(t *testing.T) {
	r := reporttest.Report()
	if strings.Contains(write(t, r, Options{}), "partial") {
		t.Error("a whole run is called partial")
	}
	r.Partial = "It was interrupted after 41 s."
	if !strings.Contains(write(t, r, Options{}), "\nThis run is partial: It was interrupted after 41 s.\n") {
		t.Error("it does not say that it is partial")
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]+m")

// Colours add escape sequences and change nothing else. Without them there is none, whatever names hold.
func TestColour(t *testing.T) {
	r := reporttest.Report()
	r.Findings[0].Cells[0].NotReachable = "\x1b[31mred\x07\u202e\nnext"
	r.Advice[0].Link = "\x1b]0;title\x07"
	r.Command = "tandem\x1bc"
	plain, coloured := write(t, r, Options{}), write(t, r, Options{Colour: true})
	if strings.ContainsAny(plain, "\x1b\x07\u202e\t") {
		t.Error("a name commands the terminal")
	}
	if !strings.Contains(coloured, "\x1b[34mas a request\x1b[0m") || escapes.ReplaceAllString(coloured, "") != plain {
		t.Error("colours change more than colours")
	}
}
