package compare_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
)

// Programs read these. A name that goes from here needs another compare.ReportVersion.
const jsonFields = `version command began took seed repeats machine findings advice notMeasured
findings.scenario findings.title findings.question findings.expected findings.cells
findings.expected.claim findings.expected.source findings.expected.agreed findings.expected.figure
advice.link advice.style advice.reason advice.figure
findings.cells.style findings.cells.params findings.cells.notReachable findings.cells.warmup findings.cells.took findings.cells.load findings.cells.answered
findings.cells.done findings.cells.outcome findings.cells.perUnit findings.cells.processes findings.cells.mustBeUp findings.cells.faults findings.cells.samples
findings.cells.load.rate findings.cells.load.reached findings.cells.load.units findings.cells.answered.count findings.cells.answered.curve
findings.cells.answered.p50 findings.cells.answered.p90 findings.cells.answered.p99 findings.cells.answered.p999 findings.cells.answered.max
findings.cells.answered.p50Interval findings.cells.answered.p99Interval findings.cells.params.name findings.cells.params.value findings.cells.also
machine.os machine.arch machine.cpu machine.cores machine.memoryBytes machine.version machine.commit
findings.cells.answered.curve.at findings.cells.answered.curve.took
findings.cells.outcome.accepted findings.cells.outcome.refused findings.cells.outcome.unknown findings.cells.outcome.lost findings.cells.outcome.twice findings.cells.outcome.halfDone
findings.cells.perUnit.requests findings.cells.perUnit.wireBytes findings.cells.perUnit.diskBytes findings.cells.perUnit.cpu
findings.cells.processes.name findings.cells.processes.cpu findings.cells.processes.memoryBytes
findings.cells.faults.process findings.cells.faults.kind findings.cells.faults.at findings.cells.faults.for findings.cells.faults.recovered findings.cells.faults.drained
findings.cells.samples.at findings.cells.samples.due findings.cells.samples.accepted findings.cells.samples.refused findings.cells.samples.done findings.cells.samples.backlog
findings.cells.samples.p99`

func written(t *testing.T, r *compare.Report) string {
	t.Helper()
	var b strings.Builder
	if err := compare.WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteJSON(t *testing.T) {
	r := reporttest.Report()
	text := written(t, r)
	var back compare.Report
	if err := json.Unmarshal([]byte(text), &back); err != nil || written(t, &back) != text {
		t.Errorf("it reads back as another: %v", err)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	collect("", object, seen)
	for _, name := range strings.Fields(jsonFields) {
		if !seen[name] {
			t.Errorf("%s is not there", name)
		}
	}
}

func collect(path string, v any, seen map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			seen[path+name] = true
			collect(path+name+".", value, seen)
		}
	case []any:
		for _, e := range v {
			collect(path, e, seen)
		}
	}
}

// An empty list is a list, and what was not measured is absent.
func TestWriteJSONOfNothing(t *testing.T) {
	text := written(t, &compare.Report{Findings: []compare.Finding{{Cells: []compare.Cell{{Style: "request"}}}}})
	for _, s := range []string{`"advice": []`, `"notMeasured": []`, `"expected": []`, `"params": []`, `"processes": []`} {
		if !strings.Contains(text, s) {
			t.Errorf("%s is not in %s", s, text)
		}
	}
	for _, s := range []string{"null", "answered", "done", "requests", "partial", "notReachable", "samples"} {
		if strings.Contains(text, `"`+s+`"`) || s == "null" && strings.Contains(text, s) {
			t.Errorf("%s is in %s", s, text)
		}
	}
	if text := written(t, &compare.Report{}); !strings.Contains(text, `"findings": []`) {
		t.Error(text)
	}
}
