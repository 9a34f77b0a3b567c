package compare

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes the report as one JSON object, for programs. Its fields are those of Report, and stay: within a ReportVersion, fields are added
// and none is renamed, removed or given another meaning. A list that is empty is [], what was not measured is absent.
func WriteJSON(w io.Writer, r *Report) error {
	filled := *r
	filled.Advice = orEmpty(r.Advice)
	filled.NotMeasured = orEmpty(r.NotMeasured)
	filled.Findings = make([]Finding, len(r.Findings))
	for i, f := range r.Findings {
		f.Expected = orEmpty(f.Expected)
		f.Cells = make([]Cell, len(f.Cells))
		for j, c := range r.Findings[i].Cells {
			c.Params, c.Processes = orEmpty(c.Params), orEmpty(c.Processes)
			f.Cells[j] = c
		}
		filled.Findings[i] = f
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&filled); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	return nil
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
