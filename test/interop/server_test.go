package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tandem is a running server: the real binary, so that a kill is a kill.
type tandem struct {
	t           *testing.T
	dir         string
	api, public string
	cmd         *exec.Cmd
}

// start runs tandem serve with a configuration and waits until it is ready.
func start(t *testing.T, config string) *tandem {
	t.Helper()
	if os.Getenv("TANDEM_BINARY") == "" {
		t.Skip("TANDEM_BINARY is not set: run these tests with make interop")
	}
	s := &tandem{t: t, dir: t.TempDir(), api: freeAddr(t), public: freeAddr(t)}
	if err := os.WriteFile(filepath.Join(s.dir, "tandem.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run()
	t.Cleanup(func() { s.stop(syscall.SIGTERM) })
	return s
}

func (s *tandem) run() {
	s.t.Helper()
	s.cmd = exec.Command(os.Getenv("TANDEM_BINARY"), "serve", "--config", filepath.Join(s.dir, "tandem.yaml"),
		"--data", filepath.Join(s.dir, "data"), "--api", s.api, "--public", s.public)
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 200 {
		if resp, err := http.Get("http://" + s.api + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("the server did not become ready within 10 s")
}

// stop ends the process by a signal and waits for it.
func (s *tandem) stop(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *tandem) url(format string, args ...any) string {
	return "http://" + s.api + fmt.Sprintf(format, args...)
}

// publish posts plain JSON {"n":N} with subject SUBJECT and returns the receipt.
func (s *tandem) publish(topic, subject string, n int) (receipt struct {
	Cursor string
	Offset uint64
}) {
	s.t.Helper()
	resp, err := http.Post(s.url("/v1/topics/%s/events?type=test&source=interop&subject=%s", topic, subject),
		"application/json", strings.NewReader(fmt.Sprintf(`{"n":%d}`, n)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("publish: %s: %s", resp.Status, body)
	}
	if err := json.Unmarshal(body, &receipt); err != nil {
		s.t.Fatal(err)
	}
	return receipt
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lines runs a command and sends its lines on the channel until it ends or ctx is done.
func lines(ctx context.Context, t *testing.T, name string, args ...string) <-chan string {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ch := make(chan string, 1024)
	go func() {
		defer close(ch)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			ch <- sc.Text()
		}
		_ = cmd.Wait()
	}()
	return ch
}

// next returns the next line or fails after a bound.
func next(t *testing.T, ch <-chan string) string {
	t.Helper()
	select {
	case line, ok := <-ch:
		if !ok {
			t.Fatal("the client ended early")
		}
		return line
	case <-time.After(30 * time.Second):
		t.Fatal("no line within 30 s")
	}
	return ""
}
