package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/process"
)

// The test binary is its own child, as the real one is, and a whole run that can be killed.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == childCommand:
		if err := Child(context.Background(), os.Args[2], []Scenario{planted{}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) == 2 && os.Args[1] == "compare-forever":
		s := planted{offer: Offer{Rate: 20, Duration: time.Hour, Even: true}, told: os.Stdout}
		_, err := Run(context.Background(), []Scenario{s}, Options{})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// planted is a scenario around one service that is wrong in known ways: work is two effects, and the number of the unit
// decides what goes wrong.
type planted struct {
	offer   Offer
	faults  []FaultPlan
	wrong   wrong
	started func()    // when everything runs
	pid     func(int) // told of the worker, before and after
	told    io.Writer
	judge   func([]Cell)
}

// wrong is of which units one goes wrong: those whose number leaves the remainder 0 by it. Zero means none.
type wrong struct{ Late, Lost, Twice, Half int }

// plantedDelay is far longer than anything else takes.
const plantedDelay = time.Second

func (w wrong) hits(n, of int) bool { return of > 0 && n%of == 0 }

func (planted) About() About { return About{Name: "planted", Title: "Planted"} }

func (planted) Services() map[string]process.Opener {
	return map[string]process.Opener{"worker": openWorker}
}

func (p planted) Judge(cells []Cell) Verdict {
	if p.judge != nil {
		p.judge(cells)
	}
	return Verdict{}
}

func (p planted) Trials(Options) []Trial {
	return []Trial{{Style: Request, Params: []Param{{Name: "service", Value: "wrong"}}, Takes: p.offer.Duration, Run: p.run}}
}

func (p planted) run(ctx context.Context, env *Env) (*Cell, error) {
	url, err := env.Launch(ctx, "worker", "worker", p.wrong)
	if err != nil {
		return nil, err
	}
	if p.started != nil {
		p.started()
	}
	if p.told != nil {
		fmt.Fprintln(p.told, env.Group.Process("worker").PID())
	}
	if p.pid != nil {
		p.pid(env.Group.Process("worker").PID())
		defer func() { p.pid(env.Group.Process("worker").PID()) }()
	}
	return env.Run(ctx, Job{Offer: p.offer, Faults: p.faults,
		Attempt: func(ctx context.Context, u Unit) Told {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(u.ID))
			if err != nil {
				return Unknown
			}
			return ToldBy(env.Client.Do(req))
		},
		Ledger: func(context.Context) (map[string]Work, error) { return readWorker(env.ServicesDir()) },
	})
}

// worker is the wrong service.
type worker struct {
	wrong
	mu     sync.Mutex
	ledger *os.File
}

func openWorker(_ context.Context, _ string, s process.Settings, _ *slog.Logger) (process.Service, error) {
	w := &worker{}
	if err := json.Unmarshal(s.More, &w.wrong); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, err
	}
	var err error
	w.ledger, err = os.OpenFile(filepath.Join(s.Data, "ledger"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return w, err
}

func (w *worker) Close() error { return w.ledger.Close() }

func (w *worker) ServeHTTP(res http.ResponseWriter, r *http.Request) {
	unit, _ := io.ReadAll(r.Body)
	n, err := strconv.Atoi(strings.TrimPrefix(string(unit), "u"))
	if err != nil {
		http.Error(res, err.Error(), http.StatusBadRequest)
		return
	}
	if w.hits(n, w.Late) {
		time.Sleep(plantedDelay)
	}
	effects := []string{"first", "second"}
	switch {
	case w.hits(n, w.Lost):
		effects = nil
	case w.hits(n, w.Half):
		effects = effects[:1]
	case w.hits(n, w.Twice):
		effects = append(effects, "second")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range effects {
		fmt.Fprintln(w.ledger, string(unit), e, time.Now().UnixNano())
	}
}

func readWorker(dir string) (map[string]Work, error) {
	body, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil {
		return nil, err
	}
	works, seen := map[string]Work{}, map[string]bool{}
	for line := range bytes.Lines(body) {
		var unit, effect string
		var at int64
		if _, err := fmt.Sscan(string(line), &unit, &effect, &at); err != nil {
			return nil, err
		}
		w := works[unit]
		w.At, w.State = time.Unix(0, at), Half
		w.Twice = w.Twice || seen[unit+effect]
		seen[unit+effect] = true
		if seen[unit+"first"] && seen[unit+"second"] {
			w.State = Done
		}
		works[unit] = w
	}
	return works, nil
}
