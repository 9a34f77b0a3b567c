package html

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
)

// TestWritePages writes the pages that a browser looks at, in test/interop, to the folder that TANDEM_PAGES names.
func TestWritePages(t *testing.T) {
	dir := os.Getenv("TANDEM_PAGES")
	if dir == "" {
		t.Skip("TANDEM_PAGES names no folder")
	}
	partial := reporttest.Report()
	partial.Partial, partial.Findings, partial.Advice = "It was interrupted after 41 s.", partial.Findings[:1], nil
	for name, r := range map[string]*compare.Report{"report": reporttest.Report(), "partial": partial, "full": reporttest.Full(), "empty": {}} {
		var b bytes.Buffer
		if err := Write(&b, r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".html"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
