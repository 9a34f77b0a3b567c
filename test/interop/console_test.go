package interop

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConsoleInABrowser: the console of a server with something of everything, in a real browser: js/console.mjs tells what is done. Screenshots are kept
// where go test -artifacts keeps them.
func TestConsoleInABrowser(t *testing.T) {
	browser := chromium(t)
	if _, err := os.Stat("js/node_modules/playwright-core"); err != nil {
		t.Skip("the npm packages are not installed: run these tests with make interop")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "console.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./internal/console")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	served := exec.CommandContext(ctx, binary, "-test.run", "^TestServe$")
	served.Env, served.Stderr = append(os.Environ(), "TANDEM_CONSOLE=1"), os.Stderr
	in, err := served.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := served.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := served.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := served.Wait(); err != nil {
			t.Error(err)
		}
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	where := strings.Fields(line)
	if err != nil || len(where) != 3 {
		t.Fatalf("%q: %v", line, err)
	}
	cmd := exec.CommandContext(ctx, "node", "js/console.mjs", browser, where[1], where[2], t.ArtifactDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
