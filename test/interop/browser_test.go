package interop

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A customer in a real browser: js/shop.mjs tells what happens. The server is killed while the page watches an order.
func TestStorefrontInABrowser(t *testing.T) {
	browser := chromium(t)
	for name, size := range map[string][2]string{"desktop": {"1280", "800"}, "phone": {"390", "844"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "js/shop.mjs", browser, d.storefront, d.pids["server"], d.pids["payments"], size[0], size[1])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// chromium returns the browser's path, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no chromium is installed: on Debian, apt-get install chromium")
	return ""
}

// demo is a running tandem demo.
type demo struct {
	storefront string
	pids       map[string]string // of its children, at the start
}

var child = regexp.MustCompile(`^  (\w+) +http://\S+ +pid (\d+)$`)

// startDemo starts the demo with customers who are quiet after their first order, and ends it with Ctrl-C.
func startDemo(t *testing.T) *demo {
	t.Helper()
	if os.Getenv("TANDEM_BINARY") == "" {
		t.Skip("TANDEM_BINARY is not set: run these tests with make interop")
	}
	cmd := exec.Command(os.Getenv("TANDEM_BINARY"), "demo", "--public", "127.0.0.1:0", "--api", "127.0.0.1:0",
		"--data", t.TempDir(), "--customers", "1", "--pause", "1h")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &demo{pids: map[string]string{}}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	for said := bufio.NewScanner(out); said.Scan(); {
		if m := child.FindStringSubmatch(said.Text()); m != nil {
			d.pids[m[1]] = m[2]
		}
		if rest, ok := strings.CutPrefix(said.Text(), "  storefront"); ok {
			d.storefront = strings.TrimSpace(rest)
		}
		if strings.HasPrefix(said.Text(), "Kill any of these") {
			return d
		}
	}
	t.Fatal("the demo did not start")
	return nil
}
