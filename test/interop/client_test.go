package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestBrowserModule runs the tests of internal/browser/tandem.js, which need node and nothing else: they play the server and the tabs.
func TestBrowserModule(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the browser module is not tested")
	}
	files, err := filepath.Glob("js/client/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			// The flag is for node 20; later ones have WebSocket without it.
			out, err := exec.CommandContext(t.Context(), node, "--experimental-websocket", "--test-reporter=tap", file).CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("\n# fail 0")) || bytes.Contains(out, []byte("\n# pass 0")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestBrowserModuleInABrowser: pages of a real browser share a stream, and go on when one is closed.
func TestBrowserModuleInABrowser(t *testing.T) {
	browser := chromium(t)
	if _, err := os.Stat("js/node_modules/playwright-core"); err != nil {
		t.Skip("the npm packages are not installed: run these tests with make interop")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "node", "js/client_browser.mjs", browser).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
