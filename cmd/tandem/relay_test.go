package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// testDatabase returns the URL of a schema of its own, with a password in it that must never show, and a pool on it.
func testDatabase(t *testing.T) (string, *sql.DB) {
	t.Helper()
	base := os.Getenv("TANDEM_POSTGRES")
	if base == "" {
		t.Skip("needs PostgreSQL: run make postgres-up and export the TANDEM_POSTGRES that it prints")
	}
	admin, err := sql.Open("pgx", base)
	if err != nil {
		t.Fatal(err)
	}
	schema := "t" + strings.ReplaceAll(tandem.NewID(), "-", "")
	if _, err := admin.Exec("CREATE SCHEMA " + schema); err != nil {
		t.Fatal(err)
	}
	dsn := base + "&search_path=" + schema + "&password=s3cret"
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		if _, err := admin.Exec("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			t.Error(err)
		}
		admin.Close()
	})
	return dsn, db
}

// relaying is a relay run by the command line.
type relaying struct {
	out  *buffer
	stop context.CancelFunc
	done chan int
}

func startRelay(t *testing.T, args ...string) *relaying {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &relaying{out: newBuffer(), stop: cancel, done: make(chan int, 1)}
	go func() {
		r.done <- run(ctx, append([]string{"relay", "--poll", "20ms"}, args...), strings.NewReader(""), io.Discard, r.out)
	}()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end stops the relay as SIGTERM does, and checks that it ended well.
func (r *relaying) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case status := <-r.done:
		if status != exitOK {
			t.Errorf("relay ended with %d: %s", status, r.out)
		}
		r.done <- status
	case <-time.After(30 * time.Second):
		t.Fatal("the relay does not stop")
	}
}

func TestRelay(t *testing.T) {
	dsn, db := testDatabase(t)
	t.Chdir(t.TempDir())
	serve(t)
	t.Setenv("SHOP_DATABASE", dsn)
	status, _, errs := tool(t, "", "relay", "--database", "env:SHOP_DATABASE")
	if status != exitNotFound || !strings.Contains(errs, "tandem_outbox") || !strings.Contains(errs, "--init") {
		t.Errorf("without tables: %d %s", status, errs)
	}
	r := startRelay(t, "--database", "env:SHOP_DATABASE", "--init", "--log-format", "json", "--status", "50ms", "--metrics", "127.0.0.1:0")
	r.out.await(t, `"msg":"relaying"`)
	for _, stmt := range []string{
		`INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', '42', json_build_object('specversion', '1.0', 'id', gen_random_uuid(),
			'source', '/shop', 'type', 'order.placed', 'subject', '42', 'data', json_build_object('total', 12)))`,
		`INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', '42', '{"specversion":"1.0","id":"no-type","source":"/shop"}')`,
		`INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', '42', '{"specversion":"1.0","id":"2","source":"/shop","type":"order.paid","subject":"42"}')`,
	} {
		if _, err := db.Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
	r.out.await(t, `"msg":"relayed","sent":[12],.*"waiting":0,"set aside":1`)
	if out := must(t, "tail", "orders", "--from", "earliest", "--no-follow"); !regexp.MustCompile(`^\S+ order.placed 42 {"total" ?: ?12}\n\S+ order.paid 42.*\n$`).MatchString(out) {
		t.Errorf("stored:\n%s", out)
	}
	res, err := http.Get(r.out.await(t, `"at":"(http[^"]+)"`)[1])
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for _, want := range []string{"tandem_relay_sent_total 2", "tandem_outbox_waiting 0", "tandem_outbox_set_aside 1"} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("metrics have no %q:\n%s", want, body)
		}
	}
	r.end(t)
	r.out.await(t, `"msg":"stopped","sent":2`)
	if strings.Contains(r.out.String(), "s3cret") {
		t.Errorf("the password shows: %s", r.out)
	}
}

// Tandem is away when the relay starts, and comes later.
func TestRelayWaitsForTheServer(t *testing.T) {
	dsn, db := testDatabase(t)
	t.Chdir(t.TempDir())
	file := filepath.Join(t.TempDir(), "database")
	if err := os.WriteFile(file, []byte(dsn+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TANDEM_API_URL", "http://127.0.0.1:1")
	if _, err := db.Exec(must(t, "relay", "--print-schema")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', '', '{"specversion":"1.0","id":"1","source":"/shop","type":"t"}')`); err != nil {
		t.Fatal(err)
	}
	away := startRelay(t, "--database", "file:"+file)
	away.out.await(t, "the relay will try again")
	away.end(t)
	serve(t)
	startRelay(t, "--database", "file:"+file)
	late := time.After(20 * time.Second)
	for n := 1; n > 0; {
		if err := db.QueryRow("SELECT COUNT(*) FROM tandem_outbox").Scan(&n); err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatal("the row is not sent")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if out := must(t, "tail", "orders", "--from", "earliest", "--no-follow"); strings.Count(out, "\n") != 1 {
		t.Errorf("stored:\n%s", out)
	}
}

func TestRelayRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no database":      {nil, exitUsage, "--database"},
		"not set":          {[]string{"--database", "env:NOT_SET_AT_ALL"}, exitNotFound, "NOT_SET_AT_ALL"},
		"no file":          {[]string{"--database", "file:/nowhere/at/all"}, exitNotFound, "nowhere"},
		"not a URL":        {[]string{"--database", "postgres://u:s3cret@%zz/db"}, exitUsage, "percent-encoded"},
		"odd port":         {[]string{"--database", "postgres://u:s3cret@127.0.0.1:s3cret/db"}, exitUsage, "percent-encoded"},
		"odd setting":      {[]string{"--database", "postgres://u:s3cret@127.0.0.1/db?connect_timeout=s3cret"}, exitUsage, "percent-encoded"},
		"words":            {[]string{"--database", "host=127.0.0.1 password=s3cret port=s3cret"}, exitUsage, "percent-encoded"},
		"nobody there":     {[]string{"--database", "postgres://u:s3cret@127.0.0.1:1/db?sslmode=disable"}, exitUnavailable, "u@127.0.0.1:1/db"},
		"parallel":         {[]string{"--database", "postgres://u@h/db", "--parallel", "65"}, exitUsage, "1 to 64"},
		"poll":             {[]string{"--database", "postgres://u@h/db", "--poll", "0s"}, exitUsage, "1ms"},
		"token not set":    {[]string{"--database", "postgres://u@h/db", "--token", "env:NOT_SET_AT_ALL"}, exitNotFound, "NOT_SET_AT_ALL"},
		"API is not a URL": {[]string{"--database", "postgres://u@h/db", "--api", "nowhere"}, exitUsage, "nowhere"},
	} {
		status, out, errs := tool(t, "", append([]string{"relay"}, c.args...)...)
		if status != c.status || out != "" || !strings.Contains(errs, c.says) {
			t.Errorf("%s: status %d, want %d, saying %q", name, status, c.status, errs)
		}
		if strings.Contains(errs, "s3cret") {
			t.Errorf("%s: the password shows: %s", name, errs)
		}
	}
}

// Rights that are missing and names that are wrong have statuses of their own.
func TestRelayAtTheDatabase(t *testing.T) {
	dsn, db := testDatabase(t)
	if _, err := db.Exec("DROP ROLE IF EXISTS tandem_test_nobody; CREATE ROLE tandem_test_nobody LOGIN"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP OWNED BY tandem_test_nobody; DROP ROLE tandem_test_nobody"); err != nil {
			t.Error(err)
		}
	})
	if status, _, errs := tool(t, "", "relay", "--database", strings.Replace(dsn, "/postgres?", "/nosuch?", 1)); status != exitNotFound || !strings.Contains(errs, "nosuch") {
		t.Errorf("no such database: %d %s", status, errs)
	}
	var schema string
	if err := db.QueryRow("SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	nobody := strings.Replace(dsn, "user=postgres", "user=tandem_test_nobody", 1)
	if _, err := db.Exec(fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO tandem_test_nobody", schema)); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := tool(t, "", "relay", "--database", nobody, "--init"); status != exitForbidden || !strings.Contains(errs, "permission denied") {
		t.Errorf("no right to create tables: %d %s", status, errs)
	}
	// With the rights that docs/outbox.md names it runs, and it says so when it lacks them.
	if _, err := db.Exec(must(t, "relay", "--print-schema") + `
		GRANT SELECT, UPDATE, DELETE ON tandem_outbox TO tandem_test_nobody;
		INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', '', '{"specversion":"1.0","id":"1","source":"/shop","type":"t"}')`); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	serve(t)
	r := startRelay(t, "--database", nobody)
	r.out.await(t, "permission denied for table tandem_outbox_bucket")
	if _, err := db.Exec("GRANT SELECT, UPDATE ON tandem_outbox_bucket TO tandem_test_nobody"); err != nil {
		t.Fatal(err)
	}
	late := time.After(20 * time.Second)
	for n := 1; n > 0; {
		if err := db.QueryRow("SELECT COUNT(*) FROM tandem_outbox").Scan(&n); err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatalf("the row is not sent: %s", r.out)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
