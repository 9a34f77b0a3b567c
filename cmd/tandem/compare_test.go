package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// command is this test binary as the command, in a process group of its own, with a temporary directory of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "TANDEM_TEST_COMMAND=1", "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() { nothingLeft(t, cmd) })
	return cmd
}

// nothingLeft checks that no process of the command is left, and no directory.
func nothingLeft(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.Process != nil {
		if err := syscall.Kill(-cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("a process was left behind: %v", err)
		}
	}
	tmp := strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "TMPDIR=")
	if left, _ := filepath.Glob(filepath.Join(tmp, "tandem-*")); len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
}

func readReport(t *testing.T, path string) (r compare.Report) {
	t.Helper()
	body, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The quick run, from end to end. Its plan is 40 s at most; on a busy machine it takes what it takes.
func TestCompareQuick(t *testing.T) {
	plan, err := compare.Plan(scenarios(), compare.Options{Extent: compare.Quick})
	if err != nil || plan.Takes > 40*time.Second {
		t.Errorf("the quick run is planned to take %s, %v", plan.Takes, err)
	}
	dir := t.TempDir()
	cmd := command(t, "compare", "--quick", "--json", filepath.Join(dir, "r.json"), "--html", filepath.Join(dir, "r.html"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	t.Logf("took %s\n%s", time.Since(began).Round(time.Second), &out)
	r := readReport(t, filepath.Join(dir, "r.json"))
	n := 0
	for _, f := range r.Findings {
		n += len(f.Cells)
		for _, c := range f.Cells {
			if c.BrokenOff || c.Load.Units == 0 && c.NotReachable == "" {
				t.Errorf("%s: %+v", f.Scenario, c)
			}
		}
	}
	if r.Partial != "" || n != plan.Cells || len(r.NotMeasured) == 0 || !strings.HasPrefix(r.Command, "tandem compare --quick --seed 25") {
		t.Errorf("%q, partial %q, %d of %d cells, %q", r.Command, r.Partial, n, plan.Cells, r.NotMeasured)
	}
	page, err := os.ReadFile(filepath.Join(dir, "r.html"))
	if err != nil || !bytes.Contains(page, []byte("<svg")) || !bytes.Contains(page, []byte(r.Findings[0].Title)) {
		t.Errorf("%v, a page of %d bytes", err, len(page))
	}
	for _, want := range []string{r.Findings[0].Cells[0].Style, "half done", r.Command} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q", want)
		}
	}
	if strings.Contains(out.String(), "\x1b") || !strings.Contains(errs.String(), "1 of ") ||
		strings.Index(errs.String(), "expected: ") > strings.Index(errs.String(), "1 of ") {
		t.Errorf("%q\n%q", &out, &errs)
	}
}

// Ctrl-C ends with a report that says it is partial, status 1, and nothing left behind: as it would be on a terminal, all
// processes of the group get it.
func TestCompareCtrlC(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	cmd := command(t, "compare", "--scenario", "orders", "--rate", "20", "--duration", "1h", "--fault", "payments:down@0s+50m", "--json", file)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(errs)
	for line := ""; !strings.HasPrefix(line, "1 of 2"); {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	// When orders has its database, the shop is about to run; however far it comes, the report must be there.
	tmp := strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "TMPDIR=")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if logs, _ := filepath.Glob(filepath.Join(tmp, "tandem-*", "services", "orders.db")); len(logs) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the shop did not start")
		}
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(lines)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%v\n%s", err, rest)
	}
	if !strings.Contains(string(rest), "the report is partial: broken off in cell 1 of 2") {
		t.Errorf("%s", rest)
	}
	r := readReport(t, file)
	if !strings.Contains(r.Partial, "cell 1 of 2") || len(r.Findings) != 1 {
		t.Errorf("%q, %+v", r.Partial, r.Findings)
	}
	for _, c := range r.Findings[0].Cells {
		if !c.BrokenOff {
			t.Errorf("%+v", c)
		}
	}
}

func TestCompareUsage(t *testing.T) {
	for args, want := range map[string]string{
		"--fault payments":       "PROCESS:KIND",
		"--fault broker:down":    "starts no broker",
		"--rate=-1":              "--rate",
		"--duration=-1s":         "--duration",
		"--repeat 0":             "--repeat",
		"--quick --full":         "can't be used together",
		"--scenario nothing":     `no scenario "nothing"`,
		"--requests main.go":     "goes with CONFIG",
		"tandem.yaml":            "--requests",
		"--inputs /nowhere/here": "/nowhere/here",
	} {
		status, _, errs := tool(t, "", append([]string{"compare"}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("tandem compare %s: %d %s", args, status, errs)
		}
	}
}
