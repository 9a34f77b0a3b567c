package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem/outbox"
)

// TestRelayMetricsAreDocumented: docs/metrics.md has the metrics of the relay, with kind and help, and no others of these names.
func TestRelayMetricsAreDocumented(t *testing.T) {
	db, err := sql.Open("sqlite3", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "outbox.db")))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	box, err := outbox.Open(t.Context(), db, nil, outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(relayMetrics{box, &counting{}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `tandem_relay_") || strings.HasPrefix(line, "| `tandem_outbox_") {
			rows[strings.TrimSpace(line)] = true
		}
	}
	for _, f := range families {
		row := fmt.Sprintf("| `%s` | %s | | %s |", f.GetName(), strings.ToLower(f.GetType().String()), f.GetHelp())
		if !rows[row] {
			t.Errorf("docs/metrics.md lacks\n%s", row)
		}
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("docs/metrics.md has, and the relay has not\n%s", row)
	}
}
