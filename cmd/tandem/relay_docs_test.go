package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestOutboxPage runs the SQL of docs/outbox.md beside a relay. Text behind an arrow must be in what the block gives.
func TestOutboxPage(t *testing.T) {
	dsn, db := testDatabase(t)
	page, err := os.ReadFile("../../docs/outbox.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	serve(t)
	startRelay(t, "--database", dsn, "--init").out.await(t, "relaying")
	conn, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	t.Cleanup(func() {
		if _, err := db.Exec("DROP OWNED BY shop_service_example, shop_relay_example; DROP ROLE shop_service_example, shop_relay_example"); err != nil {
			t.Error(err)
		}
	})
	wants := 0
	for _, block := range strings.Split(string(page), "```sql\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		_, want, has := strings.Cut(block, "-- → ")
		want = strings.TrimSpace(want)
		got := query(t, conn, block)
		for late := time.Now().Add(20 * time.Second); has && !strings.Contains(got, want) && time.Now().Before(late); {
			<-time.After(10 * time.Millisecond) // what only shows may be a moment ahead of the relay
			got = query(t, conn, block)
		}
		if has {
			wants++
		}
		if has && !strings.Contains(got, want) {
			t.Errorf("%s\ngives\n%s\nwithout %q", block, got, want)
		}
	}
	if wants < 5 {
		t.Errorf("%d blocks of the page say what they give", wants)
	}
	out := must(t, "tail", "orders", "--from", "earliest", "--no-follow")
	for _, want := range []string{"order.placed 42 {\"total\" : 12}", "order.paid 42 ", "order.placed 43 ", "order.noted 42 "} {
		if !strings.Contains(strings.ReplaceAll(out, "\"total\":", "\"total\" : "), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// query runs statements and returns the rows that they give, columns parted by bars.
func query(t *testing.T, conn *pgconn.PgConn, statements string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), statements).ReadAll()
	if err != nil {
		t.Fatalf("%s\n%v", statements, err)
	}
	var out []string
	for _, r := range results {
		for _, row := range r.Rows {
			var cols []string
			for _, col := range row {
				cols = append(cols, string(col))
			}
			out = append(out, strings.Join(cols, "|"))
		}
	}
	return strings.Join(out, "\n")
}
