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
			d := startDemo(t, "storefront", "shop", "--customers", "1", "--pause", "1h")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "js/shop.mjs", browser, d.page, d.pids["server"], d.pids["payments"], size[0], size[1])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The fleet's map in a real browser: js/fleet.mjs tells what happens. The server is killed while the page is looked at.
func TestFleetInABrowser(t *testing.T) {
	browser := chromium(t)
	for name, size := range map[string][2]string{"desktop": {"1280", "800"}, "phone": {"390", "844"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t, "map", "fleet", "--vehicles", "20", "--speed", "20")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "js/fleet.mjs", browser, d.page, d.pids["server"], size[0], size[1])
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
	page string            // address
	pids map[string]string // of its children, at the start
}

var child = regexp.MustCompile(`^  (\w+) +http://\S+ +pid (\d+)$`)

// startDemo starts a demo, which prints the address of its page under a name, and ends it with Ctrl-C.
func startDemo(t *testing.T, page string, args ...string) *demo {
	t.Helper()
	if os.Getenv("TANDEM_BINARY") == "" {
		t.Skip("TANDEM_BINARY is not set: run these tests with make interop")
	}
	args = append(append([]string{"demo"}, args...), "--public", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data", t.TempDir())
	cmd := exec.Command(os.Getenv("TANDEM_BINARY"), args...)
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
		if rest, ok := strings.CutPrefix(said.Text(), "  "+page+" "); ok && d.page == "" {
			d.page = strings.TrimSpace(rest)
		}
		if strings.HasPrefix(said.Text(), "Kill any of these") {
			return d
		}
	}
	t.Fatal("the demo did not start")
	return nil
}
