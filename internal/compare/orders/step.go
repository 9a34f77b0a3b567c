package orders

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// stepKind is the service of a chain: it takes an event, works for a while, writes down what it did, and answers with the next
// event. It knows nothing of styles. It does not look whether it has seen an event before, so that repeats show.
const stepKind = "step"

type stepSettings struct {
	Step int           // from 1
	Last bool          // answers with nothing
	Work time.Duration // how long it takes
}

type step struct {
	set    stepSettings
	ledger *os.File
}

func openStep(_ context.Context, _ string, s process.Settings, _ *slog.Logger) (process.Service, error) {
	svc := &step{}
	if err := json.Unmarshal(s.More, &svc.set); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, err
	}
	var err error
	svc.ledger, err = os.OpenFile(stepLedger(s.Data, fmt.Sprintf("step-%d", svc.set.Step)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return svc, err
}

func (s *step) Close() error { return s.ledger.Close() }

func (s *step) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct {
		ID   string `json:"id"`
		Data struct {
			Unit string `json:"unit"`
		} `json:"data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil || e.Data.Unit == "" {
		http.Error(w, "send an event about a unit of work", http.StatusBadRequest)
		return
	}
	time.Sleep(s.set.Work)
	// One write of a line appends it whole, and outlives a kill of the process.
	if _, err := fmt.Fprintf(s.ledger, "%s %d\n", e.Data.Unit, time.Now().UnixNano()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if s.set.Last {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // Tandem is gone: it will ask again
		"specversion": "1.0", "id": e.ID + ".", "source": fmt.Sprintf("/step/%d", s.set.Step), "type": fmt.Sprintf("step.%d", s.set.Step+1),
		"subject": e.Data.Unit, "datacontenttype": "application/json", "data": e.Data,
	})
}

func stepLedger(dir, name string) string { return filepath.Join(dir, name+".ledger") }

// readSteps tells from the ledgers of a chain how much of each unit of work was done.
func readSteps(dir string, names []string) (map[string]compare.Work, error) {
	type counted struct {
		steps int // that did it at least once
		twice bool
		last  int64
	}
	units := map[string]*counted{}
	for _, name := range names {
		f, err := os.Open(stepLedger(dir, name))
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var unit string
			var at int64
			if _, err := fmt.Fscan(strings.NewReader(lines.Text()), &unit, &at); err != nil {
				f.Close()
				return nil, fmt.Errorf("%s: %q: %w", f.Name(), lines.Text(), err)
			}
			c := units[unit]
			if c == nil {
				c = &counted{}
				units[unit] = c
			}
			if seen[unit] {
				c.twice = true
			} else {
				seen[unit] = true
				c.steps++
				c.last = max(c.last, at)
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	works := make(map[string]compare.Work, len(units))
	for unit, c := range units {
		w := compare.Work{State: compare.Half, Twice: c.twice, At: time.Unix(0, c.last)}
		if c.steps == len(names) {
			w.State = compare.Done
		}
		works[unit] = w
	}
	return works, nil
}
