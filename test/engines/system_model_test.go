package engines

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// TestSystemModel runs the model of deliveries, which internal/delivery has in virtual time on a log in memory, in real time on each kind of
// server: random publishes, failures, crashes, restarts, seeks, redrives and replays, and promises 2, 3 and 4 checked on what endpoints and
// clients saw and what the log holds. TANDEM_SEEDS=N runs so many instead of 50.
func TestSystemModel(t *testing.T) {
	seeds := 50
	if n, err := strconv.Atoi(os.Getenv("TANDEM_SEEDS")); err == nil {
		seeds = n
	}
	passed := regexp.MustCompile(`(?m)^ +--- PASS: TestModelOnEngine/worker\d+/\d+ `)
	onEngines(t, true, func(t *testing.T, engine string) {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout=30m", "-parallel=16", "-run=^TestModelOnEngine$", "./internal/delivery")
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "TANDEM_MODEL_ENGINE="+firstHost(t, engine), "TANDEM_SEEDS="+strconv.Itoa(seeds))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if n := len(passed.FindAll(out, -1)); n != seeds {
			t.Errorf("%d of %d seeds were run\n%s", n, seeds, out)
		}
	})
}
