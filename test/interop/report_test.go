package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestReportInABrowser: the page of tandem compare in a real browser, from the disk: js/report.mjs tells what is looked at. The pages have figures
// that a test of theirs makes up. Screenshots are kept where go test -artifacts keeps them.
func TestReportInABrowser(t *testing.T) {
	browser := chromium(t)
	if _, err := os.Stat("js/node_modules/playwright-core"); err != nil {
		t.Skip("the npm packages are not installed: run these tests with make interop")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	pages := t.TempDir()
	build := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "TestWritePages", "./internal/compare/html")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "TANDEM_PAGES="+pages, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	screenshots := t.ArtifactDir()
	for _, name := range []string{"report", "full"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(ctx, "node", "js/report.mjs", browser, filepath.Join(pages, name+".html"), screenshots)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
