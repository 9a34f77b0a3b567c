package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own child, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "demo-service" {
		if err := Child(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "demo-forever" {
		_, err := Run(context.Background(), Options{Public: "127.0.0.1:0", API: "127.0.0.1:0", Out: os.Stdout})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// once runs the demo to its end on ports of its own, and shows the children's logs when it fails.
func once(t *testing.T, o Options) Summary {
	t.Helper()
	o.Once, o.Public, o.API, o.Data = true, "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	var out bytes.Buffer
	o.Out = &out
	sum, err := Run(t.Context(), o)
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

// The expected result of examples/shop: which orders end how is decided by the seed alone.
func TestTheSampleEndsAsExpected(t *testing.T) {
	sum := once(t, Options{})
	if got := fmt.Sprint(sum.States); got != expectedStates || sum.Orders != 40 || sum.Repeats != 0 || sum.DeadLetters != 0 {
		t.Errorf("%d orders ended %s, %d repeats, %d dead letters; want 40, %s, 0, 0", sum.Orders, got, sum.Repeats, sum.DeadLetters, expectedStates)
	}
	readme, err := os.ReadFile("../../examples/shop/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for state, n := range sum.States {
		if line := fmt.Sprintf("%d %s", n, state); !strings.Contains(string(readme), line) {
			t.Errorf("the README does not say %q", line)
		}
	}
}

const expectedStates = "map[cancelled:6 confirmed:30 returned:4]"

func TestCtrlCEndsTheDemo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pids []int
	o := Options{Public: "127.0.0.1:0", API: "127.0.0.1:0", Pause: 10 * time.Millisecond, Control: func(s *Shop) error {
		defer cancel()
		for _, p := range s.Processes() {
			pids = append(pids, p.PID())
		}
		return s.WaitEnded(3)
	}}
	sum, err := Run(ctx, o)
	if err != nil || sum.Ended < 3 {
		t.Errorf("%v, %+v", err, sum)
	}
	if len(pids) != 6 {
		t.Errorf("%d children", len(pids))
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d was left behind", pid)
		}
	}
}

func TestCtrlCBreaksOnceOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sum, err := Run(ctx, Options{Once: true, Repeat: 100, Public: "127.0.0.1:0", API: "127.0.0.1:0", Control: func(s *Shop) error {
		defer cancel()
		return s.WaitPlaced(3)
	}})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "of 4000 orders") || sum.OK || sum.Orders < 3 {
		t.Errorf("%v, %+v", err, sum)
	}
}

func TestAClosedTerminalEndsTheDemo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.Command(self, "demo-forever")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "Kill any of these"); {
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A parent that is killed leaves no child behind.
func TestNoProcessOutlivesAKilledParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "demo-forever")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var pids []int
	var dir string
	for lines := bufio.NewScanner(out); len(pids) < 6 && lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "data in "); ok {
			dir = strings.TrimSuffix(rest, ").")
		}
		if _, rest, ok := strings.Cut(lines.Text(), "  pid "); ok {
			var pid int
			fmt.Sscan(rest, &pid)
			pids = append(pids, pid)
		}
	}
	if len(pids) != 6 || !strings.Contains(dir, "tandem-demo-") {
		t.Fatalf("the demo printed the processes %v, data %q", pids, dir)
	}
	defer os.RemoveAll(dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Errorf("process %d was left behind", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
			time.Sleep(20 * time.Millisecond) // nobody tells us of a stranger's end
		}
	}
}

// alive reports whether a process runs; one that only waits to be collected does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
