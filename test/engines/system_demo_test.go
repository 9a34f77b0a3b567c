package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemDemo runs the shop as it is on each kind of server: every order ends, and all books agree, or the demo fails.
func TestSystemDemo(t *testing.T) {
	onEngines(t, true, func(t *testing.T, engine string) {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), binary(t), "demo", "--once", "--data", dir, "--public", "127.0.0.1:0", "--api", "127.0.0.1:0")
		cmd.Env = append(os.Environ(), "TANDEM_ENGINE="+ownPrefix(engine))
		out, err := cmd.CombinedOutput()
		for _, says := range []string{"40 placed, 40 ended", "30 confirmed, 4 returned, 6 cancelled", "stock and payments agree"} {
			if err != nil || !strings.Contains(string(out), says) {
				t.Fatalf("%v: it does not say %q:\n%s", err, says, out)
			}
		}
		name, _, _ := strings.Cut(engine, ":")
		if at, _ := filepath.Glob(filepath.Join(dir, "*", name+"-state")); len(at) != 1 {
			t.Errorf("it did not use %s", name)
		}
	})
}

// TestSystemDemoKills runs the demo's own test of kills, of the server and of services, on real servers.
func TestSystemDemoKills(t *testing.T) {
	onEngines(t, false, func(t *testing.T, engine string) {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout=15m", "-run=^TestKillsLoseNothing$", "./internal/demo")
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "TANDEM_ENGINE="+ownPrefix(engine))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestKillsLoseNothing") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
