package interop

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// command runs the binary in a directory until it ends, and returns its exit status and what it said.
func command(t *testing.T, dir string, attr *syscall.SysProcAttr, args ...string) (int, string) {
	t.Helper()
	binary := os.Getenv("TANDEM_BINARY")
	if binary == "" {
		t.Skip("TANDEM_BINARY is not set: run these tests with make interop")
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, attr, &said, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skipf("cannot run the binary: %v", err)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// TestBadConfiguration: neither check nor serve takes a file with a fault; both name the place, and nothing is made.
func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct{ name, file, says string }{
		{"unknown key", "topics:\n  orders: {partition: 4}\n", `tandem.yaml:2:12: topics.orders: unknown key "partition"; did you mean "partitions"?`},
		{"unknown section", "topic: {}\n", `tandem.yaml:1:1: unknown key "topic"`},
		{"key twice", "topics:\n  a: {}\n  a: {}\n", "tandem.yaml:3:3"},
		{"unknown service", "routes:\n  - {match: \"GET /a\", service: nope}\n", `tandem.yaml:2:32: routes[0].service: no service "nope"`},
		{"not YAML", "topics: [\n", "tandem.yaml:1:1: not YAML"},
		{"not built yet", "topics: {a: {schema: a.json}}\n", "topics.a.schema: not supported yet"},
		{"other engine", "engine: kafka\n", `engine: "kafka" needs to know where`},
		{"request mode", "services: {s: {url: \"http://127.0.0.1:1\"}}\ntopics: {a: {}}\nsubscriptions: {x: {topics: [a], service: s, mode: request, content: batch}}\n", "subscriptions.x.content"},
		{"open to all", "api: {listen: \":0\"}\n", "without tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "tandem.yaml"), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"check"}, {"serve", "--data", "data", "--public", "127.0.0.1:0"}} {
				exit, said := command(t, dir, nil, args...)
				if exit != 2 || !strings.Contains(said, c.says) {
					t.Errorf("%s ended with %d and said %q, want 2 and %q", args[0], exit, said, c.says)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the data directory: %v", err)
			}
		})
	}
}

// TestUnwritableDirectory: a directory that cannot be used is said at the start, with what to do about it.
func TestUnwritableDirectory(t *testing.T) {
	dir, err := os.MkdirTemp("", "tandem-unwritable") //nolint:usetesting // others must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "closed"), 0o555), os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	var attr *syscall.SysProcAttr
	if os.Geteuid() == 0 { // root may write everywhere
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	for data, hint := range map[string]string{
		"closed/data": "must be writable",
		"closed":      "must be writable",
		"file":        "must be a directory",
		"file/data":   "must be a directory",
	} {
		exit, said := command(t, dir, attr, "serve", "--data", data, "--api", "127.0.0.1:0", "--public", "127.0.0.1:0")
		if exit != 2 || !strings.Contains(said, hint) || !strings.Contains(said, data) {
			t.Errorf("%s: ended with %d and said %q", data, exit, said)
		}
	}
}

// TestSecondProcess: a directory belongs to one process; the other one is refused and harms nothing.
func TestSecondProcess(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	s.publish("orders", "k", 1)
	exit, said := command(t, s.dir, nil, "serve", "--data", "data", "--api", "127.0.0.1:0", "--public", "127.0.0.1:0")
	if exit != 6 || !strings.Contains(said, "belongs to one process") {
		t.Errorf("the second process ended with %d and said %q", exit, said)
	}
	s.publish("orders", "k", 2)
	s.stop(syscall.SIGKILL)
	s.run()
	if n := s.stored("orders"); n != 2 {
		t.Errorf("%d events are stored, want 2", n)
	}
}
