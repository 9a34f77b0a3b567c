package html

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
)

//go:embed style.css
var style string

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"span":  func(d time.Duration) string { return figure.Span(d.Round(100 * time.Millisecond)) },
	"count": figure.Count,
	"bytes": func(n int64) string { return figure.Bytes(float64(n)) },
	"day":   func(t time.Time) string { return t.Format("2 January 2006, 15:04 MST") },
}).Parse(source))

// policy lets the page use its own style sheet and nothing else: no script, no image, no address.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}()

// Write writes the page. It keeps nothing of the report and does not change it. On an error of w, a part may have been written.
func Write(w io.Writer, r *compare.Report) error {
	var b bytes.Buffer
	if err := layout.Execute(&b, pageOf(r)); err != nil {
		return fmt.Errorf("make the page of the report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the page of the report: %w", err)
	}
	return nil
}
